"""Facts in a prompt: fresh ones alone, those first that hold the shortest time, with their age."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pricing_platform.pricing.prompting.prompt_facts import KnownFacts, age_in_words
from pricing_platform.pricing.prompting.prompt_knowledge import facts_version
from pricing_platform_tests.unit.language.scripted_model import ScriptedModel
from pricing_platform_tests.unit.pricing.language_parts import bound_to

NOW = datetime.now(UTC)


def fact(subject: str, attribute: str, days: float, freshness: str = "fresh") -> tuple[Any, ...]:
    return (subject, attribute, "x", "news", NOW - timedelta(days=days), freshness)


def known(*facts: tuple[Any, ...]) -> KnownFacts:
    return KnownFacts(bound_to(ScriptedModel(), facts=list(facts)).brand_facts)


def test_tells_fresh_facts_about_the_subject_whatever_its_case() -> None:
    facts = known(
        fact("acme", "ceo", 5),
        fact("acme", "factory", 1),
        fact("acme", "owner", 2, "stale"),
        fact("bolt", "ceo", 0),
    )
    assert facts.about(" ACME ", 3) == [
        "Acme: CEO is x (verified 5 days ago)",
        "Acme: factory is x (verified yesterday)",
    ]
    assert len(facts.about("acme", 1)) == 1


def test_a_fact_that_was_verified_again_keeps_its_place() -> None:
    facts = [fact("acme", name, 9) for name in ("ceo", "factory", "owner")]
    again = [*facts[:2], fact("acme", "owner", 0)]
    undated = pl.lit(None, pl.Datetime("us", "UTC"))
    frames = [bound_to(ScriptedModel(), facts=at).brand_facts for at in (facts, again)]
    assert len({facts_version(at.with_columns(valid_since=undated)) for at in frames}) == 1
    assert [told.partition(" (")[0] for told in known(*again).about("acme", 2)] == [
        told.partition(" (")[0] for told in known(*facts).about("acme", 2)
    ]


def microseconds(days_ago: float) -> int:
    return int((NOW - timedelta(days=days_ago)).timestamp() * 1e6)


def test_tells_what_held_by_a_moment_with_its_age_as_of_then() -> None:
    facts = bound_to(
        ScriptedModel(),
        facts=[fact("acme", "ceo", 30), fact("acme", "factory", 1), fact("acme", "owner", 2)],
    ).brand_facts
    since = [NOW - timedelta(days=90), None, NOW - timedelta(days=5)]
    dated = facts.with_columns(valid_since=pl.Series(since, dtype=pl.Datetime("us", "UTC")))
    known = KnownFacts(dated)
    before_owner = ["Acme: CEO is x (verified 20 days ago)", "Acme: factory is x"]
    assert known.about("acme", 3, microseconds(10)) == before_owner
    assert known.about("acme", 3, microseconds(4))[0] == "Acme: owner is x"
    assert known.about("acme", 3, microseconds(99)) == ["Acme: factory is x"]
    assert len(known.about("acme", 3)) == 3
    without = KnownFacts(facts)
    assert len(without.about("acme", 3, microseconds(99))) == 3


def test_what_is_told_of_a_dated_item_does_not_change_by_the_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = known(fact("acme", "ceo", 30))
    told = facts.about("acme", 1, microseconds(10))
    today = facts.about("acme", 1)
    clock = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock() + 5 * 86_400 * 10**9)
    assert facts.about("acme", 1, microseconds(10)) == told
    assert facts.about("acme", 1) != today


def test_one_brand_in_several_spellings_is_told_of_once() -> None:
    facts = known(fact("ACME", "ceo", 5), fact("Acme", "ceo", 5), fact("acme ", "ceo", 9))
    assert facts.about("acme", 3) == ["ACME: CEO is x (verified 5 days ago)"]


def test_tells_nothing_where_nothing_is_known() -> None:
    assert known().about("acme", 3) == []
    assert known(fact("acme", "ceo", 1)).about(None, 3) == []
    assert known(fact("acme", "ceo", 1)).about("corva", 3) == []


@pytest.mark.parametrize(
    ("days", "words"),
    [(-1, "today"), (0, "today"), (1, "yesterday"), (60, "60 days ago"), (92, "3 months ago")],
)
def test_says_an_age_in_words(days: int, words: str) -> None:
    assert age_in_words(days) == words
