"""Any number of refreshers check each due series once, whatever fails, stops or comes between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.facts import refresh as module
from pricing_platform.facts.connectors.http import HttpConnector
from pricing_platform.facts.connectors.http_facts import HttpFacts, ensure_series
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import Observation, record
from pricing_platform.facts.refresh import (
    Answer,
    DueSeries,
    RefreshSummary,
    Validators,
    failed_checks,
    refresh,
)
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.facts.fact_server import FactServer, Reply, serve

ROOT = Path(__file__).parents[3]
RULES = FactRules()
SERIES = """
    SELECT subject, kind, connector, failures, last_failure, verified_at IS NOT NULL AS verified,
        claimed_until, checked_at IS NOT NULL AS checked, next_check_at > now() AS later
    FROM knowledge.fact_series ORDER BY subject, attribute
"""
STATED = """
    SELECT s.subject, o.source, o.stated::text, count(*) AS times
    FROM knowledge.observations AS o JOIN knowledge.fact_series AS s USING (series_id)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
VERSIONS = """
    SELECT s.subject, v.slot, v.value, v.source, upper_inf(v.valid) AS holds,
        upper_inf(v.recorded) AS believed
    FROM knowledge.fact_versions AS v JOIN knowledge.fact_series AS s USING (series_id)
    ORDER BY 1, 2, 3, 4, 5, 6
"""
ROWS = """
    SELECT series_id, slot, value, source, valid::text, recorded::text
    FROM knowledge.fact_versions ORDER BY 1, 2, 5, 6
"""
CHECKS = """
    SELECT s.subject, c.connector, c.source, c.outcome, c.detail
    FROM knowledge.checks AS c JOIN knowledge.fact_series AS s USING (series_id)
    ORDER BY 1, c.checked_at, 4
"""
VALIDATORS = """
    SELECT s.subject, v.request, v.etag, v.last_modified
    FROM knowledge.http_validators AS v JOIN knowledge.fact_series AS s USING (series_id)
    ORDER BY 1
"""


@pytest.fixture
def server() -> Iterator[FactServer]:
    with serve(FactServer()) as found:
        yield found


class Saying:
    """A connector that says what it is told to, and counts what it was asked."""

    name = "saying"

    def __init__(self, say: Callable[[DueSeries], Answer | None]) -> None:
        self.say = say
        self.asked: Counter[int] = Counter()

    def ask(self, due: Sequence[DueSeries]) -> Iterable[Answer]:
        for series in due:
            self.asked[series.series_id] += 1
            if (answer := self.say(series)) is not None:
                yield answer


def saying(*values: str, **options: Any) -> Callable[[DueSeries], Answer]:
    return lambda series: replace(
        Answer(series.series_id, "they", values, datetime.now(UTC)), **options
    )


def declare(postgres: Postgres, subjects: Iterable[str], attribute: str = "ceo") -> None:
    pairs = [(subject, attribute) for subject in subjects]
    module.declare_series(postgres, "saying", pairs, RULES)


def make_due(postgres: Postgres) -> None:
    execute(postgres, "UPDATE knowledge.fact_series SET next_check_at = now() - interval '1 s'")


def execute(postgres: Postgres, statement: str) -> None:
    with postgres.connection() as connection:
        connection.execute(statement.encode())


def run(postgres: Postgres, connector: Saying | HttpConnector, **options: Any) -> RefreshSummary:
    return refresh(postgres, {connector.name: connector}, RULES, **options)


def counts(summary: RefreshSummary) -> dict[str, int]:
    """What is not nothing."""
    found = {k: v for k, v in vars(summary).items() if k not in ("seconds", "by_connector")}
    return {name: count for name, count in found.items() if count}


def one(postgres: Postgres, query: str) -> Any:
    return postgres.frame(query).item()


def facts(server: FactServer, subjects: Sequence[str], **options: Any) -> HttpFacts:
    given = {
        "name": "shop",
        "subjects": tuple(subjects),
        "attribute": "ceo",
        "url": f"{server.url}/facts/{{subject}}",
        "json_path": "$.value",
        "allowed_private_hosts": frozenset({"127.0.0.1"}),
    }
    return HttpFacts(**{**given, **options})


