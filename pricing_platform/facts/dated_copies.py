"""Copies of a statement: the newest counts; where nothing tells which is, all are shown.

Copies stand in documents of one topic, such as ``2023/returns.md`` and ``2026/returns.md``. Here
belong finding them and comparing their dates. Choosing what answers a question belongs to
``answers``, the date of a document to ``retrieval.document_dates``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pricing_platform.facts.sentences import sentence
from pricing_platform.retrieval.document_dates import (
    begins,
    dates_in,
    ends,
    is_newer,
    without_date,
)
from pricing_platform.retrieval.question_language import carried_words
from pricing_platform.retrieval.search import Passage
from pricing_platform.stores.postgres import Postgres

_NOT_AT = re.compile(
    r"\b(?:since|after|before|until|from|seit|nach|vor|bis|ab|depuis|après|avant|desde|hasta"
    r"|después de|antes de)\s+(?:\w+\s+)?$",
    re.IGNORECASE,
)
_ALIKE = 0.5  # of all words of two sentences, the share that stands in both
_WORD = re.compile(r"\w+")
_CHUNKS = """
SELECT
    c.chunk_id AS passage_id, 'chunk' AS origin, c.heading_path || E'\n' || c.text AS text,
    c.heading_path, c.source, c.kind, c.subject, c.document_id, NULL::bigint AS series_id,
    NULL::text AS attribute, NULL::text AS value, d.observed_at, d.verified_at,
    knowledge.freshness(d.verified_at, %(time_to_live)s::interval) AS freshness,
    NULL::timestamptz AS valid_since, 0.0::float8 AS score, d.dated
FROM knowledge.documents AS o
JOIN knowledge.documents AS d ON d.topic = o.topic AND d.document_id <> o.document_id
JOIN knowledge.chunks AS c ON c.document_id = d.document_id
WHERE o.document_id = %(document_id)s AND o.topic <> ''
ORDER BY d.document_id, c.ordinal
"""
# Keyed facts only: what a sentence tells of somebody is of one series in all copies.
_FACTS = """
SELECT
    f.series_id::text AS passage_id, 'fact' AS origin, '' AS text, '' AS heading_path, f.source,
    f.kind, f.subject, d.document_id, f.series_id, f.attribute, f.value,
    d.observed_at, s.verified_at,
    knowledge.freshness(s.verified_at, s.ttl) AS freshness, f.valid_from AS valid_since,
    0.0::float8 AS score, d.dated
FROM knowledge.documents AS o
JOIN knowledge.documents AS d ON d.topic = o.topic AND d.document_id <> o.document_id
JOIN knowledge.facts_as_of(%(valid_at)s, %(known_at)s) AS f
    ON f.source = d.document_id AND f.subject = d.subject AND f.attribute = %(attribute)s
JOIN knowledge.fact_series AS s ON s.series_id = f.series_id AND s.cardinality = 'single'
WHERE o.document_id = %(document_id)s AND o.topic <> '' AND o.subject = %(subject)s
    AND f.series_id <> %(series_id)s
