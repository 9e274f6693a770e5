"""Observes the documents: what each states now, and what it no longer states.

Here belongs making observations of what documents say. Reading the text belongs to
:mod:`pricing_platform.facts.extraction`, recording to :mod:`pricing_platform.facts.observations`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

import psycopg

from pricing_platform.facts.extraction import Statement, extract
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import Observation, RecordSummary, record_in
from pricing_platform.retrieval.document_dates import begins, is_newer
from pricing_platform.retrieval.documents import Document, hold_documents
from pricing_platform.stores.postgres import Postgres

CONNECTOR = "document_folder"
"""The connector that is asked for what documents state."""

_Connection = psycopg.Connection[Any]
_Ids = list[str] | None
_Key = tuple[str, str, str]
"""A source, and the subject and attribute of what it states."""


def observe_documents(
    postgres: Postgres, rules: FactRules, *, document_ids: Sequence[str] | None = None
) -> RecordSummary:
    """Records what the documents state, each with its document as the source, in one transaction.

    Observed at is when the document was last verified. What a document states holds since the date
    that the text names with it, or else since that of the document. What it stated before and does
    not any more gets an observation without values then; what a vanished one stated gets one now.
    What holds since such a date replaces all that the document said of later times. Documents that
    were not verified again since the last call change nothing. Who resigned by one document holds
    the office by no other that says so of an earlier time, or was there before. Lists of an older
    copy are not added to those of a newer one. A chunk is named only where it holds what its
    document says there now.

    Args:
        postgres: where ``knowledge.documents`` is; its chunks are named if they are there.
        rules: kinds and cardinality of the attributes.
        document_ids: the only documents to look at, vanished ones too; by default all.
    """
    ids = None if document_ids is None else list(document_ids)
    with postgres.connection() as connection:
        # What is stated, and what was said, has to be of one state of the documents.
        hold_documents(connection)
        now = _now(connection)
        read = [_Read(at, _dated(at, extract(at.document, rules))) for at in _documents(connection)]
        endings, newest = _endings(read), _newest_lists(read, rules)
        wanted = [at for at in read if ids is None or at.document_id in ids]
        chunks = _chunks(connection, ids)
        stated = {
            (at.source, at.subject, at.attribute): at
            for one in wanted
            for at in _stated(one, chunks.get(one.document_id), endings)
            if not is_newer(newest.get((at.subject, at.attribute)), one.seen.document.dated)
        }
        said = _said(connection, ids)
        verified = {at.document_id: at.seen.verified_at for at in wanted}
        gone = {
            key: _gone(key, verified.get(key[0], now))
            for key, before in said.items()
            if before.values and key not in stated
        }
        new = {**stated, **gone}
        replacing = _replacing(connection, new, said)
        return record_in(connection, [*new.values(), *replacing], rules)


@dataclass(frozen=True)
class _Seen:
    """A document, when its content was first seen, and when last."""

    document: Document
    observed_at: datetime
    verified_at: datetime


@dataclass(frozen=True)
class _Read:
    """A document and what it states."""

    seen: _Seen
    statements: list[Statement]

    @property
    def document_id(self) -> str:
        return self.seen.document.document_id


def _dated(seen: _Seen, statements: list[Statement]) -> list[Statement]:
    """The statements, each of the document's own date where it has none."""
    if seen.document.dated is None:
        return statements
    since = begins(seen.document.dated)
    return [replace(at, valid_from=at.valid_from or since) for at in statements]


_Endings = Mapping[tuple[str, str, str], tuple[Statement, datetime]]
"""What ended, by subject, attribute and value: how that is said, and when it was first seen."""


def _endings(read: Sequence[_Read]) -> _Endings:
    return {
        (at.subject, at.attribute, at.ended.casefold()): (at, one.seen.observed_at)
        for one in read
        for at in one.statements
        if at.ended
    }


def _newest_lists(read: Sequence[_Read], rules: FactRules) -> dict[tuple[str, str], str]:
    """Of attributes with several values at a time, the newest date of a document that states them.

    One value gives way to a newer one when they are folded; lists would be united.
    """
    newest: dict[tuple[str, str], str] = {}
    for one in read:
        dated = one.seen.document.dated
        for at in one.statements:
            series = (at.subject, at.attribute)
            is_list = dated is not None and rules.cardinality_of(at.attribute) == "multi"
            if dated and is_list and (series not in newest or is_newer(dated, newest[series])):
                newest[series] = dated
    return newest


def _has_ended(statement: Statement, seen_at: datetime, endings: _Endings) -> bool:
    """Whether another document ends it: by the dates that both say, or as they were seen."""
    for value in statement.values:
        key = (statement.subject, statement.attribute, value.casefold())
        if found := endings.get(key):
            ending, ending_seen_at = found
            if statement.valid_from is None:
                return seen_at <= ending_seen_at
            return statement.valid_from <= (ending.valid_from or ending_seen_at)
    return False


