"""Recording observations: what is refused, what is normalised, and what it does to a series."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import Observation, RecordSummary, record, record_in
from pricing_platform.stores.postgres import Postgres

RULES = FactRules()
START = datetime(2024, 1, 1, tzinfo=UTC)
ANN = Observation("Acme", "CEO", "about.md", ("Ann",), START)


def _day(number: float) -> datetime:
    return START + timedelta(days=number)


def _series(postgres: Postgres, subject: str = "acme") -> dict[str, Any]:
    with postgres.connection() as connection:
        cursor = connection.execute(
            "SELECT kind, cardinality, ttl, connector, verified_at, next_check_at"
            " FROM knowledge.fact_series WHERE subject = %s",
            [subject],
        )
        assert cursor.description is not None
        (row,) = cursor.fetchall()
        return dict(zip([column.name for column in cursor.description], row, strict=True))


def _values(postgres: Postgres) -> list[str]:
    return postgres.frame("SELECT value FROM knowledge.current_facts ORDER BY value")[
        "value"
    ].to_list()


def test_what_is_there_already_changes_nothing(postgres: Postgres) -> None:
    assert record(postgres, [ANN, ANN], RULES) == RecordSummary(1, 1, 1)
    before = _series(postgres)
    assert record(postgres, [ANN], RULES) == RecordSummary(0, 0, 0)
    assert record(postgres, [], RULES) == RecordSummary(0, 0, 0)
    assert _series(postgres) == before


def test_names_and_values_are_normalised(postgres: Postgres) -> None:
    said = Observation(" ACME ", "Key_Features", "a", (" b", "a", "b", "cafe\u0301"), START)
    record(postgres, [said], RULES)
    row = postgres.frame(
        "SELECT subject, attribute, stated FROM knowledge.fact_series"
        " JOIN knowledge.observations USING (series_id)"
    ).row(0)
    assert row == ("acme", "key features", ["a", "b", "caf\u00e9"])


def test_of_several_values_of_which_one_can_hold_the_first_does(postgres: Postgres) -> None:
    record(postgres, [replace(ANN, values=("Zoe", "Bob"))], RULES)
    assert _values(postgres) == ["Bob"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"subject": " - "}, "subject is empty"),
        ({"attribute": ""}, "attribute is empty"),
        ({"source": ""}, "source is empty"),
        ({"values": ("x" * 501,)}, "501 characters"),
        ({"values": (" ",)}, "empty or not text"),
        ({"values": ("a\0b",)}, "empty or not text"),
        ({"observed_at": START.replace(tzinfo=None)}, "no time zone"),
        ({"valid_from": START.replace(tzinfo=None)}, "no time zone"),
        ({"observed_at": datetime.now(UTC) + timedelta(days=1)}, "in the future"),
        ({"kind": "mood"}, "no kind of facts 'mood'"),
    ],
)
def test_what_is_not_valid_is_refused_with_all_beside_it(
    postgres: Postgres, wrong: dict[str, Any], told: str
) -> None:
    with pytest.raises(PlatformError, match=told):
        record(postgres, [ANN, replace(ANN, **wrong)], RULES)
    assert postgres.frame("SELECT * FROM knowledge.fact_series").is_empty()


def test_a_clock_that_is_a_little_ahead_is_believed(postgres: Postgres) -> None:
    record(postgres, [replace(ANN, observed_at=datetime.now(UTC) + timedelta(minutes=4))], RULES)
    assert len(postgres.frame("SELECT * FROM knowledge.observations")) == 1


def test_a_confirmation_verifies_and_makes_no_version(postgres: Postgres) -> None:
    record(postgres, [ANN], RULES)
    again = replace(ANN, observed_at=_day(5))
    assert record(postgres, [again], RULES) == RecordSummary(1, 0, 0)
    assert _series(postgres)["verified_at"] == _day(5)


def test_a_late_observation_does_not_take_a_verification_back(postgres: Postgres) -> None:
    record(postgres, [replace(ANN, observed_at=_day(5))], RULES)
    record(postgres, [ANN], RULES)
    assert _series(postgres)["verified_at"] == _day(5)


def test_a_value_that_does_not_hold_verifies_nothing(postgres: Postgres) -> None:
    record(postgres, [ANN, replace(ANN, source="b", values=("Bob",), observed_at=_day(2))], RULES)
    assert _values(postgres) == ["Bob"]
    record(postgres, [replace(ANN, observed_at=_day(4))], RULES)
    assert _values(postgres) == ["Bob"]
    assert _series(postgres)["verified_at"] == _day(2)


def test_what_holds_again_is_as_old_as_its_last_statement(postgres: Postgres) -> None:
    other = replace(ANN, source="b", values=("Bob",), observed_at=_day(2))
    record(postgres, [ANN, other], RULES)
    record(postgres, [replace(other, values=(), observed_at=_day(9))], RULES)
    assert _values(postgres) == ["Ann"]
    assert _series(postgres)["verified_at"] == START


def test_the_next_check_comes_before_the_time_to_live_is_over(postgres: Postgres) -> None:
    record(postgres, [ANN], RULES)
    assert _series(postgres)["next_check_at"] is None
    record(postgres, [replace(ANN, connector="http:acme", observed_at=_day(1))], RULES)
    found = _series(postgres)
    assert found["connector"] == "http:acme"
    assert _day(1 + 0.8 * 30) <= found["next_check_at"] <= _day(1 + 30)
    # Who has no connector leaves the one that is there.
    record(postgres, [replace(ANN, observed_at=_day(2))], RULES)
    assert _series(postgres)["connector"] == "http:acme"


def test_next_checks_are_spread(postgres: Postgres) -> None:
    said = [replace(ANN, subject=f"firm {n}", connector="http:acme") for n in range(50)]
    record(postgres, said, RULES)
    times = postgres.frame("SELECT next_check_at FROM knowledge.fact_series")["next_check_at"]
    assert times.n_unique() == 50
    assert times.max() - times.min() > timedelta(days=3)  # type: ignore[operator]


def test_a_founding_date_is_never_asked_again(postgres: Postgres) -> None:
    record(postgres, [replace(ANN, attribute="founded", connector="http:acme")], RULES)
    assert _series(postgres)["ttl"] is None
    assert _series(postgres)["next_check_at"] is None


def test_other_rules_hold_for_series_that_are_there(postgres: Postgres) -> None:
    both = replace(ANN, values=("Ann", "Bob"), connector="http:acme")
    record(postgres, [both], RULES)
    assert _values(postgres) == ["Ann"]
    rules = FactRules(multi=frozenset({"ceo"}), time_to_live={"office_holder": timedelta(hours=1)})
    record(postgres, [both], rules)
    assert _values(postgres) == ["Ann", "Bob"]
    found = _series(postgres)
    assert (found["cardinality"], found["ttl"]) == ("multi", timedelta(hours=1))
    assert found["next_check_at"] <= START + timedelta(hours=1)


def test_where_it_is_said_is_kept(postgres: Postgres) -> None:
    record(postgres, [replace(ANN, chunk_id="c", start_character=3, end_character=6)], RULES)
    found = postgres.frame(
        "SELECT chunk_id, start_character, end_character FROM knowledge.observations"
    )
    assert found.row(0) == ("c", 3, 6)


def test_the_caller_decides_whether_it_is_kept(postgres: Postgres) -> None:
    def interrupted() -> None:
        with postgres.connection() as connection:
            assert record_in(connection, [ANN], RULES).observations == 1
            later = replace(ANN, observed_at=_day(1))
            assert record_in(connection, [later], RULES) == RecordSummary(1, 0, 0)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    assert postgres.frame("SELECT * FROM knowledge.fact_series").is_empty()


def test_progress_is_told(postgres: Postgres) -> None:
    told: list[tuple[str, int, int]] = []
    record(postgres, [ANN], RULES, progress=lambda *step: told.append(step))
    assert told == [("Recording observations", 1, 1)]
