"""Chunks and their embeddings follow the files, whatever changes, stops, or comes in between."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pricing_platform.errors import PlatformError
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval import chunk_embeddings, chunking, reconciliation
from pricing_platform.retrieval.chunk_embeddings import (
    chunks_without_embedding,
    orphaned_embeddings,
    reconcile_chunk_embeddings,
)
from pricing_platform.retrieval.chunking import Chunk
from pricing_platform.retrieval.documents import DocumentFolder, reconcile_documents
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.encoder import Vectors
from pricing_platform.retrieval.reconciliation import ReconciliationSummary
from pricing_platform.retrieval.search import search
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.retrieval.document_files import folder_of, tokenizer, write
from pricing_platform_tests.unit.retrieval.hashing_encoder import HashingEncoder

ROOT = Path(__file__).parents[3]
DOCUMENTS = """
    SELECT document_id, source, path, kind, title, subject, content, content_hash
    FROM knowledge.documents ORDER BY document_id
"""
CHUNKS = """
    SELECT c.*, e.fingerprint AS embedded, e.model, e.embedding::text AS vector
    FROM knowledge.chunks AS c FULL JOIN knowledge.chunk_embeddings AS e USING (chunk_id)
    ORDER BY chunk_id
"""
LEXEMES = "SELECT lexeme, chunks FROM knowledge.lexemes ORDER BY lexeme"
COUNTED = """
    SELECT lexeme, count(*) AS chunks
    FROM knowledge.chunks AS c, unnest(c.lexemes) GROUP BY lexeme ORDER BY lexeme
"""
CORPUS = "SELECT chunks, lexemes FROM knowledge.corpus"
SUMMED = """
    SELECT count(*), coalesce(sum(knowledge.lexeme_count(lexemes)), 0)::bigint FROM knowledge.chunks
