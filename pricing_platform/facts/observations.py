"""Recording what sources were seen to say, and folding it into versions.

Here belongs the one way by which observations come into ``knowledge.observations``. The fold itself
is SQL (``knowledge.folded`` in ``sql/migrations``), for a version is a function of the observations
alone: of any order, repetition and number of writers. Where observations come from belongs to
:mod:`pricing_platform.facts.document_statements`, :mod:`pricing_platform.facts.prices` and
:mod:`pricing_platform.facts.refresh`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import psycopg
from psycopg import sql

from pricing_platform.errors import PlatformError
from pricing_platform.facts.kinds import FactRules, normalise_attribute
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.documents import normalise_subject
from pricing_platform.retrieval.reconciliation import copy_rows
from pricing_platform.settings import sql_folder
from pricing_platform.stores.postgres import Postgres

OBSERVATIONS_VERSION = "1"
"""Raise it when the same observations would be recorded differently."""

VALUE_LIMIT = 500
"""Characters that a value may have."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far in the future an observation may lie: clocks differ."""

_BATCH = 10_000
_COLUMNS = {
    "subject": "text",
    "attribute": "text",
    "kind": "text",
    "cardinality": "text",
    "ttl": "interval",
    "connector": "text",
    "source": "text",
    "valid_from": "timestamptz",
    "observed_at": "timestamptz",
    "stated": "text[]",
    "chunk_id": "text",
    "start_character": "int4",
    "end_character": "int4",
}
_COPY = sql.SQL("COPY observed ({}) FROM STDIN (FORMAT BINARY)").format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
)


Row = tuple[Any, ...]
"""An observation as ``sql/facts/observed.sql`` has it: names and values normalised."""


@dataclass(frozen=True)
class Observation:
    """What one source was seen to say of an attribute of a subject.

    ``values`` are in any order; none means that the source no longer says anything of it.
    ``valid_from`` is since when it holds, as far as the source says; otherwise it is
    ``observed_at``, which is a time of our own clock. ``kind`` is otherwise that of the attribute
    by the rules. ``chunk_id`` and the characters say where it stands in a document's content.
    """

    subject: str
    attribute: str
    source: str
    values: tuple[str, ...]
    observed_at: datetime
    valid_from: datetime | None = None
    kind: str | None = None
    connector: str | None = None
    chunk_id: str | None = None
    start_character: int | None = None
    end_character: int | None = None


@dataclass(frozen=True)
class RecordSummary:
    """What recording did, in rows: new ones, and versions that were written or deleted."""

    observations: int = 0
    series: int = 0
    versions: int = 0

    def __add__(self, other: RecordSummary) -> RecordSummary:
        return RecordSummary(
            self.observations + other.observations,
            self.series + other.series,
            self.versions + other.versions,
        )


def record(
    postgres: Postgres,
    observations: Iterable[Observation],
    rules: FactRules,
    *,
    progress: Progress = silent,
) -> RecordSummary:
    """Adds observations, and folds the series in which they change something.

    What is there already changes nothing. Each batch is one transaction; any number of writers may
    be at work at once, and end in the same versions as one.

    Raises:
        PlatformError: when an observation is not valid; see :func:`record_in`.
    """
    rows = sorted(_rows(observations, rules), key=lambda row: row[:2])
    summary, done = RecordSummary(), 0
    for batch in _batches(rows):
        with postgres.connection() as connection:
            summary += record_rows(connection, batch)
        done += len(batch)
        progress("Recording observations", done, len(rows))
    return summary


def record_in(
    connection: psycopg.Connection[Any], observations: Iterable[Observation], rules: FactRules
) -> RecordSummary:
    """As :func:`record`, inside the caller's transaction.

    The series' rows stay locked until its end. They are locked in the order of their numbers, so a
    caller that calls this once in a transaction can't come into a deadlock with another.

    Where an attribute has one value at a time and a source states several, the first of them in
    the order of the alphabet holds. Two sources that state different values since the same time:
    see ``knowledge.folded``.

    Raises:
        PlatformError: naming the observation that has an empty name, a value that is too long or
            empty, a time without a zone, or that was observed in the future. Nothing is written.
    """
    rows = _rows(observations, rules)
    return record_rows(connection, rows) if rows else RecordSummary()


def record_rows(connection: psycopg.Connection[Any], rows: Sequence[Row]) -> RecordSummary:
    """As :func:`record_in`, of rows that are known to be valid and normalised."""
    connection.execute(_statements("observed"))
    copy_rows(connection, _COPY, list(_COLUMNS.values()), rows)
    cursor = connection.execute(_statements("record"))
    while cursor.nextset():
        pass
    counts = cursor.fetchone()
    assert counts is not None  # noqa: S101
    return RecordSummary(*map(int, counts))


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def _rows(observations: Iterable[Observation], rules: FactRules) -> list[Row]:
    latest = datetime.now(UTC) + CLOCK_TOLERANCE
    of_attribute = cache(lambda attribute: _of_attribute(attribute, rules))
    time_to_live = cache(rules.time_to_live_of)
    rows = []
    for observation in observations:
        _check(observation, latest)
        attribute, kind, cardinality = of_attribute(observation.attribute)
        kind = observation.kind or kind
        rows.append(
            (
                _name(observation, "subject", normalise_subject(observation.subject)),
                _name(observation, "attribute", attribute),
                kind,
                cardinality,
                time_to_live(kind),
                observation.connector,
                _name(observation, "source", observation.source),
                observation.valid_from or observation.observed_at,
                observation.observed_at,
                _values(observation),
                observation.chunk_id,
                observation.start_character,
                observation.end_character,
            )
        )
    return rows


def _of_attribute(attribute: str, rules: FactRules) -> tuple[str, str, str]:
    name = normalise_attribute(attribute)
    return name, rules.kind_of(name), rules.cardinality_of(name)


def _check(observation: Observation, latest: datetime) -> None:
    for name in ("observed_at", "valid_from"):
        time = getattr(observation, name)
        if time is not None and time.tzinfo is None:
            raise _refused(observation, f"its {name} {time} has no time zone", "Give it one.")
    if observation.observed_at > latest:
        raise _refused(
            observation,
            f"it was observed at {observation.observed_at.isoformat()}, which is in the future",
            "Set the clock of this machine, or of the file, right. What is to hold from a later"
            " time on has that as its valid_from.",
        )


def _name(observation: Observation, column: str, name: str) -> str:
    if not name or "\0" in name:
        raise _refused(observation, f"its {column} is empty", "Give it a name with a letter in it.")
    return name


def _values(observation: Observation) -> list[str]:
    values = {unicodedata.normalize("NFC", value).strip() for value in observation.values}
    for value in values:
        if not value or "\0" in value:
            raise _refused(observation, "a value is empty or not text", "Leave it out.")
        if len(value) > VALUE_LIMIT:
            raise _refused(
                observation,
                f"the value {value[:40]!r}… has {len(value):,} characters, and {VALUE_LIMIT} are"
                " allowed",
                "Longer texts are documents, not facts.",
            )
    return sorted(values)


def _refused(observation: Observation, problem: str, remedy: str) -> PlatformError:
    return PlatformError(
        f"The observation of {observation.attribute!r} of {observation.subject!r} by"
        f" {observation.source!r} can't be recorded: {problem}.",
        remedy,
    )


@cache
def _statements(name: str) -> bytes:
    return (sql_folder() / "facts" / f"{name}.sql").read_bytes()
