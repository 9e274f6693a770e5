"""What is timed is the model, not what it answered before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError
from pricing_platform.evaluation.costed_techniques import COSTED_TECHNIQUES, CostedInputs
from pricing_platform.evaluation.inference_cost import (
    CostedTechnique,
    Rates,
    inference_cost,
    timed_sample,
)
from pricing_platform.language.endpoint.costs import TokenPrices
from pricing_platform.language.response_cache import CachedLanguageModel, ResponseCache
from pricing_platform.pricing.finetuned.context import FineTuningContext
from pricing_platform.pricing.fitting import Fitting, fit, predict
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.language.scripted_model import ScriptedModel
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import bound_to, observed


@pytest.fixture(scope="module")
def items() -> ItemSet:
    seen = observed(generated_items(100))
    return ItemSet(seen.frame.with_columns(content_hash="text"), seen.embeddings)


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


def not_there() -> FineTuningContext:
    raise ModelNotAskedError("The model is not there.")


@pytest.fixture
def inputs(model: ScriptedModel, tmp_path: Path) -> CostedInputs:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    warehouse.create_schema()
    weights = tmp_path / "model"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"0" * 1_000_000)
    cached = CachedLanguageModel(model, ResponseCache.from_settings(Settings(home=tmp_path)))
    fitting = Fitting(
        "1", "encoder", lambda: "a model", lambda: "a base", 0, 1, tmp_path / "checkpoints"
    )
    return CostedInputs(
        warehouse, fitting, lambda: bound_to(cached), not_there, lambda: weights, False
    )


def fitted(inputs: CostedInputs, items: ItemSet, name: str) -> CostedTechnique:
    language = inputs.language().of(name)
    checkpoint, _ = fit(name, inputs.fitting, lambda: items, language=lambda: language)
    rows = predict(name, checkpoint, items, language=language)
    inputs.warehouse.replace("evaluation.predictions", rows, partition=("technique", name))
    return next(at for at in inputs.techniques() if at.name == name)


def test_every_estimate_asks_the_model_itself(
    inputs: CostedInputs, items: ItemSet, model: ScriptedModel
) -> None:
    technique = fitted(inputs, items, "prompt_zero_shot")
    sample = timed_sample(items.split("test"), 5, seed=1)
    asked_before = len(model.priced)
    assert asked_before > 0

    rows = inference_cost([technique], sample, single=5, rates=Rates(TokenPrices()))

    assert len(model.priced) - asked_before == 1 + 5 + 10
    assert rows["tokens_in"].to_list() == [10, 10]
    assert rows["model_bytes"].to_list()[0] > 1_000_000


def test_what_was_not_fitted_or_has_no_model_says_why_when_it_is_timed(
    inputs: CostedInputs, items: ItemSet
) -> None:
    sample = timed_sample(items.split("test"), 2, seed=1)
    techniques = [at for at in inputs.techniques() if at.name in ("rag", "language_finetuned")]

    rows = inference_cost(techniques, sample, single=2, rates=Rates(TokenPrices()))

    assert rows["technique"].to_list() == ["rag", "language_finetuned"]
    assert all("no checkpoint of" in at for at in rows["left_out"])


def test_all_techniques_are_costed_and_those_of_prompts_ask(inputs: CostedInputs) -> None:
    techniques = inputs.techniques()
    assert tuple(at.name for at in techniques) == COSTED_TECHNIQUES
    assert [at.name for at in techniques if at.asks] == [
        "prompt_zero_shot",
        "prompt_multi_shot",
        "rag",
    ]


def test_an_endpoint_is_not_asked_again(
    inputs: CostedInputs, items: ItemSet, model: ScriptedModel
) -> None:
    fitted(inputs, items, "prompt_zero_shot")
    elsewhere = replace(inputs, asks_endpoint=True)
    technique = next(at for at in elsewhere.techniques() if at.name == "prompt_zero_shot")
    asked_before = len(model.priced)

    (row,) = inference_cost(
        [technique], items.split("test"), single=2, rates=Rates(TokenPrices(sent=1.0))
    ).rows(named=True)

    assert len(model.priced) == asked_before
    assert (row["source"], row["items"]) == ("answered", len(items.split("test")))
    assert row["usd_per_1000"] == pytest.approx(0.006)  # of ten tokens four were cached


def test_identities_follow_what_the_costs_follow(inputs: CostedInputs, items: ItemSet) -> None:
    missing = inputs.identity("prompt_zero_shot")
    fitted(inputs, items, "prompt_zero_shot")
    there = inputs.identity("prompt_zero_shot")
    elsewhere = replace(inputs, asks_endpoint=True)
    before = elsewhere.identity("prompt_zero_shot")
    rows = inputs.warehouse.frame("SELECT * FROM evaluation.predictions")
    inputs.warehouse.replace(
        "evaluation.predictions",
        rows.with_columns(pl.col("estimate") + 1),
        partition=("technique", "prompt_zero_shot"),
        fingerprint="answered again",
    )

    assert "no checkpoint" in missing
    assert there != missing
    assert inputs.identity("prompt_zero_shot") == there
    assert elsewhere.identity("prompt_zero_shot") != before
