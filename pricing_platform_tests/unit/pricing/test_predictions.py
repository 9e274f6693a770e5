"""When a technique that asks a language model is asked again, and what stands where it can't be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError, PlatformError
from pricing_platform.language.calls import CallLedger
from pricing_platform.language.model import Outcome, PriceAnswer, Prompt
from pricing_platform.pricing import predictions
from pricing_platform.pricing.finetuned.context import FineTuningContext
from pricing_platform.pricing.fitting import EvaluationSample, Fitting, fit, predict, unpriced_items
from pricing_platform.pricing.predictions import (
    ASKED_ITEMS,
    CALLS,
    PREDICTIONS,
    PredictionMaker,
    not_asked,
)
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.language.scripted_model import USAGE, ScriptedModel
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import bound_to, observed

TECHNIQUE = "prompt_zero_shot"
ALL = EvaluationSample("all", "all", 1)
FEW = EvaluationSample(validation=5, test=7, seed=1)


def not_needed() -> FineTuningContext:
    raise AssertionError("nothing here is fine-tuned")


@dataclass
class Asked:
    """A small catalogue, and a model whose answers' outcome can be changed."""

    warehouse: Warehouse
    items: ItemSet
    checkpoints: Path
    outcome: Outcome = "answered"
    model_name: str = "one"
    told: str = "1"
    is_down: bool = False
    let_down_once: bool = False
    sample: EvaluationSample = ALL

    def __post_init__(self) -> None:
        self.model = ScriptedModel(self._price)

    def _price(self, prompt: Prompt) -> PriceAnswer:
        if self.is_down and len(self.model.priced) and prompt is not self.model.priced[-1]:
            raise PlatformError("The endpoint is down.", "Start it.")
        if self.let_down_once:
            self.let_down_once = False
            return PriceAnswer(USAGE, outcome="rate_limited", reason="too many")
        text = "42" if self.outcome == "answered" else None
        return PriceAnswer(USAGE, text=text, outcome=self.outcome, reason="a reason")

    @property
    def fitting(self) -> Fitting:
        return Fitting(
            "1", "encoder", lambda: self.model_name, lambda: "a base", 0, 1, self.checkpoints
        )

    def fit(self) -> None:
        fit(TECHNIQUE, self.fitting, lambda: self.items, language=lambda: bound_to(self.model))

    def maker(self) -> PredictionMaker:
        return PredictionMaker(
            self.warehouse,
            self.fitting,
            lambda: self.items,
            references=pl.DataFrame,
            language=lambda: bound_to(self.model),
            fine_tuning=not_needed,
            told_version=lambda: self.told,
            sample=self.sample,
        )

    def fail_for(self, purpose: str) -> None:
        """Records a call for this that failed for a reason that may have passed."""
        ledger = CallLedger(purpose, "scripted")
        ledger.record(Prompt(()), PriceAnswer(USAGE, outcome="timed_out", reason="a reason"))
        state = self.warehouse.state(CALLS, purpose)
        self.warehouse.replace(
            CALLS,
            ledger.frame(),
            partition=("technique", purpose),
            fingerprint=state.fingerprint if state else "",
        )

    def priced(self, split: str) -> list[str]:
        """The items of the split that the technique has a row for, in order."""
        query = f"SELECT item_id FROM {PREDICTIONS} WHERE technique = ? AND split = ? ORDER BY ALL"
        return self.warehouse.frame(query, [TECHNIQUE, split])["item_id"].to_list()

    def all_items(self, split: str) -> list[str]:
        """All items of the split, in order."""
        return self.items.split(split).frame["item_id"].sort().to_list()

    def count(self, query: str) -> int:
        return int(self.warehouse.frame(query).item())


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    seen = observed(generated_items(200))
    items = ItemSet(seen.frame.with_columns(content_hash="text"), seen.embeddings)
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    warehouse.create_schema()
    return Asked(warehouse, items, tmp_path / "checkpoints")