def test_a_declared_series_is_checked_then_confirmed_changed_and_absent(
    postgres: Postgres, server: FactServer
) -> None:
    server.facts["Acme"] = "Ann"
    declared = facts(server, ["Acme"])
    connector = HttpConnector(declared)
    assert ensure_series(postgres, [declared], RULES) == 1
    assert ensure_series(postgres, [declared], RULES) == 0
    assert counts(run(postgres, connector)) == {"checked": 1, "changed": 1}
    assert counts(run(postgres, connector)) == {}
    first = one(postgres, "SELECT verified_at FROM knowledge.fact_series")
    versions = postgres.frame(VERSIONS)
    assert versions["value"].to_list() == ["Ann"]

    make_due(postgres)
    assert counts(run(postgres, connector)) == {"checked": 1, "confirmed": 1}
    assert server.requests[-1][1]["if-none-match"]
    assert one(postgres, "SELECT verified_at FROM knowledge.fact_series") > first
    assert postgres.frame(VERSIONS).equals(versions)

    server.facts["Acme"] = "Bob"
    make_due(postgres)
    assert counts(run(postgres, connector)) == {"checked": 1, "changed": 1}
    assert one(postgres, "SELECT value FROM knowledge.current_facts") == "Bob"

    del server.facts["Acme"]
    make_due(postgres)
    assert counts(run(postgres, connector)) == {"checked": 1, "absent": 1}
    assert postgres.frame("SELECT * FROM knowledge.current_facts").is_empty()
    assert one(postgres, "SELECT count(*) FROM knowledge.http_validators") == 0


def test_what_is_said_in_a_200_as_before_confirms_too(
    postgres: Postgres, server: FactServer
) -> None:
    server.facts["acme"], server.conditional = "Ann", False
    declared = facts(server, ["acme"])
    ensure_series(postgres, [declared], RULES)
    run(postgres, HttpConnector(declared))
    versions = postgres.frame(ROWS)
    make_due(postgres)
    assert counts(run(postgres, HttpConnector(declared))) == {"checked": 1, "confirmed": 1}
    assert postgres.frame(ROWS).equals(versions)


def test_a_failed_check_is_told_backs_off_and_retires_nothing(
    postgres: Postgres, server: FactServer
) -> None:
    server.facts["acme"] = "Ann"
    declared = facts(server, ["acme"])
    connector = HttpConnector(declared)
    ensure_series(postgres, [declared], RULES)
    run(postgres, connector)
    before = postgres.frame(ROWS)
    validators = postgres.frame(VALIDATORS)
    server.behaviour = lambda _subject, _time: Reply(500)
    delays = []
    for failures in range(1, 14):
        make_due(postgres)
        assert counts(run(postgres, connector)) == {"checked": 1, "failed": 1}
        row = postgres.frame(
            "SELECT failures, last_failure,"
            " extract(epoch FROM next_check_at - checked_at)::float8 AS delay"
            " FROM knowledge.fact_series"
        ).row(0, named=True)
        assert (row["failures"], row["last_failure"]) == (failures, "It answered with status 500.")
        delays.append(row["delay"])
    for failures, delay in enumerate(delays):
        longest = min(60 * 2**failures, 6 * 3600)
        assert longest / 2 <= delay <= longest
    assert postgres.frame(ROWS).equals(before)
    assert postgres.frame(VALIDATORS).equals(validators)

    failed = failed_checks(postgres, datetime.now(UTC) - timedelta(hours=1)).drop("last_failed_at")
    assert failed.rows() == [("http:shop", "http:shop", 13, 1, "It answered with status 500.", 1)]
    server.behaviour = lambda _subject, _time: None
    make_due(postgres)
    assert counts(run(postgres, connector)) == {"checked": 1, "confirmed": 1}
    assert postgres.frame("SELECT failures, last_failure FROM knowledge.fact_series").rows() == [
        (0, None)
    ]
    assert failed_checks(postgres, datetime.now(UTC)).is_empty()


