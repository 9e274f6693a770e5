"""An answer to a question that is found, not written: a fact's value, or the best sentence.

Here belongs choosing it. Finding passages belongs to ``retrieval.search``; what was true at another
time belongs to ``fact_queries``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import regex

from pricing_platform.facts.dated_copies import Differing, Newest, Times, Told, newest_copy
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.sentences import sentence
from pricing_platform.retrieval.document_dates import begins, without_date
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.question_language import carried_words
from pricing_platform.retrieval.search import Passage, search
from pricing_platform.stores.postgres import Postgres

_CONSIDERED = 10
_SENTENCE_END = regex.compile(
    r"(?<=[.!?])\s+(?=[\p{Lu}\p{Lt}\p{Lo}\p{N}\"'(*¿¡«„“])|(?<=[。！？])\s*|\n+"
)
_MARKUP = re.compile(r"^[\s>#*\-+|]+|[*_`|]+|\s+$")
_FEWEST_WORDS = 3  # fewer are a heading, or a number without its meaning
_AS_OF = """
SELECT f.* FROM knowledge.facts_as_of(%(valid_at)s, %(known_at)s) AS f
JOIN knowledge.fact_series AS s USING (series_id)
WHERE s.connector IS DISTINCT FROM 'snapshot_folder'
ORDER BY f.series_id, f.value
"""
_WORD = re.compile(r"\w+")
_OVERLAP_WEIGHT = 0.5
_FACT_WEIGHT = 0.15  # a value is an answer, a sentence only holds one
_PLACE_WEIGHT = 0.02


@dataclass(frozen=True)
class FoundAnswer:
    """The answer with where it is from, since when it holds, and how old its last check is.

    ``answer`` is None where nothing was found. ``dated`` is the date of the document that says it.
    Where sources differ and nothing tells which is newer, ``differing`` has what each of them says,
    ``answer`` and ``source`` name all, and ``freshness`` is ``disputed``. ``passages`` leaves out
    those in which an older copy of the answer stands. ``silent`` is a newer copy of the document,
    which does not say it any more: the answer is then not ``fresh``.
    """

    question: str
    answer: str | None
    statement: str | None
    origin: str | None
    source: str | None
    valid_since: datetime | None
    last_verified: datetime | None
    freshness: str | None
    series_id: int | None
    passages: tuple[Passage, ...]
    dated: str | None = None
    differing: tuple[Differing, ...] = ()
    silent: str | None = None

    def to_json(self, *, sentence: str | None = None) -> str:
        """As one JSON object, times in ISO 8601, with the sentence that was written of it."""
        fields = {**asdict(self), "sentence": sentence}
        return json.dumps(fields, default=_plain, ensure_ascii=False)


@dataclass(frozen=True)
class _Candidate:
    told: Told
    place: int


def answer(
    postgres: Postgres,
    encoder: CachedEncoder,
    question: str,
    *,
    rules: FactRules,
    k: int = 5,
) -> FoundAnswer:
    """The current answer to a question, and the ``k`` best passages and facts.

    How long a passage is fresh is the time to live of the kind ``document``.
    """
    now, time_to_live = datetime.now(UTC), rules.time_to_live_of("document")
    passages = search(postgres, encoder, question, k=max(k, _CONSIDERED), time_to_live=time_to_live)
    return _answered(postgres, encoder, question, passages, k, Times(now, now, time_to_live))


def answer_as_of(
    postgres: Postgres,
    encoder: CachedEncoder,
    question: str,
    valid_at: datetime,
    *,
    known_at: datetime | None = None,
    k: int = 5,
) -> FoundAnswer:
    """What facts said of the question at another time; passages have no past.

    Args:
        valid_at: when the answer has to hold.
        known_at: what was known then; by default what is known now.
    """
    times = Times(valid_at, known_at or datetime.now(UTC))
    found = postgres.frame(_AS_OF, {"valid_at": times.valid_at, "known_at": times.known_at})
    ranked = _ranked(encoder, question, [_as_passage(row) for row in found.iter_rows(named=True)])
    return _answered(postgres, encoder, question, ranked[: max(k, _CONSIDERED)], k, times)


def _answered(
    postgres: Postgres,
    encoder: CachedEncoder,
    question: str,
    passages: Sequence[Passage],
    k: int,
    times: Times,
) -> FoundAnswer:
    said = [_Candidate(at, place) for place, on in enumerate(passages) for at in _sentences(on)]
    # Which date is meant is decided when it is known what is asked for.
    undated = without_date(question) or question
    carried = carried_words(postgres, undated, [_with_context(at.told) for at in said])
    candidates = [
        candidate
        for candidate, words in zip(said, carried.texts, strict=True)
        if _is_about(carried.question, words)
    ]
    if not candidates:
        return FoundAnswer(
            question, None, None, None, None, None, None, None, None, tuple(passages[:k])
        )
    scores = _similarity(encoder, question, [at.told.statement for at in candidates])
    scores -= _PLACE_WEIGHT * np.array([at.place for at in candidates])
    scores += _FACT_WEIGHT * np.array([at.told.passage.origin == "fact" for at in candidates])
    best = candidates[int(scores.argmax())].told
    newest = newest_copy(postgres, question, best, times, _sentences)
    return _shown(question, newest, passages, k)


def _shown(question: str, newest: Newest, passages: Sequence[Passage], k: int) -> FoundAnswer:
    told, shown = newest.told, newest.told.passage
    outdated = {(at.passage.origin, at.passage.passage_id) for at in newest.outdated}
    left = [at for at in passages if (at.origin, at.passage_id) not in outdated]
    if all(at.passage_id != shown.passage_id for at in left) and shown.origin == "chunk":
        left = [shown, *left]
    found = FoundAnswer(
        question=question,
        answer=told.answer,
        statement=told.statement,
        origin=shown.origin,
        source=shown.document_id or shown.source,
        valid_since=_since(shown),
        last_verified=shown.verified_at,
        freshness=shown.freshness,
        series_id=shown.series_id,
        passages=tuple(left[:k]),
        dated=shown.dated,
        silent=newest.silent,
    )
    if newest.silent is not None and found.freshness == "fresh":
        return replace(found, freshness="stale")
    if not newest.differing:
        return found
    said = [f"{at.answer} ({at.source})" for at in newest.differing]
    return replace(
        found,
        answer=" or ".join(said),
        statement=f"Sources differ, and nothing tells which is newer: {'; '.join(said)}",
        source=", ".join(at.source for at in newest.differing),
        valid_since=None,
        freshness="disputed",
        dated=None,
        differing=newest.differing,
    )


def _since(passage: Passage) -> datetime:
    """Since when it holds: a sentence since the date of its document, where that has one."""
    if passage.valid_since is None and passage.dated is not None:
        return begins(passage.dated)
    return passage.valid_since or passage.observed_at


def _sentences(passage: Passage) -> list[Told]:
    if passage.origin == "fact":
        return [Told(passage.value or passage.text, passage.text, passage)]
    body = passage.text.removeprefix(passage.heading_path)
    lines = [part for part in _SENTENCE_END.split(body) if not part.lstrip().startswith("#")]
    parts = (_MARKUP.sub("", part) for part in lines)
    return [
        Told(part, part, passage) for part in parts if len(_WORD.findall(part)) >= _FEWEST_WORDS
    ]


def _with_context(told: Told) -> str:
    """A statement with what it stands under."""
    return f"{told.statement} {told.passage.heading_path} {told.passage.subject}"


def _is_about(asked: frozenset[str], said: frozenset[str]) -> bool:
    """Whether most of what the question asks for stands there or in what it stands under."""
    return bool(asked) and len(asked & said) > len(asked) / 2


def _ranked(encoder: CachedEncoder, question: str, passages: Sequence[Passage]) -> list[Passage]:
    if not passages:
        return []
    scores = _similarity(encoder, question, [found.text for found in passages])
    return [passages[place] for place in np.argsort(-scores, kind="stable")]


def _similarity(
    encoder: CachedEncoder, question: str, texts: Sequence[str]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Cosine, and the share of the question's words that a text holds."""
    vectors = encoder.embed(texts).vectors.astype(np.float64)
    (asked_for,) = encoder.embed_queries([question]).astype(np.float64)
    asked = set(_WORD.findall(question.casefold()))
    shared = [len(asked & set(_WORD.findall(text.casefold()))) for text in texts]
    overlap = np.array(shared, dtype=np.float64) / max(1, len(asked))
    scores: np.ndarray[tuple[int], np.dtype[np.float64]] = vectors @ asked_for
    return scores + _OVERLAP_WEIGHT * overlap


def _as_passage(row: dict[str, object]) -> Passage:
    """A fact of another time in the form of what a search finds."""
    subject, attribute, value = (str(row[name]) for name in ("subject", "attribute", "value"))
    return Passage(
        passage_id=f"{row['series_id']}",
        origin="fact",
        text=sentence(subject, attribute, value),
        heading_path="",
        source=str(row["source"]),
        kind=str(row["kind"]),
        subject=subject,
        document_id=None,
        series_id=int(str(row["series_id"])),
        attribute=attribute,
        value=value,
        observed_at=row["known_from"],  # type: ignore[arg-type]
        verified_at=None,
        freshness=None,
        valid_since=row["valid_from"],  # type: ignore[arg-type]
        score=0.0,
    )


def as_frame(passages: Sequence[Passage]) -> pl.DataFrame:
    """The passages as the command line shows them."""
    rows = [
        {
            "origin": found.origin,
            "text": found.text,
            "source": found.document_id or found.source,
            "dated": found.dated,
            "valid since": found.valid_since,
            "last verified": found.verified_at,
            "freshness": found.freshness,
        }
        for found in passages
    ]
    return pl.DataFrame(rows, schema_overrides={"freshness": pl.String, "dated": pl.String})


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