"""
TEXTS = [
    "",
    "# Lamp\n\nThe lamp is bright.",
    "# Product\n\n# Lamp\n\n- **Price:** $20\n\n## History\n\nMade since 1950.",
    "# Product\n\n# Desk\n\n" + "Of oak and steel. " * 80,
    "A desk without a heading",
    "Numbers " + " ".join(map(str, range(250))),
]


class Wiki:
    """A folder of documents and the store that follows it."""

    def __init__(self, folder: DocumentFolder, postgres: Postgres, encoder: CachedEncoder) -> None:
        self.folder = folder
        self.postgres = postgres
        self.encoder = encoder

    def write(self, files: dict[str, str]) -> None:
        write(self.folder.root, dict(files))

    def follow(self, encoder: CachedEncoder | None = None) -> ReconciliationSummary:
        reconcile_documents(self.postgres, [self.folder], deletion_share_limit=1.0)
        return self.embed(encoder)

    def embed(self, encoder: CachedEncoder | None = None) -> ReconciliationSummary:
        return reconcile_chunk_embeddings(
            self.postgres, encoder or self.encoder, tokenizer=tokenizer()
        )

    def state(self) -> tuple[list[Any], ...]:
        queries = (DOCUMENTS, CHUNKS, LEXEMES, CORPUS)
        return tuple(self.postgres.frame(query).rows() for query in queries)

    def clean_state(self) -> tuple[list[Any], ...]:
        """What is there after everything was built anew."""
        with self.postgres.connection() as connection:
            connection.execute("DELETE FROM knowledge.documents")
        assert self.state() == ([], [], [], [(0, 0)])
        self.encoder.path.with_name("chunks.sqlite").unlink(missing_ok=True)
        self.follow()
        return self.state()

    def assert_counted(self) -> None:
        assert self.postgres.frame(LEXEMES).rows() == self.postgres.frame(COUNTED).rows()
        assert self.postgres.frame(CORPUS).rows() == self.postgres.frame(SUMMED).rows()
        assert chunks_without_embedding(self.postgres).is_empty()
        assert orphaned_embeddings(self.postgres).is_empty()


@pytest.fixture
def wiki(postgres: Postgres, encoder: CachedEncoder, tmp_path: Path) -> Wiki:
    return Wiki(folder_of(tmp_path / "wiki"), postgres, encoder)


def counts(summary: ReconciliationSummary) -> dict[str, int]:
    """What is not nothing."""
    found = {k: v for k, v in vars(summary).items() if k != "seconds"}
    return {name: count for name, count in found.items() if count}


FILES = {
    "a.md": TEXTS[1],
    "b.md": TEXTS[2].replace("Lamp", "Table"),
    "c.md": TEXTS[4],
    "d.md": "# Chair\n\nFour legs.",
}


def test_chunks_have_their_fields(wiki: Wiki) -> None:
    wiki.write({"products/lamp.md": TEXTS[2]})
    summary = wiki.follow()
    rows = wiki.postgres.frame(CHUNKS).rows(named=True)
    assert counts(summary) == {"inserted": len(rows), "encoded": len(rows)}
    content = wiki.postgres.frame("SELECT content FROM knowledge.documents").item()
    for ordinal, row in enumerate(rows):
        assert row["chunk_id"] == f"wiki:products/lamp.md#{ordinal:04}"
        assert row["document_id"] == "wiki:products/lamp.md"
        assert (row["source"], row["kind"], row["subject"]) == ("wiki", "products", "lamp")
        assert row["text"] == content[row["start_character"] : row["end_character"]]
        assert row["embedded"] == row["fingerprint"]
        assert row["heading_path"].startswith("Lamp")
    wiki.assert_counted()


def test_a_second_run_encodes_and_writes_nothing(wiki: Wiki) -> None:
    wiki.write(FILES)
    total = wiki.follow().inserted
    versions = (
        "SELECT c.chunk_id, c.xmin::text, e.xmin::text AS embedding FROM knowledge.chunks AS c"
        " JOIN knowledge.chunk_embeddings AS e USING (chunk_id) ORDER BY 1"
    )
    before = wiki.postgres.frame(versions)
    assert counts(wiki.follow()) == {"unchanged": total}
    assert wiki.postgres.frame(versions).equals(before)


def test_only_the_chunks_that_changed_are_encoded(wiki: Wiki, hashing: HashingEncoder) -> None:
    wiki.write(FILES)
    wiki.follow()
    hashing.encoded.clear()
    wiki.write({"b.md": FILES["b.md"].replace("$20", "$30")})
    summary = wiki.follow()
    assert (summary.inserted, summary.updated, summary.deleted) == (0, 1, 0)
    assert len(hashing.encoded) == 1
    assert "$30" in hashing.encoded[0]


def test_moves_copies_and_reverts_encode_nothing(wiki: Wiki) -> None:
    wiki.write(FILES)
    wiki.follow()
    original = wiki.state()
    shutil.copytree(wiki.folder.root, wiki.folder.root / "copies")
    assert wiki.follow().encoded == 0
    shutil.rmtree(wiki.folder.root / "copies")
    (wiki.folder.root / "b.md").rename(wiki.folder.root / "moved.md")
    summary = wiki.follow()
    assert summary.encoded == 0
    assert summary.inserted
    (wiki.folder.root / "moved.md").rename(wiki.folder.root / "b.md")
    assert wiki.follow().encoded == 0
    wiki.write({"a.md": "# Lamp\n\nDim."})
    assert wiki.follow().encoded == 1
    wiki.write(FILES)
    assert wiki.follow().encoded == 0
    assert wiki.state() == original


def test_a_document_may_lose_nearly_all_of_its_chunks(wiki: Wiki) -> None:
    wiki.write({"long.md": TEXTS[3] * 9, "b.md": TEXTS[4]})
    before = wiki.follow().inserted
    wiki.write({"long.md": "# Desk\n\nOf oak."})
    reconcile_documents(wiki.postgres, [wiki.folder], deletion_share_limit=0.2)
    summary = reconcile_chunk_embeddings(
        wiki.postgres, wiki.encoder, deletion_share_limit=0.2, tokenizer=tokenizer()
    )
    assert summary.deleted == before - 2


def test_documents_that_yield_no_chunks_any_more_are_guarded(
    wiki: Wiki, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiki.write(FILES)
    wiki.follow()
    before = wiki.state()
    monkeypatch.setattr(chunking, "CHUNKER_VERSION", "next")
    monkeypatch.setattr(chunking, "chunk", lambda *_arguments: [])
    with pytest.raises(PlatformError, match=r"4 of the 4 document_ids of knowledge.chunks"):
        wiki.follow()
    assert wiki.state() == before


@pytest.mark.parametrize(
    ("module", "name"),
    [(chunking, "CHUNKER_VERSION"), (chunk_embeddings, "CHUNK_TEMPLATE_VERSION")],
)
def test_another_version_makes_every_embedding_anew_once(
    wiki: Wiki, monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    wiki.write(FILES)
    total = wiki.follow().inserted
    monkeypatch.setattr(module, name, "next")
    assert counts(wiki.embed()) == {"updated": total, "cached": total}
    assert counts(wiki.embed()) == {"unchanged": total}


def test_another_encoder_encodes_everything_once(wiki: Wiki) -> None:
    wiki.write(FILES)
    total = wiki.follow().inserted
    other = CachedEncoder(HashingEncoder("other:fedcba9876543210"), wiki.encoder.path)
    assert counts(wiki.embed(other)) == {"updated": total, "encoded": total}
    assert counts(wiki.embed(other)) == {"unchanged": total}
    models = wiki.postgres.frame("SELECT DISTINCT model FROM knowledge.chunk_embeddings")
    assert models.rows() == [("other:fedcba987654",)]


def test_an_encoder_of_other_dimensions_embeds_everything_anew_and_back(wiki: Wiki) -> None:
    wiki.write(FILES)
    wiki.follow()
    state = wiki.state()
    narrow = CachedEncoder(HashingEncoder("narrow:fedcba9876543210", 32), wiki.encoder.path)
    assert counts(wiki.embed(narrow)) == {"inserted": 4, "encoded": 4}
    wiki.assert_counted()
    assert counts(wiki.embed(narrow)) == {"unchanged": 4}
    (found,) = search(wiki.postgres, narrow, "four legs", k=1)
    assert found.document_id == "wiki:d.md"
    # With an encoder whose embeddings are not there, search is by words alone.
    (found,) = search(wiki.postgres, wiki.encoder, "four legs", k=1)
    assert found.document_id == "wiki:d.md"
    assert counts(wiki.embed()) == {"inserted": 4, "cached": 4}
    assert wiki.state() == state


class Interrupted(HashingEncoder):
    """Lets something happen while a chunk is being encoded."""

    def __init__(
        self, meanwhile: Callable[[], object], identity: str = "hashing:0123456789abcdef"
    ) -> None:
        super().__init__(identity)
        self.meanwhile: Callable[[], object] | None = meanwhile

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().encode(texts, progress)


def stop() -> None:
    raise KeyboardInterrupt


def test_a_text_that_changes_while_it_is_encoded_never_gets_the_old_vector(
    wiki: Wiki, tmp_path: Path
) -> None:
    """The other has finished: its newer embedding stays."""
    wiki.write(FILES)

    def newer() -> None:
        wiki.write({"a.md": "# Lamp\n\nThe lamp is dim."})
        wiki.follow()

    slow = CachedEncoder(Interrupted(newer), tmp_path / "slow.sqlite")
    summary = wiki.follow(slow)
    assert summary.superseded == summary.encoded > 0
    state = wiki.state()
    assert "dim" in str(state[1][0])
    wiki.assert_counted()
    assert state == wiki.clean_state()


def test_a_text_that_changes_and_is_not_yet_encoded_stays_stale(wiki: Wiki, tmp_path: Path) -> None:
    """The other has written the row, and not yet its embedding."""
    wiki.write(FILES)
    wiki.follow()
    wiki.write({"a.md": "# Lamp\n\nFirst change."})

    def only_the_row() -> None:
        wiki.write({"a.md": "# Lamp\n\nSecond change."})
        with pytest.raises(KeyboardInterrupt):
            wiki.follow(CachedEncoder(Interrupted(stop), tmp_path / "stopped.sqlite"))

    slow = CachedEncoder(Interrupted(only_the_row), tmp_path / "slow.sqlite")
    assert wiki.follow(slow).superseded == 1
    assert chunks_without_embedding(wiki.postgres)["chunk_id"].to_list() == ["wiki:a.md#0000"]
    assert orphaned_embeddings(wiki.postgres)["chunk_id"].to_list() == ["wiki:a.md#0000"]
    assert counts(wiki.follow())["updated"] == 1
    assert wiki.state() == wiki.clean_state()


def test_a_document_deleted_while_it_is_encoded_leaves_no_orphan(
    wiki: Wiki, tmp_path: Path
) -> None:
    wiki.write(FILES)

    def goes() -> None:
        (wiki.folder.root / "a.md").unlink()
        reconcile_documents(wiki.postgres, [wiki.folder], deletion_share_limit=1.0)

    slow = CachedEncoder(Interrupted(goes), tmp_path / "slow.sqlite")
    assert wiki.follow(slow).superseded == 1
    wiki.assert_counted()
    assert wiki.state() == wiki.clean_state()


def test_two_encoders_at_the_same_time_never_mix(
    wiki: Wiki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other writes its rows while the first encodes, and stops before its embeddings."""
    monkeypatch.setattr(reconciliation, "_CHUNK", 1)
    wiki.write(FILES)

    def rows_of_another() -> None:
        other = Interrupted(stop, "other:fedcba9876543210")
        with pytest.raises(KeyboardInterrupt):
            wiki.embed(CachedEncoder(other, tmp_path / "other.sqlite"))

    slow = CachedEncoder(Interrupted(rows_of_another), tmp_path / "slow.sqlite")
    summary = wiki.follow(slow)
    assert summary.superseded == summary.encoded == 4
    assert chunks_without_embedding(wiki.postgres).height == 4
    other = CachedEncoder(HashingEncoder("other:fedcba9876543210"), tmp_path / "other.sqlite")
    assert counts(wiki.embed(other)) == {"inserted": 4, "encoded": 4}