def test_retry_after_is_waited_for_within_a_day(postgres: Postgres, server: FactServer) -> None:
    declared = facts(server, ["acme"])
    ensure_series(postgres, [declared], RULES)
    for header, hours in (("36000", 10), ("9999999", 24)):
        server.behaviour = lambda *_, header=header: Reply(429, headers={"Retry-After": header})
        make_due(postgres)
        run(postgres, HttpConnector(declared))
        assert one(
            postgres,
            "SELECT next_check_at - checked_at = %s * interval '1 hour' AS kept"
            " FROM knowledge.fact_series".replace("%s", str(hours)),
        )


def test_the_next_check_comes_before_the_time_to_live_ends_and_not_for_all_at_once(
    postgres: Postgres,
) -> None:
    declare(postgres, [f"s{n}" for n in range(50)])
    run(postgres, Saying(saying("Ann")))
    shares = postgres.frame(
        "SELECT extract(epoch FROM next_check_at - checked_at) / extract(epoch FROM ttl) AS share"
        " FROM knowledge.fact_series"
    )["share"]
    assert shares.is_between(0.8, 1.0).all()
    assert shares.n_unique() == 50


def test_what_is_always_fresh_is_asked_for_once(postgres: Postgres) -> None:
    declare(postgres, ["acme"], "founded")
    assert counts(run(postgres, Saying(saying("1999")))) == {"checked": 1, "changed": 1}
    assert one(postgres, "SELECT next_check_at FROM knowledge.fact_series") is None
    assert counts(run(postgres, Saying(saying("2000")), subjects=["ACME"])) == {
        "checked": 1,
        "changed": 1,
    }


def test_series_are_asked_for_by_name_before_they_are_due(postgres: Postgres) -> None:
    declare(postgres, ["acme", "other"])
    declare(postgres, ["acme"], "price")
    connector = Saying(saying("1"))
    run(postgres, connector)
    for options, checked in (
        ({}, 0),
        ({"kinds": ["price"]}, 1),
        ({"subjects": [" ACME "]}, 2),
        ({"subjects": ["acme"], "kinds": ["office_holder"]}, 1),
        ({"everything": True, "batch": 1}, 3),
        ({"subjects": ["nobody"]}, 0),
    ):
        assert run(postgres, connector, **options).checked == checked
    with pytest.raises(PlatformError, match="no kind of facts 'prize'"):
        run(postgres, connector, kinds=["prize"])


def test_a_connector_that_is_not_configured_fails_once_a_round(postgres: Postgres) -> None:
    declare(postgres, ["acme", "other"])
    told: list[tuple[str, int, int]] = []
    summary = refresh(postgres, {}, RULES, progress=lambda *seen: told.append(seen), batch=1)
    assert summary.by_connector == {"saying": {"failed": 2}}
    assert told == [("Asking again", 1, 2), ("Asking again", 2, 2)]
    assert set(postgres.frame(SERIES)["last_failure"]) == {"No connector 'saying' is configured."}
    assert refresh(postgres, {}, RULES).checked == 0


