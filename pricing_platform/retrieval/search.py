"""Search: the passages and facts that answer a question, each with its source and its age.

Here belongs asking the store; the statement is ``sql/retrieval/search.sql``. Cutting documents
belongs to ``chunking``, and what an answer says to ``facts``.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pgvector import HalfVector
from psycopg.rows import dict_row

from pricing_platform.retrieval.documents import normalise_subject
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.encoder import TextEncoder, Vectors
from pricing_platform.retrieval.reconciliation import short_identity
from pricing_platform.settings import sql_folder
from pricing_platform.stores.postgres import Postgres

SEARCH_VERSION = "1"
"""To be raised with any change of what :func:`search` finds."""

K1 = 0.9
B = 0.4
"""BM25's saturation and length normalisation: Anserini's defaults, for passages of like length."""

RANK_CONSTANT = 60.0
DENSE_WEIGHT = 1.0
LEXICAL_WEIGHT = 2.0
"""Of reciprocal rank fusion, which chooses what is put in order: names and numbers are lexical."""

DEPTH = 100
"""Ranks of each list that are fused."""

FUSED = 50
"""Passages that are put in order; more where more are asked for."""

COSINE_WEIGHT = 0.5
"""Beside the share of the highest BM25 that the question allows, which is between 0 and 1."""

TITLE_WEIGHT = 0.1
"""Beside it, of the share of a passage's title that the question names."""

MAX_QUESTION_CHARACTERS = 8_000
"""What is read of a longer question."""

Origin = Literal["chunk", "fact"]
Freshness = Literal["fresh", "stale", "expired", "disputed"]

CHUNKS: tuple[Origin, ...] = ("chunk",)
"""Passages of documents alone: what a language model is given to read."""


@dataclass(frozen=True)
class Passage:
    """What was found: a chunk of a document, or a current fact as a sentence.

    ``text`` is what is shown. ``observed_at`` is when the document's content, or the fact's value,
    was first seen, and ``verified_at`` when it was last confirmed. ``dated`` is the date that the
    document gives itself. A fact is ``disputed`` whose sources differ while nothing tells which is
    newer. A higher ``score`` is better.
    """

    passage_id: str
    origin: Origin
    text: str
    heading_path: str
    source: str
    kind: str
    subject: str
    document_id: str | None
    series_id: int | None
    attribute: str | None
    value: str | None
    observed_at: datetime
    verified_at: datetime | None
    freshness: Freshness | None
    valid_since: datetime | None
    score: float
    dated: str | None = None


def search(
    postgres: Postgres,
    encoder: CachedEncoder | TextEncoder,
    question: str,
    *,
    k: int = 10,
    max_characters: int | None = None,
    kinds: Collection[str] = (),
    sources: Collection[str] = (),
    subjects: Collection[str] = (),
    origins: Collection[Origin] = ("chunk", "fact"),
    time_to_live: timedelta | None = None,
) -> list[Passage]:
    """The ``k`` best passages for a question, best first.

    Dense search (exact cosine) and lexical search (BM25) are fused by reciprocal ranks, and the
    best of that are ordered by the two scores themselves, which tell more than ranks (Bruch, Gai
    and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023). Only what is current
    is looked at: embeddings of the text as it is now, by this encoder, and facts that still hold.

    Args:
        encoder: must be the one that the stored embeddings are of; others are not looked at.
        k: how many; there are fewer only where fewer match, or fit.
        max_characters: of all texts together; a passage that does not fit is passed over.
        kinds: of documents and facts; all of them when empty.
        sources: names of sources; all of them when empty.
        subjects: of documents and facts, in any spelling that normalises to them.
        origins: whether to look for chunks, facts or both.
        time_to_live: for how long a document is fresh after it was verified; None: always.
    """
    (found,) = search_many(
        postgres,
        encoder,
        [question],
        k=k,
        max_characters=max_characters,
        kinds=kinds,
        sources=sources,
        subjects=subjects,
        origins=origins,
        time_to_live=time_to_live,
    )
    return found


def search_many(
    postgres: Postgres,
    encoder: CachedEncoder | TextEncoder,
    questions: Sequence[str],
    *,
    k: int = 10,
    max_characters: int | None = None,
    kinds: Collection[str] = (),
    sources: Collection[str] = (),
    subjects: Collection[str] = (),
    origins: Collection[Origin] = ("chunk", "fact"),
    time_to_live: timedelta | None = None,
) -> list[list[Passage]]:
    """:func:`search` for each of the questions, which are encoded together."""
    if not questions:
        return []
    read = [_readable(question) for question in questions]
    filters = {
        "model": short_identity(encoder.identity),
        "kinds": sorted(kinds) or None,
        "sources": sorted(sources) or None,
        "subjects": sorted({normalise_subject(subject) for subject in subjects}) or None,
        "chunks": "chunk" in origins,
        "facts": "fact" in origins,
        "time_to_live": time_to_live,
    }
    with postgres.connection(read_only=True) as connection:
        # One plan serves all questions; planning takes longer than searching.
        cursor = connection.cursor(row_factory=dict_row)
        return [
            _within(cursor.execute(_statement(), asked, prepare=True), k, max_characters)
            for asked in _asked(read, _embed(encoder, read), filters, k)
        ]


def _asked(
    questions: Sequence[str], vectors: Vectors, filters: dict[str, Any], k: int
) -> Iterable[dict[str, Any]]:
    for question, vector in zip(questions, vectors, strict=True):
        yield {
            **filters,
            "question": question,
            "vector": HalfVector(vector),
            "k1": K1,
            "b": B,
            "depth": max(DEPTH, 2 * k),
            "constant": RANK_CONSTANT,
            "dense_weight": DENSE_WEIGHT,
            "lexical_weight": LEXICAL_WEIGHT,
            "cosine_weight": COSINE_WEIGHT,
            "title_weight": TITLE_WEIGHT,
            "fused": max(FUSED, 2 * k),
        }


def _within(rows: Iterable[dict[str, Any]], k: int, max_characters: int | None) -> list[Passage]:
    """The first ``k`` that fit, in order."""
    found: list[Passage] = []
    left = max_characters
    for row in rows:
        if len(found) >= k:
            break
        if left is not None:
            if len(row["text"]) > left:
                continue
            left -= len(row["text"])
        found.append(_passage(row))
    return found


def _passage(row: dict[str, Any]) -> Passage:
    return Passage(**{name: row[name] for name in Passage.__dataclass_fields__})


def _readable(question: str) -> str:
    """The question as Postgres takes it: valid Unicode, without NUL, and not endless."""
    valid = question[:MAX_QUESTION_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    return valid.replace("\x00", " ")


def _embed(encoder: CachedEncoder | TextEncoder, questions: Sequence[str]) -> Vectors:
    if isinstance(encoder, CachedEncoder):
        return encoder.embed_queries(questions)
    return encoder.encode_queries(questions)


@functools.cache
def _statement() -> bytes:
    return (sql_folder() / "retrieval" / "search.sql").read_bytes()