def test_what_was_answered_is_asked_once(asked: Asked) -> None:
    asked.fit()
    assert not asked.maker().refresh(TECHNIQUE).reused
    assert asked.maker().refresh(TECHNIQUE).reused
    rows = asked.count(f"SELECT count(*) FROM {PREDICTIONS} WHERE estimate = 42")
    assert rows == asked.count(f"SELECT count(*) FROM {CALLS} WHERE technique = '{TECHNIQUE}'") > 0


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda asked: setattr(asked, "told", "2"), True),
        (lambda asked: asked.fail_for(f"fitting/{TECHNIQUE}"), False),
        (lambda asked: asked.fail_for(TECHNIQUE), True),
    ],
)
def test_what_it_is_told_and_its_own_failed_calls_make_it_ask_again(
    asked: Asked, change: Callable[[Asked], None], again: bool
) -> None:
    asked.fit()
    asked.maker().refresh(TECHNIQUE)
    change(asked)
    assert asked.maker().refresh(TECHNIQUE).reused != again


def test_another_model_needs_another_checkpoint(asked: Asked) -> None:
    asked.fit()
    asked.model_name = "two"
    with pytest.raises(PlatformError, match="no checkpoint of prompt_zero_shot"):
        asked.maker().refresh(TECHNIQUE)


@pytest.mark.parametrize(
    ("outcome", "reused"), [("timed_out", False), ("server_error", False), ("refused", True)]
)
def test_a_failure_that_may_have_passed_is_asked_again(
    asked: Asked, outcome: Outcome, reused: bool
) -> None:
    asked.fit()
    asked.outcome = outcome
    asked.maker().refresh(TECHNIQUE)
    assert asked.count(f"SELECT count(estimate) FROM {PREDICTIONS}") == 0
    assert asked.maker().refresh(TECHNIQUE).reused == reused


def test_a_model_that_cannot_be_asked_leaves_rows_that_say_so(asked: Asked) -> None:
    asked.fit()
    error = ModelNotAskedError("The endpoint does not answer.", "Start it.")
    asked.maker().record_failure(TECHNIQUE, error)
    evaluated = asked.items.frame.filter(pl.col("split") != "train").height
    failed = f"SELECT count(*) FROM {PREDICTIONS} WHERE failure LIKE 'not_asked: The endpoint%'"
    assert asked.count(failed) == evaluated
    assert asked.count(f"SELECT count(estimate) FROM {PREDICTIONS}") == 0
    assert not asked.maker().refresh(TECHNIQUE).reused
    assert asked.count(failed) == 0


def test_rows_that_are_current_stand_when_asking_again_fails(asked: Asked) -> None:
    asked.fit()
    asked.let_down_once = True
    asked.maker().refresh(TECHNIQUE)
    priced = f"SELECT count(estimate) FROM {PREDICTIONS}"
    evaluated = asked.items.frame.filter(pl.col("split") != "train").height
    assert asked.count(priced) == evaluated - 1
    asked.is_down = True

    with pytest.raises(ModelNotAskedError, match="is down") as error:
        asked.maker().refresh(TECHNIQUE)
    assert asked.maker().record_failure(TECHNIQUE, error.value).reused

    assert asked.count(priced) == evaluated - 1
    assert not_asked(asked.warehouse) == {}
    assert asked.count(f"SELECT count(DISTINCT item_id) FROM {CALLS}") == evaluated
    asked.is_down = False
    assert not asked.maker().refresh(TECHNIQUE).reused
    assert asked.count(priced) == evaluated
    assert asked.count(f"SELECT count(*) FROM {CALLS}") == evaluated


def test_rows_of_other_inputs_give_way_when_the_model_is_down(asked: Asked) -> None:
    asked.fit()
    asked.maker().refresh(TECHNIQUE)
    asked.is_down, asked.told = True, "2"
    with pytest.raises(ModelNotAskedError) as error:
        asked.maker().refresh(TECHNIQUE)
    asked.maker().record_failure(TECHNIQUE, error.value)
    assert asked.count(f"SELECT count(estimate) FROM {PREDICTIONS}") == 0
    assert not_asked(asked.warehouse) == {TECHNIQUE: "The endpoint is down."}


