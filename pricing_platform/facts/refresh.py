"""Asking again for facts that are due, by any number of refreshers at once.

A refresher claims a batch of series in a short transaction, asks their connectors outside of any,
and records what they answered in another short one, only where the claim is still its own. A claim
ends by itself, so that what a killed refresher held is taken by the next; nothing is half-written.
A check that fails is told and tried again later, and retires nothing.

Here belong the claiming, the recording and the time of the next check. How a source is asked
belongs to :mod:`pricing_platform.facts.connectors`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Literal, Protocol

import polars as pl
import psycopg

from pricing_platform.errors import PlatformError
from pricing_platform.facts.kinds import FactRules, normalise_attribute
from pricing_platform.facts.observations import Observation, record_in
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.documents import normalise_subject
from pricing_platform.stores.postgres import Postgres

Outcome = Literal["changed", "confirmed", "absent", "failed", "waiting"]
"""What came of a check; absent: the source has nothing of it any more; waiting: the source tells of
itself when it has something newer, so that this was no check and is not kept as one."""

CHECKS_KEPT = timedelta(days=30)
"""For how long ``knowledge.checks`` tells of a check."""

_BATCH = 200
_LEASE = timedelta(minutes=10)
_ANSWERING_SHARE = 0.8  # of the lease; the rest is for recording
_PORTION = 50  # answers recorded together
_PORTION_SECONDS = 1.0
_FIRST_DELAY = timedelta(minutes=1)  # after one failure; doubled by each more
_LONGEST_DELAY = timedelta(hours=6)
_LONGEST_RETRY_AFTER = timedelta(days=1)
_REASON_LIMIT = 500  # characters
_ABSENCES = timedelta(hours=24)  # over which a connector's absences are counted together
_FEW_ABSENCES = 5  # that no connector is suspected for
_ANSWER_LIMIT = 2_000  # characters that the values of an answer may have together
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validators:
    """What a server gave to be asked with for what is newer; ``request`` says what it was asked."""

    request: str
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True)
class DueSeries:
    """A series to ask for; ``sources`` are those that stated it last, or ever if none does now."""

    series_id: int
    subject: str
    attribute: str
    kind: str
    connector: str
    sources: tuple[str, ...]
    validators: Validators | None = None


@dataclass(frozen=True)
class Answer:
    """What a connector found of one series; ``seconds`` is how long that took.

    No values: the source has nothing any more. Neither values nor a failure: what it said last
    still holds. ``recorded`` is given by a connector that has recorded the observation itself, and
    says what came of it. ``validators`` are kept together with the observation, or until the next.
    A failure holds no secret; ``retry_after`` is how long the source wants to be left alone.
    """

    series_id: int
    source: str
    values: tuple[str, ...] | None
    observed_at: datetime
    valid_from: datetime | None = None
    failure: str | None = None
    seconds: float = 0.0
    recorded: Outcome | None = None
    validators: Validators | None = None
    retry_after: timedelta | None = None


class Connector(Protocol):
    """Something that can be asked for series."""

    @property
    def name(self) -> str:
        """What ``fact_series.connector`` holds for the series that it answers."""
        ...

    def ask(self, due: Sequence[DueSeries]) -> Iterable[Answer]:
        """One answer a series, in any order, as they come; closed early when nobody waits.

        What goes wrong with one series is a failure in its answer. An error that is raised counts
        as the failure of all that were not answered.
        """
        ...


@dataclass(frozen=True)
class RefreshSummary:
    """What a refresh did, in series; ``by_connector`` has the outcomes of each connector."""

    checked: int
    changed: int
    confirmed: int
    absent: int
    failed: int
    by_connector: Mapping[str, Mapping[Outcome, int]]
    seconds: float


@dataclass(frozen=True)
class _Claimed:
    due: DueSeries
    cardinality: str
    stated: Mapping[str, tuple[tuple[str, ...], datetime]]
    """By source: what it said last, and since when that holds."""


@dataclass(frozen=True)
class _Claim:
    until: datetime
    series: Mapping[int, _Claimed]
    answered_by: float


@dataclass(frozen=True)
class _Wanted:
    """Which series a round is for, fixed at its start, so that each is taken once."""

    began: datetime
    kinds: tuple[str, ...]
    subjects: tuple[str, ...]
    named: bool

    def condition(self) -> tuple[str, dict[str, Any]]:
        if not self.named:
            return "s.next_check_at <= %(began)s", {"began": self.began}
        return (
            "(s.checked_at IS NULL OR s.checked_at < %(began)s)"
            " AND (cardinality(%(kinds)s::text[]) = 0 OR s.kind = ANY(%(kinds)s))"
            " AND (cardinality(%(subjects)s::text[]) = 0 OR s.subject = ANY(%(subjects)s))"
            " AND (s.connector IS NOT NULL OR s.next_check_at IS NOT NULL)",
            {"began": self.began, "kinds": list(self.kinds), "subjects": list(self.subjects)},
        )


def refresh(
    postgres: Postgres,
    connectors: Mapping[str, Connector],
    rules: FactRules,
    *,
    kinds: Collection[str] = (),
    subjects: Collection[str] = (),
    everything: bool = False,
    deletion_share_limit: float = 0.2,
    batch: int = _BATCH,
    progress: Progress = silent,
) -> RefreshSummary:
    """Checks the series that were due when it began, each once, and records what was answered.

    With ``kinds`` and ``subjects`` (those of both, where both are given), or ``everything``, series
    are checked that are not due, too. No larger share of a connector's series than the limit, and
    not more than five where that is more, lose their value to absent answers within a day: those
    beyond it are failures. What other refreshers have claimed is left to them. Whatever
    ends this early, Ctrl-C too, gives back what it has claimed and not recorded.

    Raises:
        PlatformError: when there is no such kind.
    """
    started = time.perf_counter()
    for kind in kinds:
        rules.time_to_live_of(kind)
    with postgres.connection() as connection:
        wanted = _Wanted(
            began=_scalar(connection, "SELECT clock_timestamp()"),
            kinds=tuple(kinds),
            subjects=tuple(map(normalise_subject, subjects)),
            named=bool(everything or kinds or subjects),
        )
        total = _count(connection, wanted)
    outcomes: Counter[tuple[str, Outcome]] = Counter()
    while claim := _claim(postgres, wanted, batch):
        recorder = _Recorder(postgres, rules, claim, deletion_share_limit)
        try:
            for answers in _portions(connectors, claim):
                outcomes.update(recorder.record(answers))
                done = outcomes.total()
                progress("Asking again", done, max(done, total))
        finally:
            _release(postgres, claim)
    with postgres.connection() as connection:
        _forget(connection)
    return _summary(outcomes, time.perf_counter() - started)


def failed_checks(postgres: Postgres, since: datetime) -> pl.DataFrame:
    """What failed since then: a row a connector and source, the newest failure first.

    Columns: connector, source, failed (checks), series, last_failed_at, last_reason, still_failing
    (series whose last check failed).
    """
    return postgres.frame(
        "SELECT c.connector, c.source, count(*) AS failed,"
        " count(DISTINCT c.series_id) AS series, max(c.checked_at) AS last_failed_at,"
        " (array_agg(c.detail ORDER BY c.checked_at DESC))[1] AS last_reason,"
        " count(DISTINCT c.series_id) FILTER (WHERE s.failures > 0) AS still_failing"
        " FROM knowledge.checks AS c JOIN knowledge.fact_series AS s USING (series_id)"
        " WHERE c.outcome = 'failed' AND c.checked_at >= %s"
        " GROUP BY c.connector, c.source ORDER BY last_failed_at DESC, c.connector, c.source",
        [since],
    )


def declare_series(
    postgres: Postgres,
    connector: str,
    pairs: Iterable[tuple[str, str]],
    rules: FactRules,
    *,
    kind: str | None = None,
) -> int:
    """Has series of these subjects and attributes, for a connector that can be asked for them.

    Those that are new, or were another connector's, are due now; returns how many. Those that are
    there get the kind and the time to live that are declared now, and a new time of the next check
    with them.

    Raises:
        PlatformError: when there is no such kind.
    """
    rows = []
    for subject, attribute in pairs:
        name = normalise_attribute(attribute)
        of_kind = kind or rules.kind_of(name)
        ttl = rules.time_to_live_of(of_kind)
        rows.append((normalise_subject(subject), name, of_kind, rules.cardinality_of(name), ttl))
    if not rows:
        return 0
    declared = {
        **dict(
            zip(
                ("subjects", "attributes", "kinds", "cardinalities", "ttls"),
                map(list, zip(*rows, strict=True)),
                strict=True,
            )
        ),
        "connector": connector,
    }
    with postgres.connection() as connection:
        # As every writer: adds in the order of the names, locks in that of the numbers.
        added = connection.execute(_DECLARED + _ADD, declared).rowcount
        others = connection.execute(_DECLARED + _LOCK_OTHERS, declared).fetchall()
        connection.execute(
            _DECLARED + _REDECLARE, {**declared, "series": [row[0] for row in others]}
        )
        otherwise = [row[0] for row in others if row[2]]
        if otherwise:
            connection.execute("SELECT knowledge.fold(%s::bigint[])", [otherwise])
        return added + sum(bool(row[1]) for row in others)


_DECLARED = """
WITH declared AS (
    SELECT DISTINCT ON (subject, attribute) * FROM unnest(
        %(subjects)s::text[], %(attributes)s::text[], %(kinds)s::text[],
        %(cardinalities)s::text[], %(ttls)s::interval[]
    ) AS d (subject, attribute, kind, cardinality, ttl)
    ORDER BY subject, attribute
)
"""
_ADD = """
INSERT INTO knowledge.fact_series AS s
    (subject, attribute, kind, cardinality, ttl, connector, next_check_at)
