"""What a refresh is worth: documents are changed, refreshed once, and asked.

A copy of the documents is changed by a seeded script (``mutations``), in scratch schemas; then one
refresh runs as the schedules run it, and every change is asked for. Here belongs measuring.
"""

from __future__ import annotations

import glob
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from pricing_platform.evaluation.mutations import Mutation, StatedFact, mutated
from pricing_platform.facts.configuration import Knowledge
from pricing_platform.facts.fact_queries import facts_of
from pricing_platform.facts.upkeep import DocumentsUpkeep, follow_documents
from pricing_platform.retrieval.documents import DocumentFolder, reconcile_documents
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.search import Passage, search
from pricing_platform.stores.postgres import Postgres

FRESHNESS_IMPACT_VERSION = "3"
RETRIEVED = 10
"""How many passages are looked at."""

FIRST = 3
"""Among how many of them the new value should be."""

FRESHNESS_SCHEMA = pl.Schema(
    {
        "round": pl.String,
        "change": pl.String,
        "subject": pl.String,
        "attribute": pl.String,
        "kind": pl.String,
        "document_id": pl.String,
        "old_value": pl.String,
        "new_value": pl.String,
        "stale_served": pl.Boolean,
        "rank": pl.Int64,
        "old_as_of": pl.Boolean,
    }
)

_STATED = """
SELECT DISTINCT ON (f.series_id)
    f.subject, f.attribute, f.kind, f.value, o.source, o.start_character, o.end_character
FROM knowledge.current_facts AS f
JOIN knowledge.observations AS o ON o.series_id = f.series_id AND o.source = f.source
WHERE f.cardinality = 'single' AND o.stated = ARRAY[f.value] AND o.start_character IS NOT NULL
    -- A fact that two documents state needs both to be changed.
    AND NOT EXISTS (
        SELECT FROM knowledge.observations AS other
        WHERE other.series_id = f.series_id AND other.source <> f.source
    )
ORDER BY f.series_id, o.observed_at DESC
"""


@dataclass(frozen=True)
class FreshnessImpact:
    """What came of it: a row a change, and the figures of the refreshes.

    ``changed_chunks`` counts the chunks whose text was in no chunk before, ``embedded_chunks``
    those that were given another embedding, ``restored_encoded`` what had to be encoded when
    documents came back as they were; seconds are those from the change on disk until the refresh
    had ended, and those of one question.
    """

    changes: pl.DataFrame
    chunks: int
    changed_chunks: int
    embedded_chunks: int
    embedded_facts: int
    restored_encoded: int
    refresh_seconds: float
    question_seconds: float

    @property
    def stale_serve_rate(self) -> float:
        """Share of the changes after which something superseded was served as current."""
        return float(self.changes["stale_served"].mean() or 0.0)  # type: ignore[arg-type]

    @property
    def new_among_first(self) -> float:
        """Share of the changes with a new value that is among the first passages."""
        told = self.changes.filter(pl.col("new_value").is_not_null())
        return float((told["rank"].fill_null(RETRIEVED + 1) <= FIRST).mean() or 0.0)  # type: ignore[arg-type]

    @property
    def old_as_of(self) -> float:
        """Share of the changes whose old value is there for the time before."""
        return float(self.changes["old_as_of"].mean() or 0.0)  # type: ignore[arg-type]


def measure_freshness(
    scratch: Postgres,
    encoder: CachedEncoder,
    knowledge: Knowledge,
    *,
    seed: int,
    values: int = 40,
    removed: int = 2,
    renamed: int = 1,
) -> FreshnessImpact:
    """Changes a copy of the documents and asks for every change after one refresh.

    Args:
        scratch: tables with nothing in them.
        encoder: of passages and questions.
        knowledge: whose documents are copied.
        seed: of what is changed.
        values: how many facts get another value at most.
        removed: how many documents are deleted.
        renamed: how many subjects get another name.
    """
    with _copied(scratch, knowledge) as folders:
        copied = replace_documents(knowledge, folders)
        follow_documents(scratch, encoder, copied, deletion_share_limit=1.0)
        before, hashes = _now(scratch), _chunk_hashes(scratch)
        files, contents = _files(scratch, folders), _contents(scratch)
        originals = {at: file.read_bytes() for at, file in files.items()}
        changes = mutated(
            _stated(scratch),
            files,
            contents,
            values=values,
            removed=removed,
            renamed=renamed,
            seed=seed,
        )
        started = time.perf_counter()
        upkeep = follow_documents(scratch, encoder, copied, deletion_share_limit=1.0)
        refreshed = time.perf_counter()
        rows = [_asked(scratch, encoder, at, "change", before) for at in changes]
        asked = time.perf_counter()
        changed = _chunk_hashes(scratch) - hashes
        restored, again = _restore(scratch, encoder, copied, changes, files, originals)
    return FreshnessImpact(
        changes=pl.DataFrame([*rows, *restored], schema=FRESHNESS_SCHEMA),
        chunks=len(hashes),
        changed_chunks=len(changed),
        embedded_chunks=upkeep.chunks.inserted + upkeep.chunks.updated,
        embedded_facts=upkeep.sentences.inserted + upkeep.sentences.updated,
        restored_encoded=again.chunks.encoded + again.sentences.encoded if again else 0,
        refresh_seconds=refreshed - started,
        question_seconds=(asked - refreshed) / max(1, len(changes)),
    )


def replace_documents(knowledge: Knowledge, folders: Sequence[DocumentFolder]) -> Knowledge:
    """The same rules for documents in other folders, and nothing to fetch."""
    return knowledge.model_copy(update={"documents": tuple(folders), "http": ()})