ORDER BY d.document_id, f.series_id
"""
_COPIES = """
SELECT d.document_id, d.dated
FROM knowledge.documents AS o
JOIN knowledge.documents AS d ON d.topic = o.topic AND d.dated IS NOT NULL
WHERE o.document_id = %(document_id)s AND o.topic <> '' AND coalesce((
    SELECT cardinality(b.stated) = 0
    FROM knowledge.observations AS b
    WHERE b.series_id = %(series_id)s AND b.source = d.document_id
    ORDER BY b.observed_at DESC, b.valid_from DESC
    LIMIT 1
), true)
"""
_THEN = """
SELECT f.value, f.source, f.source AS document_id, f.valid_from AS valid_since, d.dated
FROM knowledge.facts_as_of(%(valid_at)s, %(known_at)s) AS f
LEFT JOIN knowledge.documents AS d ON d.document_id = f.source
WHERE f.series_id = %(series_id)s
"""
_SEEN = "SELECT observed_at FROM knowledge.documents WHERE document_id = %s"
_DIFFERING = """
SELECT value, source, since, dated
FROM knowledge.differing(ARRAY[%(series_id)s::bigint], %(valid_at)s, %(known_at)s)
ORDER BY holds DESC, since DESC, source, value
"""


@dataclass(frozen=True)
class Told:
    """What one source says: the answer and its sentence, and the passage that it stands in."""

    answer: str
    statement: str
    passage: Passage


@dataclass(frozen=True)
class Differing:
    """One of several answers of which nothing tells which is newer, and where it stands."""

    answer: str
    source: str
    dated: str | None
    since: datetime | None


@dataclass(frozen=True)
class Newest:
    """What counts, what does not any more, and all that differs where nothing tells what counts.

    ``silent`` is the newest copy of the document, where that does not say what counts any more.
    """

    told: Told
    outdated: tuple[Told, ...] = ()
    differing: tuple[Differing, ...] = ()
    silent: str | None = None


@dataclass(frozen=True)
class Times:
    """When an answer has to hold, by what was known when; ``time_to_live`` is that of documents."""

    valid_at: datetime
    known_at: datetime
    time_to_live: timedelta | None = None


def newest_copy(
    postgres: Postgres,
    question: str,
    best: Told,
    times: Times,
    sentences: Callable[[Passage], Sequence[Told]],
) -> Newest:
    """The newest copy of a statement, or that of the date which the question names.

    Args:
        postgres: where documents and facts are.
        question: what is asked.
        best: the statement that answers it best.
        times: when it has to hold.
        sentences: the statements of a passage.
    """
    asked = list(dates_in(question))
    if best.passage.origin == "fact":
        if (then := _as_of_its_date(postgres, question, asked, best, times)) is not None:
            return Newest(then)
        disputed = _disputed(postgres, best, times)
        copies = [_fact(at) for at in _copied_facts(postgres, best, times)]
        best = _of_its_document(postgres, best) if copies else best
    else:
        disputed = ()
        alike = _most_alike(best, _copied_chunks(postgres, best, times), sentences)
        copies = _about_the_same(postgres, question, best, alike)
    rivals = [at for at in copies if not _is_told_apart(question, best, at)]
    found = _newest([best, *rivals], [dated for dated, _ in asked], times.valid_at)
    if found.told == best and disputed:
        return Newest(best, found.outdated, disputed)
    if found.differing or asked:
        return found
    return replace(found, silent=_silent(postgres, found.told, times))


def _silent(postgres: Postgres, told: Told, times: Times) -> str | None:
    """The newest copy of the document that says it, where that is a newer one."""
    passage = told.passage
    of = {
        "document_id": passage.document_id or passage.source,
        "series_id": passage.series_id if passage.origin == "fact" else None,
    }
    copies = postgres.frame(_COPIES, of).iter_rows()
    newer = [
        (dated, copy)
        for copy, dated in copies
        if is_newer(dated, told.passage.dated) and _has_begun(dated, times.valid_at)
    ]
    return max(newer)[1] if newer else None


def _as_of_its_date(
    postgres: Postgres,
    question: str,
    asked: Sequence[tuple[str, tuple[int, int]]],
    best: Told,
    times: Times,
) -> Told | None:
    """What a fact was at the date that the question names, where it holds from later on only.

    What has happened ``since`` or ``after`` a date is not asked of that date.
    """
    since = best.passage.valid_since
    if len(asked) != 1 or since is None or best.passage.series_id is None:
        return None
    (dated, (start, _)) = asked[0]
    if ends(dated) > min(since, times.valid_at) or _NOT_AT.search(question[:start]):
        return None
    rows = postgres.frame(
        _THEN,
        {
            "series_id": best.passage.series_id,
            "valid_at": ends(dated) - timedelta(microseconds=1),
            "known_at": times.known_at,
        },
    )
    if rows.height != 1:
        return None
    return _fact(replace(best.passage, freshness=None, **rows.row(0, named=True)))


def _newest(copies: Sequence[Told], asked: Sequence[str], valid_at: datetime) -> Newest:
    """The first copy, unless another is newer; what begins later does not count yet.

    Of copies that are of a date asked for, these alone count.
    """
    named = [at for at in copies if _is_of(at.passage.dated, asked)]
    begun = [at for at in copies if _has_begun(at.passage.dated, valid_at)]
    counting = named or begun or copies
    newest = counting[0]
    for copy in counting[1:]:
        if _is_newer(copy, newest):
            newest = copy
    others = [at for at in copies if _words(at.answer) != _words(newest.answer)]
    standing = [at for at in counting if not any(_is_newer(by, at) for by in counting)]
    differing = [at for at in others if at in standing]
    return Newest(
        newest,
        tuple(at for at in others if at not in differing),
        tuple(map(_differing, [newest, *differing])) if differing else (),
    )


def _is_told_apart(question: str, best: Told, other: Told) -> bool:
    """Whether the question names what the best is about, and the other is about something else."""
    subjects = [without_date(at.passage.subject) for at in (best, other)]
    own = {*_words(subjects[0])} - {*_words(subjects[1])}
    return subjects[0] != subjects[1] and bool(own & {*_words(question)})


def _has_begun(dated: str | None, at: datetime) -> bool:
    return dated is None or begins(dated) <= at


def _is_of(dated: str | None, asked: Sequence[str]) -> bool:
    return dated is not None and any(dated.startswith(at) or at.startswith(dated) for at in asked)


def _is_newer(told: Told, other: Told) -> bool:
    """Whether one is known to be later: by their dates, or as they were seen.

    What has no date is no newer than it was first seen, and may be as old as anything.
    """
    dated, seen_at = other.passage.dated, other.passage.observed_at
    if told.passage.dated and dated:
        return is_newer(told.passage.dated, dated)
    if told.passage.dated:
        return begins(told.passage.dated) > seen_at
    return dated is None and told.passage.observed_at > seen_at


def _disputed(postgres: Postgres, best: Told, times: Times) -> tuple[Differing, ...]:
    """What the sources of a fact say, where nothing tells which of them is newest."""
    rows = postgres.frame(
        _DIFFERING,
        {
            "series_id": best.passage.series_id,
            "valid_at": times.valid_at,
            "known_at": times.known_at,
        },
    )
    return tuple(
        Differing(value, source, dated, since) for value, source, since, dated in rows.iter_rows()
    )


def _copied_facts(postgres: Postgres, best: Told, times: Times) -> list[Passage]:
    rows = postgres.frame(
        _FACTS,
        {
            "document_id": best.passage.source,
            "series_id": best.passage.series_id,
            "subject": best.passage.subject,
            "attribute": best.passage.attribute,
            "valid_at": times.valid_at,
            "known_at": times.known_at,
        },
    )
    return [Passage(**row) for row in rows.iter_rows(named=True)]


def _of_its_document(postgres: Postgres, best: Told) -> Told:
    """A fact as of when its document was first seen as it is, as that of its copies is."""
    seen = postgres.frame(_SEEN, [best.passage.source])["observed_at"].to_list()
    return replace(best, passage=replace(best.passage, observed_at=seen[0])) if seen else best


def _fact(passage: Passage) -> Told:
    value = str(passage.value)
    return Told(value, sentence(passage.subject, str(passage.attribute), value), passage)


def _copied_chunks(postgres: Postgres, best: Told, times: Times) -> list[Passage]:
    rows = postgres.frame(
        _CHUNKS,
        {"document_id": best.passage.document_id, "time_to_live": times.time_to_live},
    )
    return [Passage(**row) for row in rows.iter_rows(named=True)]


def _most_alike(
    best: Told, passages: Sequence[Passage], sentences: Callable[[Passage], Sequence[Told]]
) -> list[Told]:
    """Of each other document the sentence that is most like the best, if it is like it at all."""
    found: dict[str | None, tuple[float, Told]] = {}
    for passage in passages:
        for told in sentences(passage):
            alike = _share(_words(best.statement), _words(told.statement))
            known = found.get(passage.document_id)
            if alike >= _ALIKE and (known is None or alike > known[0]):
                found[passage.document_id] = alike, told
    return [told for _, told in found.values()]


def _about_the_same(
    postgres: Postgres, question: str, best: Told, copies: Sequence[Told]
) -> list[Told]:
    """Those that have all that the best has of the question: others say something else.

    Without ``full`` a sentence is not about what full-time staff get. Numbers may differ.
    """
    carried = carried_words(postgres, question, [at.statement for at in (best, *copies)])
    wanted = {word for word in carried.question & carried.texts[0] if not word.isdigit()}
    return [at for at, words in zip(copies, carried.texts[1:], strict=True) if wanted <= words]


def _share(words: tuple[str, ...], others: tuple[str, ...]) -> float:
    return len({*words} & {*others}) / max(1, len({*words} | {*others}))


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _differing(told: Told) -> Differing:
    passage = told.passage
    source = passage.document_id or passage.source
    return Differing(told.answer, source, passage.dated, passage.valid_since or passage.observed_at)