def test_what_did_not_change_is_not_cut_again(wiki: Wiki, monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[str] = []
    chunk = chunking.chunk

    def counted(title: str, content: str, tokenizer: Tokenizer) -> list[Chunk]:
        cut.append(title)
        return chunk(title, content, tokenizer)

    monkeypatch.setattr(chunking, "chunk", counted)
    wiki.write(FILES)
    wiki.follow()
    wiki.write({"a.md": "# Lamp\n\nDim."})
    wiki.follow()
    assert sorted(cut) == ["Chair", "Lamp", "Lamp", "Table", "c"]
    monkeypatch.setattr(chunking, "CHUNK_TOKENS", 99)
    wiki.follow()
    assert len(cut) == 9


def test_a_damaged_cache_of_cuts_costs_only_time(wiki: Wiki) -> None:
    wiki.write(FILES)
    wiki.follow()
    state = wiki.state()
    wiki.encoder.path.with_name("chunks.sqlite").write_bytes(b"damaged" * 1000)
    assert counts(wiki.follow()).keys() == {"unchanged"}
    assert wiki.state() == state


def test_several_at_once_end_like_a_clean_build(wiki: Wiki) -> None:
    """Documents come and go while others make chunks of them."""

    def work(worker: int) -> None:
        for turn in range(6):
            name = f"{(worker + turn) % 3}.md"
            if turn % 3 == 2:
                (wiki.folder.root / name).unlink(missing_ok=True)
            else:
                wiki.write({name: f"# Lamp {name}\n\nSeen by {worker} in turn {turn}."})
            wiki.follow()

    wiki.write(FILES)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    wiki.follow()
    wiki.assert_counted()
    assert wiki.state() == wiki.clean_state()


NAMES = st.sampled_from(["a.md", "b.md", "products/c.md", "products/d.txt", "old/c.md"])
CHANGES = st.one_of(
    st.tuples(st.just("write"), NAMES, st.sampled_from(TEXTS)),
    st.tuples(st.just("delete"), NAMES, st.none()),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("revert"), NAMES, st.none()),
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.lists(CHANGES, min_size=1, max_size=5), min_size=1, max_size=4))
def test_any_changes_end_like_a_clean_build(
    wiki: Wiki, rounds: list[list[tuple[str, str, str | None]]]
) -> None:
    shutil.rmtree(wiki.folder.root)
    wiki.folder.root.mkdir()
    was: dict[str, str] = {}
    for changes in rounds:
        for what, name, more in changes:
            _change(wiki.folder.root, was, what, name, more)
        wiki.follow()
        wiki.assert_counted()
    state = wiki.state()
    assert state == wiki.clean_state()


