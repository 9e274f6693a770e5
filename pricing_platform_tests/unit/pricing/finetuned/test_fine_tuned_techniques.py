"""Both techniques, fitted for real on a tiny base: priced, saved, loaded, refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.language.local.folder import content_sha256
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.finetuned.context import FineTuningContext, LanguageBase
from pricing_platform.pricing.finetuned.fine_tuned_technique import FineTunedTechnique
from pricing_platform.pricing.finetuned.language_finetuned import LanguageFinetuned
from pricing_platform.pricing.finetuned.rag_finetuned import SHOWN, RagFinetuned
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA, Technique
from pricing_platform_tests.unit.finetuning.language.tiny_base import write_tiny_base
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import observed

TECHNIQUES = (LanguageFinetuned, RagFinetuned)
ADAPTERS = AdapterConfiguration(rank=4, alpha=8, adapted_share=1 / 3)
TRAINING = AdapterTraining(learning_rate=2e-3)
ITEMS = observed(generated_items(120))
HISTORY = pl.DataFrame(
    schema={
        "item_id": pl.String,
        "price": pl.Float64,
        "observed_at": pl.Datetime("us", "UTC"),
    }
)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> FineTuningContext:
    folder = write_tiny_base(tmp_path_factory.mktemp("base"))
    cache = tmp_path_factory.mktemp("cache")
    base = LanguageBase("tiny", folder, content_sha256(folder), 20_000.0, cache)
    return FineTuningContext(base, Currency("USD"), 2.0, HISTORY)


@pytest.fixture(scope="module", params=TECHNIQUES, ids=lambda at: at.name)
def fitted(
    request: pytest.FixtureRequest,
    context: FineTuningContext,
    tmp_path_factory: pytest.TempPathFactory,
) -> FineTunedTechnique:
    fit: FineTunedTechnique = request.param.fit(
        ITEMS.split("train"),
        ITEMS.split("validation"),
        seed=1,
        work_folder=tmp_path_factory.mktemp("work"),
        fine_tuning=context,
        adapters=ADAPTERS,
        training=TRAINING,
    )
    return fit


def test_new_items_are_priced_better_than_by_the_median(fitted: FineTunedTechnique) -> None:
    items = ITEMS.split("test")
    priced = fitted.price(items)
    assert priced.schema == ESTIMATE_SCHEMA
    assert priced["item_id"].equals(items.frame["item_id"])
    assert priced["failure"].is_null().all()
    error = np.abs(priced["estimate"].to_numpy() - items.prices()).mean()
    median = np.median(ITEMS.split("train").prices())
    assert error < 0.8 * np.abs(median - items.prices()).mean()
    assert (priced["low"] <= priced["estimate"]).all()
    assert (priced["estimate"] <= priced["high"]).all()
    assert (priced["latency_ms"] > 0).all()
    assert (priced["tokens_in"] > 5).all()


def test_what_is_loaded_and_bound_prices_as_what_was_saved(
    fitted: FineTunedTechnique, context: FineTuningContext, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    loaded = type(fitted).load(tmp_path)
    assert isinstance(loaded, Technique)
    items = ITEMS.split("test")
    with pytest.raises(PlatformError, match="without its base model"):
        loaded.price(items)
    bound = loaded.bound(context)
    assert bound.configuration == fitted.configuration
    assert bound.metrics == fitted.metrics
    same = ("item_id", "estimate", "low", "high", "context_items")
    assert bound.price(items).select(same).equals(fitted.price(items).select(same))


def test_another_base_model_is_refused(
    fitted: FineTunedTechnique, context: FineTuningContext
) -> None:
    other = replace(context, base=replace(context.base, name="other", content_sha256="0" * 64))
    with pytest.raises(PlatformError, match="is now other"):
        fitted.bound(other)


def test_nothing_and_an_empty_text_are_priced_too(fitted: FineTunedTechnique) -> None:
    items = ITEMS.split("test")
    assert fitted.price(items.take([])).schema == ESTIMATE_SCHEMA
    empty = items.frame.head(2).with_columns(text=pl.Series(["", None]), price=None)
    priced = fitted.price(ItemSet(empty, items.embeddings[:2]))
    assert (priced["estimate"] > 0).all()


def test_comparables_are_shown_by_one_technique_alone(fitted: FineTunedTechnique) -> None:
    shown = fitted.price(ITEMS.split("test"))["context_items"]
    expected = SHOWN if isinstance(fitted, RagFinetuned) else 0
    assert shown.unique().to_list() == [expected]


def test_a_price_that_moves_moves_the_estimate_without_a_training(
    context: FineTuningContext, fitted: FineTunedTechnique
) -> None:
    """Every train item is seen at twice its price later on; the products asked about as well."""
    if not isinstance(fitted, RagFinetuned):
        pytest.skip("it reads no prices")
    train, test = ITEMS.split("train"), ITEMS.split("test")
    later = observed(test, days_before_noon=-10)
    history = train.frame.select(
        "item_id", price=2 * pl.col("price"), observed_at=later.frame["price_observed_at"][0]
    ).cast(HISTORY.schema)  # type: ignore[arg-type]
    moved = fitted.bound(replace(context, price_history=history)).price(later)
    before = fitted.price(test)
    ratio = (moved["estimate"] / before["estimate"]).median()
    assert isinstance(ratio, float)
    assert 1.15 < ratio < 2.5