@contextmanager
def _copied(postgres: Postgres, knowledge: Knowledge) -> Iterator[list[DocumentFolder]]:
    """Copies of the files that are documents, and of no other, in folders of their own."""
    reconcile_documents(postgres, knowledge.documents, deletion_share_limit=1.0)
    roots = {folder.name: folder.root for folder in knowledge.documents}
    found = postgres.frame("SELECT source, path FROM knowledge.documents ORDER BY document_id")
    with tempfile.TemporaryDirectory() as temporary:
        for source, path in found.iter_rows():
            copy = Path(temporary) / source / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(roots[source] / path, copy)
        yield [
            DocumentFolder(
                name=name,
                path=(f"{glob.escape(temporary)}/{name}/**/*",),
                root=Path(temporary) / name,
            )
            for name in found["source"].unique().sort()
        ]


def _stated(postgres: Postgres) -> list[StatedFact]:
    with postgres.connection(read_only=True) as connection:
        return [StatedFact(*row) for row in connection.execute(_STATED).fetchall()]


def _files(postgres: Postgres, folders: Sequence[DocumentFolder]) -> dict[str, Path]:
    roots = {folder.name: folder.root for folder in folders}
    rows = postgres.frame("SELECT document_id, source, path FROM knowledge.documents")
    return {at: roots[source] / path for at, source, path in rows.iter_rows()}


def _contents(postgres: Postgres) -> dict[str, str]:
    rows = postgres.frame("SELECT document_id, content FROM knowledge.documents")
    return dict(rows.iter_rows())


def _chunk_hashes(postgres: Postgres) -> set[str]:
    return set(postgres.frame("SELECT content_hash FROM knowledge.chunks")["content_hash"])


def _now(postgres: Postgres) -> datetime:
    """A time that lies after all that was observed so far, and before what comes."""
    newest = postgres.frame("SELECT max(verified_at) AS newest FROM knowledge.documents").item()
    while newest is not None and datetime.now(UTC) <= newest:
        time.sleep(0.001)
    now = datetime.now(UTC)
    time.sleep(0.001)
    return now


def _asked(
    postgres: Postgres,
    encoder: CachedEncoder,
    mutation: Mutation,
    round_: str,
    before: datetime | None,
) -> dict[str, object]:
    passages = search(postgres, encoder, mutation.question, k=RETRIEVED)
    ranks = [rank for rank, found in enumerate(passages, 1) if _tells(found, mutation)]
    return {
        "round": round_,
        "change": mutation.change,
        "subject": mutation.subject,
        "attribute": mutation.attribute,
        "kind": mutation.kind,
        "document_id": mutation.document_id,
        "old_value": mutation.old_value,
        "new_value": mutation.new_value,
        "stale_served": any(_is_superseded(found, mutation) for found in passages),
        "rank": ranks[0] if ranks else None,
        "old_as_of": _was(postgres, mutation, before),
    }


def _tells(passage: Passage, mutation: Mutation) -> bool:
    """Whether the passage states the new value of the subject."""
    if mutation.new_value is None:
        return False
    about_it = passage.document_id == mutation.document_id or _holds(passage, mutation.subject)
    return about_it and _holds(passage, mutation.new_value)


def _holds(passage: Passage, words: str) -> bool:
    """Whether the words stand in the passage, and not inside of others."""
    pattern = rf"(?<![\w.,]){re.escape(words)}(?!\w|[.,]\d)"
    return re.search(pattern, passage.text, re.IGNORECASE) is not None


def _is_superseded(passage: Passage, mutation: Mutation) -> bool:
    """Whether the passage states as current what the change has superseded."""
    if mutation.change == "document_removed":
        return mutation.document_id in (passage.document_id, passage.source)
    superseded = mutation.superseded
    if mutation.change == "subject_renamed":
        return superseded is not None and superseded.casefold() in passage.text.casefold()
    if passage.origin == "fact":
        return (passage.subject, passage.attribute, passage.value) == (
            mutation.subject,
            mutation.attribute,
            mutation.old_value,
        )
    return superseded is not None and superseded in passage.text


def _was(postgres: Postgres, mutation: Mutation, before: datetime | None) -> bool | None:
    """Whether the old value is what held before the change, as we know now."""
    if before is None:
        return None
    renamed = mutation.change == "subject_renamed"
    name = mutation.superseded if renamed else mutation.subject
    found = facts_of(postgres, name or mutation.subject, valid_at=before)
    held = found.filter(pl.col("attribute") == mutation.attribute)["value"].to_list()
    return mutation.old_value in held


def _undone(mutation: Mutation) -> Mutation:
    """The change back: what was new is superseded, and what was gone is there again."""
    old, new, line = mutation.old_value, mutation.new_value, mutation.superseded
    superseded = line.replace(old, new) if line and old and new else None
    return replace(mutation, change="restored", old_value=new, new_value=old, superseded=superseded)


def _restore(
    postgres: Postgres,
    encoder: CachedEncoder,
    knowledge: Knowledge,
    changes: Sequence[Mutation],
    files: Mapping[str, Path],
    originals: Mapping[str, bytes],
) -> tuple[list[dict[str, object]], DocumentsUpkeep | None]:
    """Puts a changed document and a removed one back as they were, and asks for the old values."""
    value = [at.document_id for at in changes if at.change == "value"][:1]
    removed = [at.document_id for at in changes if at.change == "document_removed"][:1]
    for document_id in (*value, *removed):
        files[document_id].write_bytes(originals[document_id])
    if not (value or removed):
        return [], None
    upkeep = follow_documents(postgres, encoder, knowledge, deletion_share_limit=1.0)
    rows = []
    for at in changes:
        if at.document_id in (*value, *removed) and at.change != "subject_renamed":
            rows.append(_asked(postgres, encoder, _undone(at), "restore", None))
    return rows, upkeep