def test_connectors_that_break_down_fail_alone(postgres: Postgres) -> None:
    declare(postgres, ["s1", "s2", "s3"])
    module.declare_series(postgres, "other", [("s4", "ceo")], RULES)

    def broken(error: Exception) -> Callable[[DueSeries], Answer]:
        def say(series: DueSeries) -> Answer:
            if series.subject == "s2":
                raise error
            return saying("Ann")(series)

        return say

    for error, reason in (
        (PlatformError("The store is away.", "Look."), "The store is away. Look."),
        (ValueError("secret"), "The connector broke down: ValueError."),
    ):
        execute(postgres, "UPDATE knowledge.fact_series SET failures = 0, last_failure = NULL")
        make_due(postgres)
        other = Saying(saying("Bob"))
        summary = refresh(postgres, {"saying": Saying(broken(error)), "other": other}, RULES)
        assert (summary.checked, summary.failed) == (4, 2)
        assert postgres.frame(SERIES)["last_failure"].to_list() == [None, reason, reason, None]
    make_due(postgres)
    run(postgres, Saying(lambda series: None))
    assert "gave no answer" in postgres.frame(SERIES)["last_failure"][0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (saying("x" * 501), "501 characters"),
        (saying(""), "empty"),
        (saying("a\0b"), "not text"),
        (saying("Ann", observed_at=datetime.now(UTC) + timedelta(days=2)), "in the future"),
        (saying("Ann", "Bob"), "2 values of what has one at a time"),
        (saying(values=None), "never said anything"),
        (saying(failure="a\0b\n" + "c" * 1000), "a b c"),
    ],
)
def test_an_answer_that_can_not_be_recorded_fails_alone(
    postgres: Postgres, answer: Callable[[DueSeries], Answer], reason: str
) -> None:
    declare(postgres, ["s1", "s2", "s3"])
    good = saying("Ann")
    connector = Saying(lambda due: answer(due) if due.subject == "s2" else good(due))
    assert counts(run(postgres, connector)) == {"checked": 3, "changed": 2, "failed": 1}
    failures = postgres.frame(SERIES)["last_failure"].to_list()
    assert failures[0] is failures[2] is None
    assert reason in failures[1]
    assert len(failures[1]) <= 500


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([f"{n:02d}" + "x" * 398 for n in range(12)], "4,800 characters together, and 2,000"),
        # Few characters, but more bytes than an entry of an index may have.
        (
            [
                "".join(map(chr, range(0x20000 + n, 0x20000 + n + 490)))
                for n in (0, 500, 1000, 1500)
            ],
            "The store can't keep what it states: index row",
        ),
    ],
)
def test_an_answer_that_is_too_large_for_the_store_fails_alone(
    postgres: Postgres, server: FactServer, values: list[str], reason: str
) -> None:
    server.facts |= {"s1": "a", "s2": values, "s3": ["b", "c"]}
    declared = facts(server, ["s1", "s2", "s3"], attribute="colours", kind="specification")
    rules = FactRules(multi=frozenset({"colours"}))
    ensure_series(postgres, [declared], rules)
    connector = HttpConnector(declared)
    summary = refresh(postgres, {connector.name: connector}, rules)
    assert counts(summary) == {"checked": 3, "changed": 2, "failed": 1}
    rows = postgres.frame(SERIES)
    assert rows["failures"].to_list() == [0, 1, 0]
    assert reason in rows["last_failure"][1]
    assert rows["later"].all()
    assert one(postgres, "SELECT count(*) FROM knowledge.checks WHERE outcome = 'failed'") == 1


def test_a_source_that_has_lost_everything_at_once_is_not_believed(
    postgres: Postgres, server: FactServer
) -> None:
    subjects = [f"s{n:02d}" for n in range(50)]
    server.facts = dict.fromkeys(subjects, "Ann")
    declared = facts(server, subjects)
    ensure_series(postgres, [declared], RULES)
    run(postgres, HttpConnector(declared))
    server.facts.clear()
    for round_, expected in enumerate(({"absent": 10, "failed": 40}, {"failed": 40})):
        make_due(postgres)
        if round_:  # what is gone already is asked for no more here
            execute(
                postgres,
                "UPDATE knowledge.fact_series SET next_check_at = NULL WHERE failures = 0",
            )
        assert counts(run(postgres, HttpConnector(declared), batch=7)) == {
            "checked": sum(expected.values()),
            **expected,
        }
        assert one(postgres, "SELECT count(*) FROM knowledge.current_facts") == 40
    reason = one(postgres, "SELECT max(last_failure) FROM knowledge.fact_series")
    assert "http:shop says that 11 of its 50 series (22%)" in reason
    assert "PRICING_DELETION_SHARE_LIMIT" in reason

    # A day later that many may go again; with a higher limit all do.
    execute(postgres, "UPDATE knowledge.checks SET checked_at = checked_at - interval '25 hours'")
    execute(postgres, "UPDATE knowledge.fact_series SET next_check_at = now() WHERE failures > 0")
    summary = run(postgres, HttpConnector(declared))
    assert (summary.absent, summary.failed) == (10, 30)
    summary = run(postgres, HttpConnector(declared), everything=True, deletion_share_limit=1.0)
    assert (summary.absent, summary.failed) == (50, 0)
    assert one(postgres, "SELECT count(*) FROM knowledge.current_facts") == 0


