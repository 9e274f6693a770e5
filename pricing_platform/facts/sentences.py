"""Current facts as sentences with embeddings, so that they are found as passages are.

Here belongs the sentence that a fact becomes. What the facts are belongs to ``observations``, and
bringing rows and embeddings to agree to ``retrieval.reconciliation``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import psycopg

from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.reconciliation import (
    EmbeddedTable,
    ReconciliationSummary,
    content_hash_of,
    reconcile,
)
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import fingerprint

SENTENCE_TEMPLATE_VERSION = "1"
"""To be raised with any change of what :func:`sentence` returns."""

SENTENCES_VERSION = f"1.{SENTENCE_TEMPLATE_VERSION}"

_BATCH = 5_000
_WORD = re.compile(r"[^\s\-/]+")
_SMALL = frozenset(
    ["a", "an", "and", "as", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"]
)
_ACRONYMS = frozenset(
    ["ai", "api", "ceo", "cfo", "cio", "coo", "cto", "hr", "id", "llc", "sla", "uk", "url", "usa"]
)
_AFTER_APOSTROPHE = re.compile(r"(?<=\b[od]')\w")  # o'brien
_SENTENCES = EmbeddedTable(
    rows="knowledge.fact_sentences",
    embeddings="knowledge.fact_embeddings",
    key="fact_id",
    columns={
        "series_id": "int8",
        "subject": "text",
        "attribute": "text",
        "kind": "text",
        "value": "text",
        "source": "text",
        "text": "text",
        "content_hash": "text",
        "fingerprint": "text",
    },
)


class _CurrentFacts:
    """What holds now, but for the prices of listings, which are found with the listings."""

    def __init__(self, postgres: Postgres, identity: str) -> None:
        self._postgres = postgres
        self._identity = identity

    def batches(self) -> Iterator[pl.DataFrame]:
        query = (
            "SELECT series_id::text || '/' || slot, series_id, subject, attribute, kind, value,"
            " source FROM knowledge.current_facts"
            " WHERE connector IS DISTINCT FROM 'snapshot_folder' ORDER BY series_id, slot"
        )
        columns = ["fact_id", *_SENTENCES.columns]
        with self._postgres.connection() as connection:
            cursor: psycopg.ServerCursor[Any] = connection.cursor("facts")
            cursor.itersize = _BATCH
            with cursor:
                cursor.execute(query)
                while facts := cursor.fetchmany(_BATCH):
                    rows = [(*fact, *self._worded(fact[2], fact[3], fact[5])) for fact in facts]
                    yield pl.DataFrame(rows, schema=columns, orient="row")

    def texts(self, keys: Sequence[str]) -> pl.DataFrame:
        """What the facts are now; another encoder's rows get a fingerprint that is not theirs."""
        with self._postgres.connection() as connection:
            rows = connection.execute(
                "SELECT fact_id, text FROM knowledge.fact_sentences"
                " WHERE fact_id = ANY(%s) ORDER BY fact_id",
                [list(keys)],
            ).fetchall()
        return pl.DataFrame(
            [(key, text, self._fingerprint(content_hash_of(text))) for key, text in rows],
            schema={"key": pl.String, "text": pl.String, "fingerprint": pl.String},
            orient="row",
        )

    def _worded(self, subject: str, attribute: str, value: str) -> tuple[str, str, str]:
        text = sentence(subject, attribute, value)
        content_hash = content_hash_of(text)
        return text, content_hash, self._fingerprint(content_hash)

    def _fingerprint(self, content_hash: str) -> str:
        return fingerprint(content_hash, SENTENCE_TEMPLATE_VERSION, self._identity)


def reconcile_fact_sentences(
    postgres: Postgres, encoder: CachedEncoder, *, progress: Progress = silent
) -> ReconciliationSummary:
    """Makes ``knowledge.fact_sentences`` and ``knowledge.fact_embeddings`` follow what holds now.

    Nothing guards against deletions: a fact ends because a source says so, and whether a source
    is there at all is guarded where it is read.

    Raises:
        PlatformError: when the encoder's vectors fit no column.
    """
    return reconcile(
        postgres,
        _SENTENCES,
        _CurrentFacts(postgres, encoder.identity),
        encoder,
        deletion_share_limit=1.0,
        progress=progress,
    )


def sentence(subject: str, attribute: str, value: str) -> str:
    """A fact in words: "Insurellm: CEO is Avery Lancaster"."""
    words = " ".join(_acronym(word) for word in attribute.split())
    return f"{name_of(subject)}: {words} is {value}"


def name_of(subject: str) -> str:
    """A normalised subject as names are written: "michael o'brien" as "Michael O'Brien"."""

    def written(found: re.Match[str]) -> str:
        word = found[0]
        if word in _SMALL and found.start() > 0:
            return word
        if _acronym(word) != word:
            return word.upper()
        word = _AFTER_APOSTROPHE.sub(lambda letter: letter[0].upper(), word)
        start = next((place for place, letter in enumerate(word) if letter.isalnum()), 0)
        return word[:start] + word[start : start + 1].upper() + word[start + 1 :]

    return _WORD.sub(written, subject)


def _acronym(word: str) -> str:
    return word.upper() if word.strip("().,:") in _ACRONYMS else word