@dataclass(frozen=True)
class _Chunks:
    """The chunks of a document in the order of their beginnings."""

    ids: list[str]
    starts: list[int]
    ends: list[int]
    texts: list[str]

    def at(self, character: int, content: str) -> str | None:
        """The chunk in which the character stands, unless it is of another content."""
        place = bisect_right(self.starts, character) - 1
        if place < 0 or character >= self.ends[place]:
            return None
        now = content[self.starts[place] : self.ends[place]]
        return self.ids[place] if self.texts[place] == now else None


@dataclass(frozen=True)
class _Said:
    """What a source said of the latest time of which it said something."""

    series_id: int
    valid_from: datetime
    values: frozenset[str]


def _stated(read: _Read, chunks: _Chunks | None, endings: _Endings) -> Iterator[Observation]:
    document, verified_at = read.seen.document, read.seen.verified_at
    for statement in read.statements:
        if statement.values and not _has_ended(statement, read.seen.observed_at, endings):
            yield Observation(
                statement.subject,
                statement.attribute,
                document.document_id,
                statement.values,
                verified_at,
                valid_from=statement.valid_from,
                connector=CONNECTOR,
                chunk_id=(
                    chunks.at(statement.start_character, document.content) if chunks else None
                ),
                start_character=statement.start_character,
                end_character=statement.end_character,
            )


def _gone(key: _Key, observed_at: datetime) -> Observation:
    source, subject, attribute = key
    return Observation(subject, attribute, source, (), observed_at, connector=CONNECTOR)


def _replacing(
    connection: _Connection, new: Mapping[_Key, Observation], said: Mapping[_Key, _Said]
) -> list[Observation]:
    """The new observations once more, for each later time of which their source said otherwise."""
    outdated = {
        (before.series_id, key[0]): at
        for key, at in new.items()
        if (before := said.get(key)) and before.valid_from > (at.valid_from or at.observed_at)
    }
    rows = connection.execute(
        _LATER,
        {
            "series": [series_id for series_id, _ in outdated],
            "sources": [source for _, source in outdated],
            "since": [at.valid_from or at.observed_at for at in outdated.values()],
        },
    ).fetchall()
    return [
        replace(outdated[series_id, source], valid_from=valid_from)
        for series_id, source, valid_from, stated in rows
        if set(stated) != set(outdated[series_id, source].values)
    ]


_DOCUMENTS = f"""
SELECT {", ".join(column.name for column in fields(Document))}, observed_at, verified_at
FROM knowledge.documents
ORDER BY document_id
"""
_CHUNKS = """
SELECT
    document_id, array_agg(chunk_id ORDER BY ordinal),
    array_agg(start_character ORDER BY ordinal), array_agg(end_character ORDER BY ordinal),
    array_agg(text ORDER BY ordinal)
FROM knowledge.chunks
WHERE %(ids)s::text[] IS NULL OR document_id = ANY(%(ids)s)
GROUP BY document_id
"""
# A source is a document if it ever said something in the characters of a text. Of several
# observations of one time the last one holds, as in knowledge.folded.
_SAID = """
SELECT DISTINCT ON (o.series_id, o.source)
    o.source, s.subject, s.attribute, o.series_id, o.valid_from, o.stated
FROM knowledge.observations AS o JOIN knowledge.fact_series AS s USING (series_id)
WHERE (o.series_id, o.source) IN (
    SELECT series_id, source FROM knowledge.observations
    WHERE start_character IS NOT NULL AND (%(ids)s::text[] IS NULL OR source = ANY(%(ids)s))
)
ORDER BY o.series_id, o.source, o.valid_from DESC, o.observed_at DESC, o.stated DESC
"""
_LATER = """
SELECT DISTINCT ON (o.series_id, o.source, o.valid_from)
    o.series_id, o.source, o.valid_from, o.stated
FROM unnest(%(series)s::bigint[], %(sources)s::text[], %(since)s::timestamptz[])
    AS new (series_id, source, since)
JOIN knowledge.observations AS o USING (series_id, source)
WHERE o.valid_from > new.since
ORDER BY o.series_id, o.source, o.valid_from, o.observed_at DESC, o.stated DESC
"""


def _now(connection: _Connection) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101
    now: datetime = row[0]
    return now


def _documents(connection: _Connection) -> list[_Seen]:
    rows = connection.execute(_DOCUMENTS).fetchall()
    return [
        _Seen(Document(*columns), observed_at, verified_at)
        for *columns, observed_at, verified_at in rows
    ]


def _chunks(connection: _Connection, ids: _Ids) -> dict[str, _Chunks]:
    rows = connection.execute(_CHUNKS, {"ids": ids}).fetchall()
    return {document_id: _Chunks(*columns) for document_id, *columns in rows}


def _said(connection: _Connection, ids: _Ids) -> dict[_Key, _Said]:
    rows = connection.execute(_SAID, {"ids": ids}).fetchall()
    return {
        (source, subject, attribute): _Said(series_id, valid_from, frozenset(stated))
        for source, subject, attribute, series_id, valid_from, stated in rows
    }