def test_what_was_gone_before_does_not_count_as_lost_again(postgres: Postgres) -> None:
    now = datetime.now(UTC)
    said = [(f"s{n:02d}", 3, ("Ann",)) for n in range(20)]
    said += [(f"s{n:02d}", 2, ()) for n in range(10)]
    observations = [
        Observation(subject, "ceo", "they", values, now - timedelta(days=age), connector="saying")
        for subject, age, values in said
    ]
    record(postgres, observations, RULES)
    connector = Saying(lambda due: saying(*(["Ann"] if due.subject > "s10" else []))(due))
    summary = run(postgres, connector, everything=True, batch=5)
    assert (summary.absent, summary.confirmed, summary.failed) == (11, 9, 0)


def test_few_absences_are_believed(postgres: Postgres, server: FactServer) -> None:
    subjects = [f"s{n}" for n in range(5)]
    server.facts = dict.fromkeys(subjects, "Ann")
    declared = facts(server, subjects)
    ensure_series(postgres, [declared], RULES)
    run(postgres, HttpConnector(declared))
    server.facts.clear()
    assert run(postgres, HttpConnector(declared), everything=True).absent == 5


def test_what_is_answered_after_a_clock_went_back_still_comes_later(postgres: Postgres) -> None:
    declare(postgres, ["acme"])
    before = datetime.now(UTC)
    run(postgres, Saying(saying("Old", observed_at=before)))
    back = before - timedelta(minutes=2)
    validators = Validators("asked", '"2"', None)
    for answer, expected in (
        (saying("New", observed_at=back, validators=validators), {"checked": 1, "changed": 1}),
        (saying(values=None, observed_at=back), {"checked": 1, "confirmed": 1}),
        (saying(values=None), {"checked": 1, "confirmed": 1}),
    ):
        make_due(postgres)
        assert counts(run(postgres, Saying(answer))) == expected
        assert postgres.frame("SELECT value FROM knowledge.current_facts").rows() == [("New",)]
    assert one(postgres, "SELECT etag FROM knowledge.http_validators") == '"2"'


def series(postgres: Postgres) -> dict[str, Any]:
    """The one series that there is."""
    return postgres.frame(
        "SELECT kind, cardinality, ttl::text, connector, next_check_at, last_failure"
        " FROM knowledge.fact_series"
    ).row(0, named=True)


def test_another_kind_or_time_to_live_reaches_series_that_are_there(
    postgres: Postgres, server: FactServer
) -> None:
    server.facts["acme"] = ["Ann", "Bob"]
    many = FactRules(multi=frozenset({"ceo"}))
    declared = facts(server, ["acme"])
    ensure_series(postgres, [declared], many)
    refresh(postgres, {"http:shop": HttpConnector(declared)}, many)
    assert one(postgres, "SELECT count(*) FROM knowledge.current_facts") == 2
    before = series(postgres)

    hourly = FactRules(
        time_to_live={**RULES.time_to_live, "price": timedelta(hours=1)}, multi=frozenset()
    )
    declared = facts(server, ["acme"], kind="price")
    assert ensure_series(postgres, [declared], hourly) == 0
    after = series(postgres)
    assert (after["kind"], after["cardinality"], after["ttl"]) == ("price", "single", "01:00:00")
    assert after["next_check_at"] < datetime.now(UTC) + timedelta(hours=1)
    assert after["next_check_at"] < before["next_check_at"]
    assert one(postgres, "SELECT value FROM knowledge.current_facts") == "Ann"
    assert ensure_series(postgres, [declared], hourly) == 0
    assert series(postgres) == after


@pytest.mark.parametrize("document_first", [False, True])
def test_a_declared_series_stays_so_when_a_document_states_it_too(
    postgres: Postgres, server: FactServer, document_first: bool
) -> None:
    def state(value: str) -> None:
        said = Observation(
            "acme", "ceo", "notes:a.md", (value,), datetime.now(UTC), connector="document_folder"
        )
        record(postgres, [said], RULES)

    server.facts["acme"] = "Ann"
    declared = facts(server, ["acme"], kind="price")
    if document_first:
        state("Ann")
    assert ensure_series(postgres, [declared], RULES) == 1
    due = series(postgres)
    state("Ann")
    assert series(postgres) == due
    assert counts(run(postgres, HttpConnector(declared)))["checked"] == 1
    asked = series(postgres)
    assert asked["next_check_at"] is not None
    for value in ("Ann", "Bob", "Ann"):
        state(value)
        assert series(postgres) == asked
        assert ensure_series(postgres, [declared], RULES) == 0
    assert asked["connector"] == "http:shop"
    assert asked["kind"] == "price"


