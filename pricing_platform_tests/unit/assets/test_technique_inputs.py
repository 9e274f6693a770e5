"""What is kept of the calls that an asset makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.errors import ModelNotAskedError
from pricing_platform.language.calls import CallLedger
from pricing_platform.language.model import PriceAnswer, Prompt
from pricing_platform.pricing.predictions import CALLS
from pricing_platform_tests.unit.assets.given_inputs import GivenInputs, given_inputs
from pricing_platform_tests.unit.language.scripted_model import USAGE

PURPOSE = "fitting/rag"


@pytest.fixture
def inputs(tmp_path: Path) -> GivenInputs:
    return given_inputs(tmp_path)


def record(ledger: CallLedger, calls: int) -> None:
    for number in range(calls):
        ledger.record(Prompt((), item_id=f"item-{number}"), PriceAnswer(USAGE, text="1"))


def ask_twice_in_vain(inputs: GivenInputs) -> None:
    with inputs.kept_calls(PURPOSE) as language:
        record(language().ledger, 2)
        assert len(language().ledger) == 2
        raise ModelNotAskedError("The endpoint went down.")


def calls_kept(inputs: GivenInputs) -> list[int]:
    return inputs.store.frame(
        f"SELECT count(*) FROM {CALLS} WHERE technique = '{PURPOSE}' GROUP BY technique"
    )["count_star()"].to_list()


def test_calls_are_kept_also_where_asking_fails_in_the_end(inputs: GivenInputs) -> None:
    with pytest.raises(ModelNotAskedError):
        ask_twice_in_vain(inputs)
    assert calls_kept(inputs) == [2]


def test_calls_take_the_place_of_those_made_before_for_the_same(inputs: GivenInputs) -> None:
    for calls in (3, 1):
        with inputs.kept_calls(PURPOSE) as language:
            record(language().ledger, calls)
    assert calls_kept(inputs) == [1]


@pytest.mark.parametrize("opens", [False, True])
def test_where_nothing_is_asked_what_was_kept_before_stands(
    inputs: GivenInputs, opens: bool
) -> None:
    with inputs.kept_calls(PURPOSE) as language:
        record(language().ledger, 3)
    with inputs.kept_calls(PURPOSE) as language:
        if opens:
            language()
    assert calls_kept(inputs) == [3]
