"""Attributes: one name of several, their kinds, and for how long they stay fresh."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.errors import PlatformError
from pricing_platform.facts.kinds import FactRules, normalise_attribute


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("CEO", "ceo"),
        ("the Chief Executive Officer", "ceo"),
        ("chief_executive_officer:", "ceo"),
        ("  Founding\tDate ", "founded"),
        ("Current price", "price"),
        ("The", "the"),
        ("Screen size", "screen size"),
    ],
)
def test_an_attribute_has_one_name(written: str, name: str) -> None:
    assert normalise_attribute(written) == name


@given(st.text(max_size=40) | st.sampled_from(["the the CEO", "its current e-mail", "_hq_"]))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise_attribute(normalise_attribute(text)) == normalise_attribute(text)


@pytest.mark.parametrize(
    ("attribute", "kind", "age"),
    [
        ("price", "price", timedelta(days=1)),
        ("Monthly fee", "price", timedelta(days=1)),
        ("Fees", "price", timedelta(days=1)),
        ("Running costs", "price", timedelta(days=1)),
        ("Preise", "price", timedelta(days=1)),
        ("Versandkosten", "price", timedelta(days=1)),
        ("Gebühr", "price", timedelta(days=1)),
        ("Opłata", "price", timedelta(days=1)),
        ("Costes", "price", timedelta(days=1)),
        ("価格", "price", timedelta(days=1)),
        ("Price list format", "specification", timedelta(days=180)),
        ("Availability", "availability", timedelta(hours=6)),
        ("Chief Financial Officer", "office_holder", timedelta(days=30)),
        ("VP of Engineering", "office_holder", timedelta(days=30)),
        ("Job Title", "office_holder", timedelta(days=30)),
        ("Founded in", "founding_date", None),
        ("Date of Birth", "founding_date", None),
        ("headquarters", "specification", timedelta(days=180)),
        ("price list format", "specification", timedelta(days=180)),
    ],
)
def test_the_kind_follows_from_the_name(attribute: str, kind: str, age: timedelta | None) -> None:
    rules = FactRules()
    assert rules.kind_of(attribute) == kind
    assert rules.time_to_live_of(kind) == age


def test_only_what_is_named_so_has_several_values() -> None:
    rules = FactRules()
    assert rules.cardinality_of("Key features") == "multi"
    assert rules.cardinality_of("CEO") == "single"


def test_a_configuration_goes_before_the_defaults() -> None:
    rules = FactRules(
        time_to_live={"price": timedelta(hours=2), "mood": timedelta(minutes=1)},
        kinds={"spirits|mood": "mood", "ceo": "specification"},
        multi=frozenset({"ceo"}),
    )
    assert rules.kind_of("Spirits") == "mood"
    assert rules.kind_of("Chief Executive Officer") == "specification"
    assert rules.kind_of("cfo") == "office_holder"
    assert rules.time_to_live_of("price") == timedelta(hours=2)
    assert rules.time_to_live_of("founding_date") is None
    assert rules.cardinality_of("CEO") == "multi"
    assert rules.cardinality_of("features") == "single"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kinds": {"mood": "mood"}}, "no time to live"),
        ({"kinds": {"(": "price"}}, "not a regular expression"),
        ({"multi": ["["]}, "not a regular expression"),
        ({"time_to_live": {"price": timedelta(0)}}, "longer than none"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_rule_is_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=told):
        FactRules.model_validate(given)


def test_an_unknown_kind_is_told() -> None:
    with pytest.raises(PlatformError, match="no kind of facts 'mood'"):
        FactRules().time_to_live_of("mood")


def test_rules_are_written_alike_in_every_process() -> None:
    script = "from pricing_platform.facts.kinds import FactRules as R; print(R().model_dump_json())"
    written = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert written == {f"{FactRules().model_dump_json()}\n"}