def test_a_subject_that_is_no_longer_declared_is_left_alone(
    postgres: Postgres, server: FactServer
) -> None:
    server.facts |= {"acme": "Ann", "other": "Bob"}
    declared = facts(server, ["acme", "other"])
    ensure_series(postgres, [declared], RULES)
    run(postgres, HttpConnector(declared))
    less = facts(server, ["acme"])
    assert ensure_series(postgres, [less], RULES) == 0
    server.asked.clear()
    for options in ({}, {"everything": True}):
        execute(postgres, "UPDATE knowledge.fact_series SET next_check_at = next_check_at - ttl")
        assert counts(run(postgres, HttpConnector(less), **options)) == {
            "checked": 1,
            "confirmed": 1,
        }
    assert set(server.asked) == {"acme"}
    assert one(postgres, "SELECT count(*) FROM knowledge.current_facts") == 2
    ensure_series(postgres, [], RULES)
    assert refresh(postgres, {}, RULES, everything=True).checked == 0
    assert ensure_series(postgres, [declared], RULES) == 2


def test_an_unchanged_answer_confirms_what_was_said_with_its_time(postgres: Postgres) -> None:
    declare(postgres, ["acme"])
    since = datetime(2020, 1, 1, tzinfo=UTC)
    run(postgres, Saying(saying("Ann", valid_from=since)))
    versions = postgres.frame(ROWS)
    verified = one(postgres, "SELECT verified_at FROM knowledge.fact_series")
    make_due(postgres)
    assert counts(run(postgres, Saying(saying(values=None)))) == {"checked": 1, "confirmed": 1}
    assert postgres.frame(ROWS).equals(versions)
    assert one(postgres, "SELECT verified_at FROM knowledge.fact_series") > verified


def test_series_name_the_sources_that_state_them(postgres: Postgres) -> None:
    now = datetime.now(UTC)
    said = [("a", ("Ann",), 3), ("b", ("Ann",), 3), ("b", (), 2), ("c", ("Bob",), 1)]
    observations = [
        Observation("acme", "ceo", source, values, now - timedelta(days=age), connector="saying")
        for source, values, age in said
    ]
    record(postgres, observations, RULES)
    seen: list[DueSeries] = []
    run(postgres, Saying(lambda due: seen.append(due) or saying("Ann")(due)), everything=True)
    assert seen[0].sources == ("a", "c")
    assert (seen[0].subject, seen[0].attribute, seen[0].kind) == ("acme", "ceo", "office_holder")


def test_two_at_once_take_different_series(postgres: Postgres) -> None:
    """The second asks while the first holds its claim, and takes what is left."""
    declare(postgres, [f"s{n}" for n in range(4)])
    second = Saying(saying("Bob"))

    def while_claimed(series: DueSeries) -> Answer:
        if not second.asked:
            assert run(postgres, second, batch=2).checked == 2
        return saying("Ann")(series)

    first = Saying(while_claimed)
    assert run(postgres, first, batch=2).checked == 2
    assert sorted([*first.asked, *second.asked]) == sorted(
        postgres.frame("SELECT series_id FROM knowledge.fact_series")["series_id"]
    )
    assert one(postgres, "SELECT count(*) FROM knowledge.checks") == 4


def test_a_claim_that_ended_is_taken_over_and_its_late_answer_is_dropped(
    postgres: Postgres,
) -> None:
    """The first answers after its claim ended and the second has recorded."""
    declare(postgres, ["acme"])
    second = Saying(saying("new"))

    def after_takeover(series: DueSeries) -> Answer:
        execute(postgres, "UPDATE knowledge.fact_series SET claimed_until = now()")
        assert counts(run(postgres, second)) == {"checked": 1, "changed": 1}
        return saying("old")(series)

    assert run(postgres, Saying(after_takeover)).checked == 0
    assert postgres.frame(CHECKS)["outcome"].to_list() == ["changed"]
    assert one(postgres, "SELECT value FROM knowledge.current_facts") == "new"