def _change(root: Path, was: dict[str, str], what: str, name: str, more: str | None) -> None:
    file = root / name
    before = file.read_text() if file.exists() else None
    if what == "write" and more is not None:
        write(root, {name: more})
    elif what == "delete":
        file.unlink(missing_ok=True)
    elif what == "rename" and more is not None and before is not None:
        (root / more).parent.mkdir(exist_ok=True)
        file.rename(root / more)
    elif what == "revert" and name in was:
        write(root, {name: was[name]})
    if before is not None:
        was[name] = before


# For each number on standard input, a fork follows the documents and kills itself before the
# statement of that number; what it exited with, or how many statements it ran, is printed.
KILLED = """
import os, signal, sys
from pathlib import Path
import psycopg
from pricing_platform.retrieval import reconciliation
from pricing_platform.retrieval.chunk_embeddings import reconcile_chunk_embeddings
from pricing_platform.retrieval.chunking import Chunk
from pricing_platform.retrieval.documents import DocumentFolder, reconcile_documents
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.retrieval.document_files import folder_of, tokenizer
from pricing_platform_tests.unit.retrieval.hashing_encoder import HashingEncoder

home, database = Path(sys.argv[1]), sys.argv[2]
reconciliation._CHUNK = 3
execute = psycopg.Connection.execute

def follow(fatal):
    statements = 0
    postgres = Postgres(database)
    with postgres.connection():
        pass

    def counted(self, *arguments, **options):
        nonlocal statements
        statements += 1
        if statements == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(self, *arguments, **options)

    psycopg.Connection.execute = counted
    cache = home / "cache" / "killed.sqlite"
    reconcile_documents(postgres, [folder_of(home / "wiki")], deletion_share_limit=1.0)
    encoder = CachedEncoder(HashingEncoder(), cache)
    reconcile_chunk_embeddings(postgres, encoder, tokenizer=tokenizer())
    print(statements, flush=True)
    os._exit(0)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        follow(int(line))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        print(status, flush=True)
"""


def test_killed_anywhere_and_run_again_it_ends_like_a_clean_build(
    wiki: Wiki, tmp_path: Path
) -> None:
    new = {"a.md": TEXTS[2], "c.md": TEXTS[5], "e.md": TEXTS[1]}

    def put(files: dict[str, str]) -> None:
        shutil.rmtree(wiki.folder.root)
        wiki.write(files)

    put(new)
    wiki.follow()
    clean = wiki.clean_state()
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(wiki.postgres._url)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runner:

        def killed_before(statement: int) -> int:
            put(FILES)
            wiki.follow()
            put(new)
            (tmp_path / "cache" / "killed.sqlite").unlink(missing_ok=True)
            assert runner.stdin is not None
            assert runner.stdout is not None
            print(statement, file=runner.stdin, flush=True)
            return int(runner.stdout.readline())

        statements = killed_before(-1)
        assert statements > 20
        assert wiki.state() == clean
        for statement in range(1, statements + 1, 3):
            assert killed_before(statement) == -9
            wiki.follow()
            assert wiki.state() == clean, statement
            wiki.assert_counted()