def test_what_is_not_the_models_fault_is_not_told_as_that(asked: Asked) -> None:
    asked.fit()
    checkpoint = asked.fitting.require(TECHNIQUE).path
    (checkpoint / "language.json").write_text("{}")
    with pytest.raises(PlatformError, match="is damaged") as error:
        asked.maker().refresh(TECHNIQUE)
    assert not isinstance(error.value, ModelNotAskedError)


def test_a_technique_with_a_language_model_prices_its_sample_and_nothing_else(asked: Asked) -> None:
    asked.fit()
    asked.sample = FEW
    asked.maker().refresh(TECHNIQUE)

    for split, most in (("validation", 5), ("test", 7)):
        assert len(asked.priced(split)) == most < len(asked.all_items(split))
    recorded = asked.warehouse.frame(f"SELECT item_id FROM {ASKED_ITEMS} ORDER BY item_id")
    priced = [*asked.priced("validation"), *asked.priced("test")]
    assert recorded["item_id"].to_list() == sorted(priced)
    assert asked.count(f"SELECT count(*) FROM {CALLS} WHERE technique = '{TECHNIQUE}'") == 12


@pytest.mark.parametrize(
    ("other", "again"),
    [
        (FEW, False),
        (EvaluationSample(5, 8, 1), True),
        (EvaluationSample(6, 7, 1), True),
        (EvaluationSample(5, 7, 2), True),
        (EvaluationSample("all", 7, 1), True),
    ],
)
def test_another_sample_is_asked_about_anew(
    asked: Asked, other: EvaluationSample, again: bool
) -> None:
    asked.fit()
    asked.sample = FEW
    asked.maker().refresh(TECHNIQUE)
    asked.sample = other
    assert asked.maker().refresh(TECHNIQUE).reused != again


def test_asked_about_all_it_prices_all(asked: Asked) -> None:
    asked.fit()
    asked.sample = FEW
    asked.maker().refresh(TECHNIQUE)
    asked.sample = EvaluationSample(5, "all", 1)
    asked.maker().refresh(TECHNIQUE)
    assert len(asked.priced("validation")) == 5
    assert asked.priced("test") == asked.all_items("test")


def test_one_without_a_language_model_prices_all_whatever_the_sample(asked: Asked) -> None:
    asked.sample = FEW
    fit("category_median", asked.fitting, lambda: asked.items)
    asked.maker().refresh("category_median")
    evaluated = len(asked.all_items("validation")) + len(asked.all_items("test"))
    assert asked.count(f"SELECT count(*) FROM {PREDICTIONS}") == evaluated
    assert asked.count(f"SELECT count(*) FROM {ASKED_ITEMS}") == 0


def test_a_model_that_cannot_be_asked_fails_on_its_sample_alone(asked: Asked) -> None:
    asked.fit()
    asked.sample = FEW
    asked.maker().record_failure(TECHNIQUE, ModelNotAskedError("The endpoint does not answer."))
    assert (len(asked.priced("validation")), len(asked.priced("test"))) == (5, 7)
    assert asked.count(f"SELECT count(*) FROM {ASKED_ITEMS}") == 12


def test_an_item_of_the_sample_that_comes_back_without_a_row_is_a_failure(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked is told by the sample, so a technique can't leave out what is hard."""
    asked.fit()
    asked.sample = FEW
    asked.warehouse.replace("curated.items", asked.items.frame.drop("attributes"))
    monkeypatch.setattr(
        predictions, "predict", lambda *given, **named: predict(*given, **named).sort("item_id")[1:]
    )
    asked.maker().refresh(TECHNIQUE)

    missing = unpriced_items(asked.warehouse, [TECHNIQUE])
    assert missing["rows"].to_list() == [0]
    scored = asked.warehouse.frame("SELECT item_id, failure FROM evaluation.scored_predictions")
    assert scored.height == 12
    failed = scored.drop_nulls("failure")
    assert failed.rows() == [(missing["item_id"].item(), "not_priced")]