def test_a_locked_series_is_skipped_and_not_waited_for(postgres: Postgres) -> None:
    declare(postgres, ["s1", "s2"])
    with postgres.connection() as connection:
        connection.execute("SELECT FROM knowledge.fact_series WHERE subject = 's1' FOR UPDATE")
        assert run(postgres, Saying(saying("Ann"))).checked == 1
    assert run(postgres, Saying(saying("Ann"))).checked == 1


def test_an_interrupt_gives_back_what_was_not_asked(postgres: Postgres) -> None:
    declare(postgres, [f"s{n}" for n in range(6)])

    def interrupted(series: DueSeries) -> Answer:
        if series.subject == "s3":
            raise KeyboardInterrupt
        return saying("Ann")(series)

    with pytest.raises(KeyboardInterrupt):
        run(postgres, Saying(interrupted))
    assert one(postgres, "SELECT count(claimed_until) FROM knowledge.fact_series") == 0
    assert run(postgres, Saying(saying("Ann"))).checked == 6


def test_control_c_ends_the_requests_too(postgres: Postgres, server: FactServer) -> None:
    server.behaviour = lambda _subject, _time: Reply(200, pause=20)
    declared = facts(server, [f"s{n}" for n in range(20)], timeout_seconds=60)
    ensure_series(postgres, [declared], RULES)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(postgres, HttpConnector(declared))
    assert time.monotonic() - started < 5
    assert one(postgres, "SELECT count(claimed_until) FROM knowledge.fact_series") == 0


