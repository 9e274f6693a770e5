"""How techniques are fitted on part of the items: budget, cost, and what stands of all items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError
from pricing_platform.evaluation.learning_curve.curve_techniques import (
    CURVE_TECHNIQUES,
    CurveInputs,
)
from pricing_platform.evaluation.learning_curve.plan import CurveTechnique, Existing, plan_points
from pricing_platform.evaluation.learning_curve.points import measured_points
from pricing_platform.finetuning.checkpoints import Manifest, write_checkpoint
from pricing_platform.language.local.folder import content_sha256
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.finetuned.context import FineTuningContext, LanguageBase
from pricing_platform.pricing.finetuned.fine_tuned_technique import Reading, ReadOut
from pricing_platform.pricing.finetuned.language_finetuned import LanguageFinetuned
from pricing_platform.pricing.fitting import EvaluationSample, Fitting, fit, predict
from pricing_platform.progress import silent
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.finetuning.language.tiny_base import write_tiny_base
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import observed

MEASURED_SPEED, SPEED = 1100.0, 1024
"""Tokens a second, and the step that plans round it down to."""

SECONDS = 8.0
TOKENS_AN_ITEM = 32


@pytest.fixture(scope="module")
def items() -> ItemSet:
    """400 items, of them 320 of train and 40 of test."""
    seen = observed(generated_items())
    named = seen.frame.with_columns(content_hash="text", token_count=pl.lit(TOKENS_AN_ITEM))
    return ItemSet(named, seen.embeddings)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> FineTuningContext:
    folder = write_tiny_base(tmp_path_factory.mktemp("base"))
    cache = tmp_path_factory.mktemp("cache")
    history = pl.DataFrame(
        {"item_id": [], "price": [], "observed_at": []},
        schema={"item_id": pl.String, "price": pl.Float64, "observed_at": pl.Datetime("us", "UTC")},
    )
    base = LanguageBase("tiny", folder, content_sha256(folder), MEASURED_SPEED, cache)
    return FineTuningContext(base, Currency("USD"), SECONDS, history)


def not_there() -> FineTuningContext:
    raise ModelNotAskedError("The model is not there.")


def inputs_in(
    folder: Path, fine_tuning: Callable[[], FineTuningContext] = not_there
) -> CurveInputs:
    warehouse = Warehouse(folder / "warehouse.duckdb")
    warehouse.create_schema()
    fitting = Fitting(
        "1", "encoder", lambda: "a model", lambda: "a base", 0, 10_000, folder / "checkpoints"
    )
    return CurveInputs(warehouse, fitting, EvaluationSample(20, 20, 0), fine_tuning)


def named(name: str, inputs: CurveInputs, items: ItemSet) -> CurveTechnique:
    return next(at for at in inputs.techniques(items) if at.name == name)


def fitted_and_predicted(inputs: CurveInputs, items: ItemSet) -> None:
    """The ridge's checkpoint and predictions, as the assets make them."""
    checkpoint, _ = fit("tfidf_ridge", inputs.fitting, lambda: items)
    rows = predict("tfidf_ridge", checkpoint, items)
    inputs.warehouse.replace("evaluation.predictions", rows, partition=("technique", "tfidf_ridge"))


def test_all_techniques_are_there_and_the_sampled_one_is_asked_about_its_sample(
    items: ItemSet, context: FineTuningContext, tmp_path: Path
) -> None:
    techniques = inputs_in(tmp_path, lambda: context).techniques(items)

    assert tuple(at.name for at in techniques) == CURVE_TECHNIQUES
    assert [len(at.asked) for at in techniques] == [40, 40, 40, 20]
    assert [at.seeds for at in techniques] == [3, 3, 1, 1]
    assert len({at.identity for at in techniques}) == 4


def test_the_fit_on_all_items_is_read_and_not_made(items: ItemSet, tmp_path: Path) -> None:
    inputs = inputs_in(tmp_path)
    fitted_and_predicted(inputs, items)

    existing = named("tfidf_ridge", inputs, items).existing

    assert isinstance(existing, Existing)
    assert existing.answers.height == 40
    assert existing.model == "tf-idf, ridge regression"
    assert existing.training_seconds is not None
    assert existing.training_core_seconds is not None
    assert existing.training_core_seconds > 0


def test_what_was_not_fitted_or_not_predicted_says_why(items: ItemSet, tmp_path: Path) -> None:
    inputs = inputs_in(tmp_path)
    assert "no checkpoint of tfidf_ridge" in str(named("tfidf_ridge", inputs, items).existing)

    checkpoint, _ = fit("tfidf_ridge", inputs.fitting, lambda: items)
    assert named("tfidf_ridge", inputs, items).existing == (
        f"the predictions are not of the checkpoint tfidf_ridge/{checkpoint.path.name}"
    )


def test_predictions_of_an_earlier_checkpoint_are_not_taken(items: ItemSet, tmp_path: Path) -> None:
    inputs = inputs_in(tmp_path)
    fitted_and_predicted(inputs, items)
    later = replace(inputs, fitting=replace(inputs.fitting, items_version="2"))
    fit("tfidf_ridge", later.fitting, lambda: items)

    assert "are not of the checkpoint" in str(named("tfidf_ridge", later, items).existing)
    assert later.identity("tfidf_ridge") != inputs.identity("tfidf_ridge")