SELECT d.*, %(connector)s, now() FROM declared AS d
WHERE NOT EXISTS (
    SELECT FROM knowledge.fact_series AS o
    WHERE (o.subject, o.attribute) = (d.subject, d.attribute)
)
ORDER BY d.subject, d.attribute
ON CONFLICT (subject, attribute) DO NOTHING
"""
_LOCK_OTHERS = """
SELECT
    s.series_id, s.connector IS DISTINCT FROM %(connector)s AS taken,
    s.cardinality <> d.cardinality AS otherwise
FROM knowledge.fact_series AS s JOIN declared AS d USING (subject, attribute)
WHERE (s.kind, s.cardinality, s.ttl, s.connector)
    IS DISTINCT FROM (d.kind, d.cardinality, d.ttl, %(connector)s)
ORDER BY s.series_id
FOR UPDATE OF s
"""
# What was never asked for stays due; a failed check is repeated when that was going to be.
_REDECLARE = """
UPDATE knowledge.fact_series AS s SET
    kind = d.kind, cardinality = d.cardinality, ttl = d.ttl, connector = %(connector)s,
    next_check_at = CASE
        WHEN s.connector IS DISTINCT FROM %(connector)s THEN now()
        WHEN s.ttl IS NOT DISTINCT FROM d.ttl OR s.failures > 0 OR s.checked_at IS NULL
            THEN s.next_check_at
        ELSE s.checked_at + d.ttl * (0.8 + random() / 5)
    END