def test_a_slow_connector_is_left_before_its_claim_ends(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LEASE", timedelta(seconds=0.5))
    monkeypatch.setattr(module, "_PORTION_SECONDS", 0.0)
    declare(postgres, [f"s{n}" for n in range(12)])

    def slow(series: DueSeries) -> Answer:
        time.sleep(0.1)
        return saying("Ann")(series)

    connector = Saying(slow)
    assert run(postgres, connector).checked == 12
    assert (
        postgres.frame("SELECT count(*) AS n FROM knowledge.checks GROUP BY series_id")[
            "n"
        ].to_list()
        == [1] * 12
    )


def test_old_checks_are_forgotten(postgres: Postgres) -> None:
    declare(postgres, ["acme"])
    run(postgres, Saying(saying("Ann")))
    execute(
        postgres,
        "INSERT INTO knowledge.checks SELECT now() - n * interval '1 day', series_id, 'saying',"
        " 'failed', 'x', 1, 'they' FROM knowledge.fact_series, generate_series(25, 35) AS n",
    )
    run(postgres, Saying(saying("Ann")))
    assert one(postgres, "SELECT count(*) FROM knowledge.checks") == 1 + 5


# For each number on standard input, a fork refreshes and kills itself before the step of that
# number (a statement or a request); what it exited with, or how many steps it took, is printed.
KILLED = """
import os, signal, sys
import psycopg
from pricing_platform.facts import refresh
from pricing_platform.facts.connectors.http import HttpConnector
from pricing_platform.facts.connectors.http_facts import HttpFacts
from pricing_platform.facts.kinds import FactRules
from pricing_platform.stores.postgres import Postgres

database, declared = sys.argv[1], HttpFacts.model_validate_json(sys.argv[2])
refresh._PORTION = 3

def counted(method, step):
    def call(self, *arguments, **options):
        step()
        return method(self, *arguments, **options)
    return call

def run(fatal):
    steps = 0
    def step():
        nonlocal steps
        steps += 1
        if steps == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
    postgres = Postgres(database)
    with postgres.connection():
        pass
    psycopg.Connection.execute = counted(psycopg.Connection.execute, step)
    psycopg.Cursor.executemany = counted(psycopg.Cursor.executemany, step)
    HttpConnector._get = counted(HttpConnector._get, step)
    connector = HttpConnector(declared)
    refresh.refresh(postgres, {connector.name: connector}, FactRules(), batch=5)
    print(steps, flush=True)
    os._exit(0)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(int(line))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        print(status, flush=True)
"""
STATE = (SERIES, STATED, VERSIONS, CHECKS, VALIDATORS)


def test_killed_anywhere_and_run_again_it_ends_like_an_undisturbed_refresh(
    postgres: Postgres, server: FactServer
) -> None:
    subjects = [f"s{n}" for n in range(8)]
    declared = facts(server, subjects, concurrency=1)

    def start_over() -> None:
        execute(postgres, "TRUNCATE knowledge.fact_series CASCADE")
        server.behaviour = lambda _subject, _time: None
        server.facts = {subject: f"before {subject}" for subject in subjects}
        ensure_series(postgres, [declared], RULES)
        run(postgres, HttpConnector(declared))
        execute(postgres, "TRUNCATE knowledge.checks")
        server.facts |= dict.fromkeys(subjects[::3], "after")
        for subject in subjects[::7]:
            del server.facts[subject]
        server.behaviour = lambda subject, _: Reply(503) if subject.endswith("5") else None
        make_due(postgres)

    def state() -> list[pl.DataFrame]:
        return [postgres.frame(query) for query in STATE]

    start_over()
    assert counts(run(postgres, HttpConnector(declared), batch=5)) == {
        "checked": 8,
        "changed": 2,
        "confirmed": 3,
        "absent": 2,
        "failed": 1,
    }
    undisturbed = state()
    configuration = declared.model_dump_json()
    command = [sys.executable, "-c", KILLED, str(postgres._url), configuration]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runner:

        def killed_before(step: int) -> int:
            start_over()
            assert runner.stdin is not None
            assert runner.stdout is not None
            print(step, file=runner.stdin, flush=True)
            return int(runner.stdout.readline())

        steps = killed_before(-1)
        assert steps > 40
        assert all(map(pl.DataFrame.equals, state(), undisturbed))
        for step in range(2, steps, 4):
            assert killed_before(step) == -9
            # Waits for the killed one's transaction to be rolled back; its claim ends by itself.
            execute(
                postgres,
                "UPDATE knowledge.fact_series SET claimed_until ="
                " claimed_until - interval '1 hour'",
            )
            run(postgres, HttpConnector(declared), batch=5)
            for ours, theirs in zip(state(), undisturbed, strict=True):
                assert ours.equals(theirs), step


def test_eight_refreshers_check_each_series_once_a_round(
    postgres: Postgres, server: FactServer
) -> None:
    subjects = [f"s{n:03d}" for n in range(240)]
    server.facts = {subject: f"before {subject}" for subject in subjects}
    declared = facts(server, subjects)
    ensure_series(postgres, [declared], RULES)
    run(postgres, HttpConnector(declared))
    before = dict(postgres.frame("SELECT subject, value FROM knowledge.current_facts").rows())
    assert before == server.facts

    number = {subject: n for n, subject in enumerate(subjects)}
    server.facts |= {subject: f"after {subject}" for subject in subjects if number[subject] % 2}
    server.asked.clear()

    def behaviour(subject: str, _time: int) -> Reply | None:
        if number[subject] % 10 == 0:
            return Reply(503)
        return Reply(200, pause=0.1) if number[subject] % 10 == 5 else None

    server.behaviour = behaviour
    make_due(postgres)
    began = datetime.now(UTC)
    with ThreadPoolExecutor(8) as pool:
        summaries = list(
            pool.map(lambda _: run(postgres, HttpConnector(declared), batch=15), range(8))
        )
    assert sum(summary.checked for summary in summaries) == 240
    assert sum(summary.failed for summary in summaries) == 24
    assert sum(summary.changed for summary in summaries) == 120
    assert sum(summary.confirmed for summary in summaries) == 96
    assert set(server.asked.values()) == {1}
    assert len(server.asked) == 240
    after = dict(postgres.frame("SELECT subject, value FROM knowledge.current_facts").rows())
    assert after == server.facts
    checks = postgres.frame(
        "SELECT series_id, count(*) AS n FROM knowledge.checks WHERE checked_at >= %s GROUP BY 1",
        [began],
    )
    assert checks["n"].to_list() == [1] * 240
    assert one(postgres, "SELECT count(claimed_until) FROM knowledge.fact_series") == 0