def test_a_model_that_is_not_there_leaves_the_others(items: ItemSet, tmp_path: Path) -> None:
    inputs = inputs_in(tmp_path)
    unnamed = replace(inputs.fitting, fine_tuned_model=lambda: not_there().base.name)
    language = named("language_finetuned", replace(inputs, fitting=unnamed), items)

    assert language.fit_on is None
    assert language.existing == "The model is not there."
    assert language.identity == "not fitted: The model is not there."
    assert named("stack", inputs, items).fit_on is not None


def test_budgets_are_what_trainings_on_all_items_read(
    items: ItemSet, context: FineTuningContext, tmp_path: Path
) -> None:
    inputs = inputs_in(tmp_path, lambda: context)
    assert named("tfidf_ridge", inputs, items).token_budget is None
    assert named("language_finetuned", inputs, items).token_budget == SECONDS * SPEED
    # One epoch over 320 items of 32 tokens would be more than the budget of all trainings.
    assert named("encoder_finetuned", inputs, items).token_budget == 10_000
    larger = replace(inputs, fitting=replace(inputs.fitting, fine_tuning_tokens=1_000_000))
    assert named("encoder_finetuned", larger, items).token_budget == 6 * 320 * TOKENS_AN_ITEM


def test_a_part_of_the_items_is_trained_on_with_its_share_of_the_seconds(
    items: ItemSet, context: FineTuningContext, tmp_path: Path
) -> None:
    technique = named("language_finetuned", inputs_in(tmp_path, lambda: context), items)
    assert technique.cost.train_item == pytest.approx(SECONDS / 320)
    assert technique.cost.priced_item == pytest.approx(TOKENS_AN_ITEM / SPEED)
    assert technique.fit_on is not None
    train, validation = items.split("train"), items.split("validation")
    fitted = []
    for budget in (1024, 512):
        work = tmp_path / str(budget)
        work.mkdir()
        fitted.append(
            technique.fit_on(
                train.take(range(64)),
                validation,
                seed=1,
                token_budget=budget,
                work_folder=work,
                progress=silent,
            )
        )

    rich, poor = fitted
    assert isinstance(rich, LanguageFinetuned)
    assert isinstance(poor, LanguageFinetuned)
    assert poor.plan.items <= rich.plan.items
    assert poor.plan.items * poor.plan.epochs < rich.plan.items * rich.plan.epochs


def test_the_language_model_has_a_point_on_the_curve(
    items: ItemSet, context: FineTuningContext, tmp_path: Path
) -> None:
    technique = named("language_finetuned", inputs_in(tmp_path, lambda: context), items)
    plan = plan_points([technique], (64,), train_items=320, seconds=1000, seed=1)

    (point,) = measured_points(plan, [technique], items, seed=1, folder=tmp_path)

    assert point.model.startswith("tiny + LoRA")
    assert point.token_budget == round(SECONDS * SPEED * 64 / 320)
    assert set(point.estimates) == set(technique.asked.frame["item_id"])


def test_a_part_is_read_as_the_fit_on_all_items_is(
    items: ItemSet, context: FineTuningContext, tmp_path: Path
) -> None:
    """Else its error would differ by what 16 items choose and by a gate, not by its items alone."""
    inputs = inputs_in(tmp_path, lambda: context)
    before = inputs.identity("language_finetuned")
    train, validation = items.split("train").take(range(64)), items.split("validation")
    work = tmp_path / "work"
    work.mkdir()
    alone = LanguageFinetuned.fit(
        train, validation, seed=1, work_folder=work, fine_tuning=replace(context, seconds=1.0)
    )
    other: ReadOut = "digits" if alone.read_out == "histogram" else "histogram"
    kept_as = alone.read_as(Reading(scale=0.5, read_out=other))
    manifest = Manifest(
        fingerprint=inputs.fitting.fingerprint("language_finetuned"),
        data_hash="",
        configuration=kept_as.configuration,
        seed=1,
    )
    checkpoints = inputs.fitting.checkpoints
    write_checkpoint(checkpoints, "language_finetuned", kept_as.save, manifest)

    technique = named("language_finetuned", inputs, items)
    assert technique.fit_on is not None
    point = technique.fit_on(
        train,
        validation,
        seed=1,
        token_budget=1024,
        work_folder=tmp_path / "point",
        progress=silent,
    )

    assert isinstance(point, LanguageFinetuned)
    assert (point.fitted.scale, point.read_out) == (0.5, other)
    assert point.metrics["validation_items"] == 16
    assert inputs.identity("language_finetuned") != before


def test_without_a_fit_on_all_items_a_part_is_measured_as_that_would_be(
    items: ItemSet, context: FineTuningContext, tmp_path: Path
) -> None:
    inputs = inputs_in(tmp_path, lambda: replace(context, general=None))
    technique = named("language_finetuned", inputs, items)
    assert technique.fit_on is not None
    point = technique.fit_on(
        items.split("train").take(range(64)),
        items.split("validation"),
        seed=1,
        token_budget=512,
        work_folder=tmp_path / "point",
        progress=silent,
    )
    assert isinstance(point, LanguageFinetuned)
    assert point.metrics["validation_items"] == len(items.split("validation")) > 16