FROM declared AS d
WHERE s.series_id = ANY(%(series)s) AND (s.subject, s.attribute) = (d.subject, d.attribute)
"""


def disown_series(postgres: Postgres, kept: Mapping[str, Collection[tuple[str, str]]]) -> int:
    """Asks HTTP connectors for no more series than these pairs of subject and attribute.

    What is known of the others stays, as old as it is; returns how many they are. ``kept`` has the
    pairs, normalised, by the name of the connector.
    """
    rows = [(name, *pair) for name, pairs in kept.items() for pair in pairs]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    with postgres.connection() as connection:
        found = connection.execute(
            "SELECT series_id FROM knowledge.fact_series AS s"
            " WHERE starts_with(s.connector, 'http:') AND NOT EXISTS ("
            " SELECT FROM unnest(%s::text[], %s::text[], %s::text[])"
            " AS k (connector, subject, attribute) WHERE (k.connector, k.subject, k.attribute)"
            " = (s.connector, s.subject, s.attribute))"
            " ORDER BY series_id FOR UPDATE",
            columns,
        ).fetchall()
        connection.execute(
            "UPDATE knowledge.fact_series SET connector = NULL, next_check_at = NULL,"
            " claimed_until = NULL, failures = 0, last_failure = NULL"
            " WHERE series_id = ANY(%s)",
            [[row[0] for row in found]],
        )
        return len(found)


def last_statements(
    connection: psycopg.Connection[Any], series: Sequence[int]
) -> dict[tuple[int, str], tuple[tuple[str, ...], datetime]]:
    """By series and source: what the source said last, and since when that holds."""
    rows = connection.execute(
        "SELECT DISTINCT ON (series_id, source) series_id, source, stated, valid_from"
        " FROM knowledge.observations WHERE series_id = ANY(%s)"
        " ORDER BY series_id, source, observed_at DESC, valid_from DESC, stated DESC",
        [list(series)],
    ).fetchall()
    return {(row[0], row[1]): (tuple(row[2]), row[3]) for row in rows}


def _claim(postgres: Postgres, wanted: _Wanted, batch: int) -> _Claim | None:
    """Takes a batch of series that nobody else has; None where none is left."""
    condition, parameters = wanted.condition()
    answered_by = time.monotonic() + _ANSWERING_SHARE * _LEASE.total_seconds()
    with postgres.connection() as connection:
        rows = connection.execute(
            "WITH due AS ("
            " SELECT s.series_id FROM knowledge.fact_series AS s"
            f" WHERE {condition} AND (s.claimed_until IS NULL OR s.claimed_until <= now())"
            " ORDER BY s.next_check_at, s.series_id LIMIT %(batch)s FOR UPDATE SKIP LOCKED)"
            " UPDATE knowledge.fact_series AS s SET claimed_until = now() + %(lease)s"
            " FROM due WHERE s.series_id = due.series_id"
            " RETURNING s.claimed_until, s.series_id, s.subject, s.attribute, s.kind,"
            " s.cardinality, coalesce(s.connector, '')",
            {**parameters, "batch": batch, "lease": _LEASE},
        ).fetchall()
        if not rows:
            return None
        series = [row[1] for row in rows]
        stated: dict[int, dict[str, tuple[tuple[str, ...], datetime]]] = {n: {} for n in series}
        for (number, source), said in last_statements(connection, series).items():
            stated[number][source] = said
        validators = _validators(connection, series)
    claimed = {
        number: _Claimed(
            DueSeries(
                number,
                subject,
                attribute,
                kind,
                connector,
                _sources(stated[number]),
                validators.get(number),
            ),
            cardinality,
            stated[number],
        )
        for _, number, subject, attribute, kind, cardinality, connector in rows
    }
    return _Claim(rows[0][0], claimed, answered_by)


def _sources(stated: Mapping[str, tuple[tuple[str, ...], datetime]]) -> tuple[str, ...]:
    speaking = sorted(source for source, (values, _) in stated.items() if values)
    return tuple(speaking or sorted(stated))


def _validators(
    connection: psycopg.Connection[Any], series: Sequence[int]
) -> dict[int, Validators]:
    rows = connection.execute(
        "SELECT series_id, request, etag, last_modified FROM knowledge.http_validators"
        " WHERE series_id = ANY(%s)",
        [list(series)],
    ).fetchall()
    return {row[0]: Validators(*row[1:]) for row in rows}


def _portions(connectors: Mapping[str, Connector], claim: _Claim) -> Iterator[list[Answer]]:
    """The answers of all connectors, in portions that are worth a transaction."""
    due = sorted((c.due for c in claim.series.values()), key=lambda d: (d.connector, d.series_id))
    for name, of_connector in groupby(due, key=lambda d: d.connector):
        portion: list[Answer] = []
        last = time.monotonic()
        with closing(_answers(connectors, name, list(of_connector))) as answers:
            for answer in answers:
                portion.append(answer)
                if len(portion) >= _PORTION or time.monotonic() - last > _PORTION_SECONDS:
                    yield portion
                    portion, last = [], time.monotonic()
                    if last > claim.answered_by:  # the rest is claimed again
                        return
        if portion:
            yield portion


def _answers(
    connectors: Mapping[str, Connector], name: str, due: list[DueSeries]
) -> Generator[Answer, None, None]:
    """One answer a series that the connector was asked for; its errors are failures."""
    waiting = {series.series_id: series for series in due}
    failure = "The connector gave no answer."
    started = time.monotonic()
    if name not in connectors:
        failure = f"No connector {name!r} is configured." if name else "It has no connector."
    else:
        asked = iter(connectors[name].ask(due))
        try:
            for answer in asked:
                if waiting.pop(answer.series_id, None):
                    yield answer
        except PlatformError as error:
            failure = str(error)
        except Exception as error:  # one broken connector is no reason to leave out the others
            _log.exception("The connector %s broke down.", name)
            failure = f"The connector broke down: {type(error).__name__}."
        finally:
            if isinstance(asked, Generator):
                asked.close()
    seconds = (time.monotonic() - started) / len(due)
    for series in waiting.values():
        source = series.sources[0] if series.sources else name
        now = datetime.now(UTC)
        yield Answer(series.series_id, source, None, now, failure=failure, seconds=seconds)


@dataclass(frozen=True)
class _Recorder:
    """Records the answers of one claim."""

    postgres: Postgres
    rules: FactRules
    claim: _Claim
    deletion_share_limit: float

    def record(self, answers: Sequence[Answer]) -> list[tuple[str, Outcome]]:
        """Records what is valid of the answers whose series are still ours; the connector and
        outcome of each of them.
        """
        try:
            with self.postgres.connection() as connection:
                return self._record_in(connection, answers)
        except (PlatformError, psycopg.DataError, psycopg.errors.ProgramLimitExceeded) as error:
            if len(answers) > 1:
                return [outcome for answer in answers for outcome in self.record([answer])]
            if answers[0].failure is not None:
                raise
            return self.record([replace(answers[0], failure=_refusal(error))])

    def _record_in(
        self, connection: psycopg.Connection[Any], answers: Sequence[Answer]
    ) -> list[tuple[str, Outcome]]:
        held = _lock(connection, self.claim, [answer.series_id for answer in answers])
        ours = _in_order(connection, [a for a in answers if a.series_id in held])
        checks = [_checked(self.claim.series[answer.series_id], answer) for answer in ours]
        checks = _within_limit(connection, checks, self.deletion_share_limit)
        observations = [c.observation for c in checks if c.observation is not None]
        kept = [c for c in checks if c.outcome != "waiting"]
        record_in(connection, observations, self.rules)
        _reschedule(connection, checks)
        _keep_validators(connection, checks)
        connection.cursor().executemany(
            "INSERT INTO knowledge.checks (series_id, connector, source, outcome, detail, seconds)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (
                    c.answer.series_id,
                    c.connector,
                    c.answer.source,
                    c.outcome,
                    c.reason,
                    c.answer.seconds,
                )
                for c in kept
            ],
        )
        return [(c.connector, c.outcome) for c in checks]


def _refusal(error: PlatformError | psycopg.Error) -> str:
    if isinstance(error, PlatformError):
        return str(error)
    return f"The store can't keep what it states: {error.diag.message_primary}."


def _lock(
    connection: psycopg.Connection[Any], claim: _Claim, series: Sequence[int]
) -> frozenset[int]:
    """Those of the series that are still claimed by us, locked in the order of their numbers."""
    rows = connection.execute(
        "SELECT series_id FROM knowledge.fact_series"
        " WHERE series_id = ANY(%s) AND claimed_until = %s ORDER BY series_id FOR UPDATE",
        [list(series), claim.until],
    ).fetchall()
    return frozenset(row[0] for row in rows)


def _in_order(connection: psycopg.Connection[Any], answers: Sequence[Answer]) -> list[Answer]:
    """The answers, each observed after what its source said before: clocks may go backwards."""
    rows = connection.execute(
        "SELECT series_id, source, max(observed_at) + interval '1 microsecond'"
        " FROM knowledge.observations WHERE series_id = ANY(%s) GROUP BY series_id, source",
        [[answer.series_id for answer in answers]],
    ).fetchall()
    earliest: dict[tuple[int, str], datetime] = {
        (series_id, source): time for series_id, source, time in rows
    }

    def later(answer: Answer) -> datetime:
        if answer.observed_at.tzinfo is None:  # refused when it is recorded
            return answer.observed_at
        first = earliest.get((answer.series_id, answer.source), answer.observed_at)
        return max(answer.observed_at, first)

    return [replace(answer, observed_at=later(answer)) for answer in answers]


@dataclass(frozen=True)
class _Check:
    connector: str
    answer: Answer
    outcome: Outcome
    reason: str | None = None
    observation: Observation | None = None
    retires: bool = False
    """Whether the source says no longer what it said last."""


def _checked(claimed: _Claimed, answer: Answer) -> _Check:
    """What came of an answer, and the observation that it makes."""
    due = claimed.due
    values = None if answer.values is None else tuple(sorted(set(answer.values)))
    said = claimed.stated.get(answer.source)
    failure = answer.failure
    if answer.failure is None and answer.recorded is not None:
        return _Check(due.connector, answer, answer.recorded)
    if failure is None and values is None and said is None:
        failure = f"{answer.source} says that nothing has changed, and never said anything."
    if failure is None and values and len(values) > 1 and claimed.cardinality == "single":
        failure = f"{answer.source} states {len(values):,} values of what has one at a time."
    if failure is None and (length := sum(map(len, values or ()))) > _ANSWER_LIMIT:
        failure = (
            f"The {len(values or ()):,} values that {answer.source} states have {length:,}"
            f" characters together, and {_ANSWER_LIMIT:,} are allowed."
        )
    if failure is not None:
        return _Check(due.connector, answer, "failed", _one_line(failure))
    valid_from = answer.valid_from
    if values is None and said is not None:
        values, valid_from = said
    assert values is not None  # noqa: S101
    observation = Observation(
        subject=due.subject,
        attribute=due.attribute,
        source=answer.source,
        values=values,
        observed_at=answer.observed_at,
        valid_from=valid_from,
        kind=due.kind,
        connector=due.connector,
    )
    outcome: Outcome = "changed"
    if not values:
        outcome = "absent"
    elif said is not None and values == said[0]:
        outcome = "confirmed"
    retires = not values and said is not None and bool(said[0])
    return _Check(due.connector, answer, outcome, observation=observation, retires=retires)


def _within_limit(
    connection: psycopg.Connection[Any], checks: Sequence[_Check], limit: float
) -> list[_Check]:
    """The checks; those by which too much of a connector would be absent at once are failures."""
    counted: dict[str, tuple[int, int]] = {}
    within = []
    for check in checks:
        if check.observation is None or not check.retires:
            within.append(check)
            continue
        name = check.connector
        if name not in counted:
            counted[name] = _absences(connection, name)
        absent, total = counted[name][0] + 1, max(counted[name][1], 1)
        if absent > _FEW_ABSENCES and absent > limit * total:
            reason = (
                f"{name} says that {absent:,} of its {total:,} series ({absent / total:.0%}) are"
                f" gone within a day, and at most {limit:.0%} may be lost at once; it stays as it"
                " was. If they are to go, run once with a higher PRICING_DELETION_SHARE_LIMIT."
            )
            within.append(_Check(name, check.answer, "failed", reason))
        else:
            counted[name] = absent, total
            within.append(check)
    return within


def _absences(connection: psycopg.Connection[Any], connector: str) -> tuple[int, int]:
    """How many series of the connector lost their value lately, and how many ever had one.

    What was absent before and is so still lost nothing. Others that count wait until we are done.
    """
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('knowledge.checks ' || %s, 0))", [connector]
    )
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE EXISTS ("
        " SELECT FROM knowledge.checks AS c"
        " WHERE c.series_id = s.series_id AND c.connector = s.connector AND c.outcome = 'absent'"
        " AND c.checked_at > now() - %(lately)s::interval)"
        " AND EXISTS (SELECT FROM knowledge.fact_versions AS v"
        " WHERE v.series_id = s.series_id AND upper(v.recorded) > now() - %(lately)s::interval)"
        " AND NOT EXISTS (SELECT FROM knowledge.current_facts AS f"
        " WHERE f.series_id = s.series_id)), count(*)"
        " FROM knowledge.fact_series AS s WHERE s.connector = %(connector)s"
        " AND EXISTS (SELECT FROM knowledge.fact_versions AS v WHERE v.series_id = s.series_id)",
        {"connector": connector, "lately": _ABSENCES},
    ).fetchone()
    assert row is not None  # noqa: S101
    return row[0], row[1]


def _one_line(text: str) -> str:
    """A reason as it is shown and kept; what servers say may hold anything."""
    plain = " ".join(text.replace("\0", " ").encode(errors="replace").decode().split())
    return plain if len(plain) <= _REASON_LIMIT else f"{plain[: _REASON_LIMIT - 1]}…"


def _reschedule(connection: psycopg.Connection[Any], checks: Sequence[_Check]) -> None:
    """Ends the claims and sets the times of the next checks, each a little apart from the others.

    A fact that was confirmed is asked for shortly before its time to live ends, one that waits for
    its source when that has told something. After a failure the
    delay doubles with each, and is never shorter than the source asked for.
    """
    longest = _LONGEST_RETRY_AFTER
    connection.execute(
        "UPDATE knowledge.fact_series AS s SET claimed_until = NULL, checked_at = now(),"
        " failures = CASE WHEN c.failed THEN s.failures + 1 ELSE 0 END,"
        " last_failure = c.reason,"
        " next_check_at = now() + CASE WHEN c.failed"
        " THEN greatest(least(%(first)s * 2.0 ^ least(s.failures, 30), %(cap)s)"
        " * (0.5 + random() / 2), c.retry_after)"
        " WHEN c.waiting THEN NULL ELSE s.ttl * (0.8 + random() / 5) END"
        " FROM unnest(%(series)s::bigint[], %(failed)s::bool[], %(waiting)s::bool[],"
        " %(reasons)s::text[], %(retry)s::interval[])"
        " AS c (series_id, failed, waiting, reason, retry_after)"
        " WHERE s.series_id = c.series_id",
        {
            "first": _FIRST_DELAY,
            "cap": _LONGEST_DELAY,
            "series": [c.answer.series_id for c in checks],
            "failed": [c.outcome == "failed" for c in checks],
            "waiting": [c.outcome == "waiting" for c in checks],
            "reasons": [c.reason for c in checks],
            "retry": [c.answer.retry_after and min(c.answer.retry_after, longest) for c in checks],
        },
    )


def _keep_validators(connection: psycopg.Connection[Any], checks: Sequence[_Check]) -> None:
    """Those of what was just recorded; a failure leaves them as they are."""
    told = [c.answer for c in checks if c.outcome != "failed" and c.answer.values is not None]
    gone = [answer.series_id for answer in told if answer.validators is None]
    connection.execute("DELETE FROM knowledge.http_validators WHERE series_id = ANY(%s)", [gone])
    connection.cursor().executemany(
        "INSERT INTO knowledge.http_validators AS v VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (series_id) DO UPDATE SET request = excluded.request,"
        " etag = excluded.etag, last_modified = excluded.last_modified"
        " WHERE (v.*) IS DISTINCT FROM (excluded.*)",
        [
            (a.series_id, a.validators.request, a.validators.etag, a.validators.last_modified)
            for a in told
            if a.validators is not None
        ],
    )


def _release(postgres: Postgres, claim: _Claim) -> None:
    """Gives back what is still claimed; where the store is gone, the claim ends by itself."""
    with suppress(PlatformError, psycopg.Error), postgres.connection() as connection:
        connection.execute(
            "UPDATE knowledge.fact_series SET claimed_until = NULL"
            " WHERE series_id = ANY(%s) AND claimed_until = %s",
            [list(claim.series), claim.until],
        )


def _forget(connection: psycopg.Connection[Any]) -> None:
    """Deletes old checks, unless another refresher is at it."""
    connection.execute(
        "DELETE FROM knowledge.checks WHERE checked_at < now() - %s::interval"
        " AND pg_try_advisory_xact_lock(hashtextextended('knowledge.checks', 0))",
        [CHECKS_KEPT],
    )


def _count(connection: psycopg.Connection[Any], wanted: _Wanted) -> int:
    condition, parameters = wanted.condition()
    return int(
        _scalar(
            connection,
            f"SELECT count(*) FROM knowledge.fact_series AS s WHERE {condition}",
            parameters,
        )
    )


def _scalar(
    connection: psycopg.Connection[Any], query: str, parameters: Mapping[str, Any] | None = None
) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None  # noqa: S101
    return row[0]


def _summary(outcomes: Counter[tuple[str, Outcome]], seconds: float) -> RefreshSummary:
    by_connector: dict[str, dict[Outcome, int]] = {}
    totals: Counter[Outcome] = Counter()
    for (connector, outcome), count in sorted(outcomes.items()):
        by_connector.setdefault(connector, {})[outcome] = count
        totals[outcome] += count
    return RefreshSummary(
        checked=outcomes.total() - totals["waiting"],
        changed=totals["changed"],
        confirmed=totals["confirmed"],
        absent=totals["absent"],
        failed=totals["failed"],
        by_connector=by_connector,
        seconds=seconds,
    )
