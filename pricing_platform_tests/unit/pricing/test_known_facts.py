"""Facts in a prompt: fresh ones alone, the newest first, with their age in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pricing_platform.pricing.known_facts import KnownFacts, age_in_words
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
        fact("acme", "price", 0),
        fact("bolt", "ceo", 0),
    )
    assert facts.about(" ACME ", 3) == [
        "Acme: factory is x (verified yesterday)",
        "Acme: CEO is x (verified 5 days ago)",
    ]
    assert len(facts.about("acme", 1)) == 1


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
