"""From a technique to its checkpoint, also where a language model gives no price."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError, PlatformError
from pricing_platform.finetuning.checkpoints import MANIFEST, unfinished_folder
from pricing_platform.finetuning.hosted.configuration import HostedTraining
from pricing_platform.language.model import PriceAnswer, Prompt
from pricing_platform.pricing.fitting import Fitting, fit, load, predict, training_seconds
from pricing_platform.pricing.registry import LANGUAGE_TECHNIQUES
from pricing_platform.resource_use import USE_FILE
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.language.scripted_model import USAGE, ScriptedModel
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import bound_to, observed


@pytest.fixture(scope="module")
def items() -> ItemSet:
    seen = observed(generated_items(100))
    return ItemSet(seen.frame.with_columns(content_hash="text"), seen.embeddings)


def fitting_in(folder: Path) -> Fitting:
    return Fitting("1", "encoder", lambda: "a model", lambda: "a base", 0, 1, folder)


def prose(_prompt: Prompt) -> PriceAnswer:
    return PriceAnswer(USAGE, text="It depends on its condition.")


@pytest.mark.parametrize("technique", LANGUAGE_TECHNIQUES)
@pytest.mark.parametrize(
    ("model", "failure"),
    [
        (ScriptedModel(prose), "unreadable"),
        (ScriptedModel(context_window=5), "too_long"),
    ],
    ids=["prose", "small window"],
)
def test_a_model_that_prices_nothing_leaves_a_checkpoint_that_says_why_item_by_item(
    technique: str, model: ScriptedModel, failure: str, items: ItemSet, tmp_path: Path
) -> None:
    fitting, language = fitting_in(tmp_path), bound_to(model, technique=technique)

    checkpoint, _ = fit(technique, fitting, lambda: items, language=lambda: language)

    metrics = checkpoint.manifest.metrics
    assert "validation_mae" not in metrics
    assert metrics["validation_failures"] == metrics["validation_items"] > 0
    assert fitting.require(technique).manifest.metrics == metrics
    assert training_seconds(fitting).keys() == {technique}
    rows = predict(technique, checkpoint, items, language=language)
    assert rows["estimate"].is_null().all()
    assert not rows["failure"].str.starts_with("not_asked").any()
    assert load(technique, checkpoint).metrics["validation_items"] == metrics["validation_items"]


def test_a_checkpoint_that_cannot_be_read_hides_no_other(items: ItemSet, tmp_path: Path) -> None:
    fitting = fitting_in(tmp_path)
    for technique in ("category_median", "tfidf_ridge"):
        fit(technique, fitting, lambda: items)
    assert training_seconds(fitting).keys() == {"category_median", "tfidf_ridge"}
    damaged = fitting.require("tfidf_ridge").path / MANIFEST
    damaged.write_text(damaged.read_text().replace('"seed": 0', '"seed": null'))
    assert training_seconds(fitting).keys() == {"category_median"}


def test_a_model_that_is_not_there_hides_no_technique_without_one(
    items: ItemSet, tmp_path: Path
) -> None:
    def nowhere() -> str:
        raise ModelNotAskedError("There is no such folder.")

    fitting = Fitting("1", "encoder", nowhere, nowhere, 0, 1, tmp_path)
    fit("category_median", fitting, lambda: items)
    assert training_seconds(fitting).keys() == {"category_median"}


@pytest.mark.parametrize(
    ("technique", "is_of_a_model"), [("rag", True), ("category_median", False)]
)
def test_a_missing_checkpoint_of_one_that_asks_is_told_as_not_asked(
    technique: str, is_of_a_model: bool, tmp_path: Path
) -> None:
    with pytest.raises(PlatformError, match=f"no checkpoint of {technique}") as error:
        fitting_in(tmp_path).require(technique)
    assert isinstance(error.value, ModelNotAskedError) == is_of_a_model


def test_what_an_endpoint_trains_names_the_setting_that_switches_it_on(tmp_path: Path) -> None:
    with pytest.raises(ModelNotAskedError, match="PRICING_LLM_FINE_TUNING is not set") as error:
        fitting_in(tmp_path).require("endpoint_finetuned")
    assert "PRICING_LLM_FINE_TUNING=true" in error.value.remedy
    switched_on = replace(fitting_in(tmp_path), hosted=HostedTraining("base", 1, 10, tmp_path))
    with pytest.raises(ModelNotAskedError, match="no checkpoint of endpoint_finetuned"):
        switched_on.require("endpoint_finetuned")


def test_prices_over_time_are_part_of_what_is_trained_on_them(tmp_path: Path) -> None:
    before = fitting_in(tmp_path)
    later = replace(before, price_history="another")
    techniques = ("rag_finetuned", "language_finetuned", "stack")
    changed = [at for at in techniques if before.fingerprint(at) != later.fingerprint(at)]
    assert changed == ["rag_finetuned"]


def test_the_version_of_prices_over_time_is_that_of_the_listings(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    warehouse.create_schema()
    settings = Settings(home=tmp_path)

    def current() -> Fitting:
        return Fitting.current(warehouse, "encoder", lambda: "a", lambda: "b", settings)

    before = current().price_history
    assert current().price_history == before
    with warehouse.write() as connection:
        connection.execute("INSERT INTO curated.listings BY NAME (SELECT 'a' AS item_id)")
    warehouse.replace("curated.listings", warehouse.frame("SELECT * FROM curated.listings"))
    assert current().price_history != before


@pytest.mark.parametrize(("left", "counts"), [("state", True), (None, False)])
def test_the_time_of_a_killed_fitting_counts_where_it_is_gone_on_with(
    left: str | None, counts: bool, items: ItemSet, tmp_path: Path
) -> None:
    fitting = fitting_in(tmp_path)
    identity = fitting.fingerprint("category_median")
    work_folder = unfinished_folder(tmp_path, "category_median", identity)
    work_folder.mkdir(parents=True)
    if left:
        (work_folder / left).touch()
    (work_folder / USE_FILE).write_text('{"seconds": 1000, "core_seconds": 2000, "joules": null}')
    checkpoint, _ = fit("category_median", fitting, lambda: items)
    metrics = checkpoint.manifest.metrics
    assert (metrics["training_seconds"] > 1000) is counts
    assert (metrics["training_core_seconds"] > 2000) is counts
    assert not work_folder.exists()
