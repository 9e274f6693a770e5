"""The fold: against its definition, and the same in any order, repetition and number of writers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import combinations, count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import Observation, record
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.facts.reference_fold import Said, breakpoints, held

RULES = FactRules()
START = datetime(2024, 1, 1, tzinfo=UTC)
_NUMBERS = count()

days = st.integers(0, 5).map(lambda number: START + timedelta(days=number))
# Beginnings before, at and after the time of the observation, and some that are still to come.
beginnings = st.integers(-1, 7).map(lambda number: START + timedelta(days=number)) | st.just(
    datetime(2999, 1, 1, tzinfo=UTC)
)
stated = st.sampled_from([(), ("a",), ("b",), ("c",), ("a", "b")])
said = st.builds(Said, st.sampled_from("xyz"), beginnings, days, stated)
told_in_order = days.flatmap(
    lambda day: st.builds(Said, st.just("x"), st.just(day), st.just(day), stated)
)
histories = st.lists(said, min_size=1, max_size=9, unique=True) | st.lists(
    told_in_order, min_size=1, max_size=6, unique=True
)


def _observations(history: Sequence[Said], subject: str, attribute: str) -> list[Observation]:
    return [
        Observation(subject, attribute, o.source, o.stated, o.observed_at, o.valid_from)
        for o in history
    ]


def _versions(postgres: Postgres, subject: str) -> list[tuple[Any, ...]]:
    with postgres.connection() as connection:
        return connection.execute(
            "SELECT v.slot, v.value, v.source, v.valid, v.recorded"
            " FROM knowledge.fact_versions AS v JOIN knowledge.fact_series AS s USING (series_id)"
            " WHERE s.subject = %s ORDER BY v.slot, v.value, v.valid, v.recorded",
            [subject],
        ).fetchall()


def _batches(history: list[Said], random_: random.Random) -> Iterator[list[Said]]:
    """The history in any order, some of it twice, in batches of any size."""
    shuffled = history + random_.sample(history, random_.randint(0, len(history)))
    random_.shuffle(shuffled)
    while shuffled:
        size = random_.randint(1, len(shuffled))
        batch, shuffled = shuffled[:size], shuffled[size:]
        yield batch


@pytest.mark.parametrize("attribute", ["ceo", "features"])
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=histories, random_=st.randoms(use_true_random=False))
def test_any_order_gives_what_the_definition_says(
    postgres: Postgres, attribute: str, history: list[Said], random_: random.Random
) -> None:
    subject, other = (f"subject {next(_NUMBERS)}" for _ in range(2))
    record(postgres, _observations(history, subject, attribute), RULES)
    for batch in _batches(history, random_):
        record(postgres, _observations(batch, other, attribute), RULES)
    versions = _versions(postgres, subject)
    assert _versions(postgres, other) == versions
    cardinality = RULES.cardinality_of(attribute)
    valid_times, known_times = breakpoints(history)
    for known in known_times:
        for valid in valid_times:
            found = [v[1] for v in versions if valid in v[3] and known in v[4]]
            expected = held(history, cardinality, valid, known)
            assert sorted(found) == sorted(expected), (valid, known)


@pytest.mark.parametrize("attribute", ["ceo", "features"])
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=histories)
def test_versions_never_overlap_and_are_as_few_as_can_be(
    postgres: Postgres, attribute: str, history: list[Said]
) -> None:
    subject = f"subject {next(_NUMBERS)}"
    record(postgres, _observations(history, subject, attribute), RULES)
    for one, two in combinations(_versions(postgres, subject), 2):
        if one[0] != two[0]:
            continue
        valid, recorded = (_meet(one[3], two[3]), _meet(one[4], two[4]))
        assert not (valid and recorded)
        assert not (one[:4] == two[:4] and one[4].upper == two[4].lower)


def _meet(one: Any, two: Any) -> bool:
    ends = [time for time in (one.upper, two.upper) if time is not None]
    return not ends or max(one.lower, two.lower) < min(ends)


def _day(number: int) -> datetime:
    return START + timedelta(days=number)


def _current(postgres: Postgres, subject: str) -> list[tuple[str, str]]:
    return postgres.frame(
        "SELECT value, source FROM knowledge.current_facts WHERE subject = %s ORDER BY value",
        [subject],
    ).rows()


def test_of_two_sources_since_the_same_time_the_one_observed_last_is_believed(
    postgres: Postgres,
) -> None:
    first = Observation("acme", "ceo", "a", ("Ann",), _day(1), _day(0))
    second = Observation("acme", "ceo", "b", ("Bob",), _day(2), _day(0))
    record(postgres, [second, first], RULES)
    assert _current(postgres, "acme") == [("Bob", "b")]
    # That the other repeats itself is no news.
    record(postgres, [Observation("acme", "ceo", "a", ("Ann",), _day(3), _day(0))], RULES)
    assert _current(postgres, "acme") == [("Bob", "b")]


def test_of_two_sources_since_and_at_the_same_time_the_first_by_name_is_believed(
    postgres: Postgres,
) -> None:
    said = [
        Observation("acme", "ceo", source, (value,), _day(1))
        for source, value in (("b", "Ann"), ("a", "Bob"), ("C", "Carl"))
    ]
    record(postgres, said, RULES)
    assert _current(postgres, "acme") == [("Carl", "C")]


def test_a_silent_source_makes_room_for_the_others(postgres: Postgres) -> None:
    record(
        postgres,
        [
            Observation("acme", "ceo", "a", ("Ann",), _day(1)),
            Observation("acme", "ceo", "b", ("Bob",), _day(2)),
            Observation("acme", "ceo", "b", (), _day(3)),
        ],
        RULES,
    )
    assert _current(postgres, "acme") == [("Ann", "a")]


def test_a_backdated_correction_changes_what_was_but_not_what_was_believed(
    postgres: Postgres,
) -> None:
    record(
        postgres,
        [
            Observation("acme", "ceo", "a", ("Ann",), _day(1)),
            Observation("acme", "ceo", "a", ("Bob",), _day(9), _day(0)),
            Observation("acme", "ceo", "a", ("Bob",), _day(9), _day(1)),
        ],
        RULES,
    )
    asked = "SELECT value FROM knowledge.facts_as_of(%s, %s)"
    assert postgres.frame(asked, [_day(5), _day(5)]).item() == "Ann"
    assert postgres.frame(asked, [_day(5), _day(9)]).item() == "Bob"


def test_what_begins_later_becomes_current_when_its_time_comes(postgres: Postgres) -> None:
    with postgres.connection() as connection:
        row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    begins = row[0] + timedelta(seconds=0.3)
    record(
        postgres,
        [
            Observation("acme", "ceo", "a", ("Ann",), _day(1)),
            Observation("acme", "ceo", "a", ("Bob",), _day(2), begins),
        ],
        RULES,
    )
    assert _current(postgres, "acme") == [("Ann", "a")]
    with postgres.connection() as connection:
        connection.execute("SELECT pg_sleep(0.4)")
    assert _current(postgres, "acme") == [("Bob", "a")]


def test_concurrent_writers_end_in_the_same_versions_as_one(postgres: Postgres) -> None:
    random_ = random.Random(3)
    observations = [
        Observation(
            f"subject {random_.randint(0, 30)}",
            random_.choice(["ceo", "features", "price"]),
            random_.choice("xyz"),
            tuple(random_.sample("abc", random_.randint(0, 2))),
            _day(random_.randint(0, 6)),
            _day(random_.randint(0, 6)),
        )
        for _ in range(1_500)
    ]
    shares = [random_.sample(observations, 900) for _ in range(6)] + [observations]

    def write(share: list[Observation]) -> None:
        for start in range(0, len(share), 150):
            record(postgres, share[start : start + 150], RULES)

    with ThreadPoolExecutor(len(shares)) as threads:
        list(threads.map(write, shares))
    together = _everything(postgres)
    with postgres.connection() as connection:
        connection.execute("TRUNCATE knowledge.fact_series CASCADE")
    record(postgres, observations, RULES)
    assert _everything(postgres) == together
    assert len(together) > 500


def _everything(postgres: Postgres) -> list[tuple[Any, ...]]:
    return postgres.frame(
        "SELECT subject, attribute, verified_at, value, source, valid::text, recorded::text"
        " FROM knowledge.fact_versions JOIN knowledge.fact_series USING (series_id)"
        " ORDER BY 1, 2, 3, 4, 5, 6, 7"
    ).rows()
