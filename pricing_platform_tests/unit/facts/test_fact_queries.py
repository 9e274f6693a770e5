"""Reading facts: what is current, what was, how old it is, and what an unknown subject may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.facts.fact_queries import (
    closest_subjects,
    facts_of,
    facts_past_time_to_live,
    oldest_observation,
)
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import Observation, record
from pricing_platform.stores.postgres import Postgres

RULES = FactRules()
NOW = datetime.now(UTC)


def _ago(**age: float) -> datetime:
    return NOW - timedelta(**age)


@pytest.fixture
def known(postgres: Postgres) -> Postgres:
    record(
        postgres,
        [
            Observation("Acme Ltd", "CEO", "a", ("Ann",), _ago(days=100)),
            Observation("Acme Ltd", "CEO", "a", ("Bob",), _ago(days=45)),
            Observation("Acme Ltd", "founded", "a", ("1990",), _ago(days=900)),
            Observation("Widget", "price", "a", ("5.00 USD",), _ago(days=1.5)),
            Observation("Gadget", "price", "a", ("7.00 USD",), _ago(days=3)),
            Observation("Gizmo", "price", "a", ("9.00 USD",), _ago(hours=1)),
            Observation("Gone", "price", "a", ("1.00 USD",), _ago(days=9)),
            Observation("Gone", "price", "a", (), _ago(days=8)),
        ],
        RULES,
    )
    return postgres


def test_the_current_facts_of_a_subject(known: Postgres) -> None:
    found = facts_of(known, " ACME ltd")
    assert found.select("attribute", "value", "freshness", "source").rows() == [
        ("ceo", "Bob", "stale", "a"),
        ("founded", "1990", "fresh", "a"),
    ]
    assert found["verified_at"][0] == _ago(days=45)


def test_what_held_and_was_known_at_other_times(known: Postgres) -> None:
    def ceo(**at: datetime) -> list[str]:
        found = facts_of(known, "acme ltd", **at)  # type: ignore[arg-type]
        return found.filter(attribute="ceo")["value"].to_list()

    assert ceo(valid_at=_ago(days=60)) == ["Ann"]
    assert ceo(valid_at=_ago(days=10), known_at=_ago(days=60)) == ["Ann"]
    assert ceo(known_at=_ago(days=60)) == ["Ann"]
    assert ceo(valid_at=_ago(days=200)) == []


def test_the_history_has_all_that_was_believed(known: Postgres) -> None:
    found = facts_of(known, "acme ltd", history=True).filter(attribute="ceo")
    assert found["value"].to_list() == ["Ann", "Ann", "Bob"]
    assert found["valid_until"].to_list() == [None, _ago(days=45), None]


def test_ages_by_kind(known: Postgres) -> None:
    rows = facts_past_time_to_live(known).rows()
    assert rows == [
        ("founding_date", 1, 1, 0, 0, _ago(days=900)),
        ("office_holder", 1, 0, 1, 0, _ago(days=45)),
        ("price", 3, 1, 1, 1, _ago(days=3)),
    ]


def test_the_oldest_is_one_that_can_go_stale(known: Postgres) -> None:
    assert oldest_observation(known) == _ago(days=45)


def test_nothing_known_is_no_error(postgres: Postgres) -> None:
    assert facts_past_time_to_live(postgres).is_empty()
    assert oldest_observation(postgres) is None


def test_a_subject_of_which_nothing_holds_is_known(known: Postgres) -> None:
    assert facts_of(known, "gone").is_empty()


def test_an_unknown_subject_is_told_with_those_like_it(known: Postgres) -> None:
    with pytest.raises(PlatformError, match="Nothing is known of 'Acme Limited'") as caught:
        facts_of(known, "Acme Limited")
    assert "acme ltd" in caught.value.remedy
    with pytest.raises(PlatformError) as caught:
        facts_of(known, "zzz%")
    assert "acme" not in caught.value.remedy


def test_a_part_of_a_name_is_close(known: Postgres) -> None:
    assert closest_subjects(known, "acme")[0] == "acme ltd"
    assert closest_subjects(known, "") == []


def test_a_time_needs_its_zone_and_no_history(known: Postgres) -> None:
    with pytest.raises(PlatformError, match="time zone"):
        facts_of(known, "acme ltd", valid_at=NOW.replace(tzinfo=None))
    with pytest.raises(PlatformError, match="any time"):
        facts_of(known, "acme ltd", history=True, known_at=NOW)
