"""What every technique promises, asked of each of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.pricing.registry import TECHNIQUES, technique_class, technique_names
from pricing_platform.pricing.tabular.log_price_technique import LogPriceTechnique
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA, Technique
from pricing_platform_tests.unit.pricing.generated_items import plain_texts

NAMES = ["category_median", "tfidf_ridge", "comparables", "stack", "learned_comparables"]
STABLE = [name for name in ESTIMATE_SCHEMA.names() if name != "latency_ms"]


def mean_error(technique: Technique, items: ItemSet) -> float:
    return float(np.abs(technique.price(items)["estimate"].to_numpy() - items.prices()).mean())


@pytest.mark.parametrize("name", NAMES)
def test_answers_every_item_in_order_with_an_interval_around_the_estimate(
    name: str, fitted: dict[str, LogPriceTechnique], test_items: ItemSet
) -> None:
    answers = fitted[name].price(test_items)
    assert answers.schema == ESTIMATE_SCHEMA
    assert answers["item_id"].to_list() == test_items.frame["item_id"].to_list()
    assert answers["failure"].null_count() == len(test_items)
    assert (answers["low"] <= answers["estimate"]).all()
    assert (answers["estimate"] <= answers["high"]).all()
    assert answers["estimate"].min() > 0  # type: ignore[operator]


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_says_the_same_to_the_last_bit(
    name: str, fitted: dict[str, LogPriceTechnique], test_items: ItemSet, folder: Path
) -> None:
    technique = fitted[name]
    assert isinstance(technique, Technique)
    technique.save(folder)
    loaded = technique_class(name).load(folder)
    assert loaded.price(test_items)[STABLE].equals(technique.price(test_items)[STABLE])
    assert loaded.metrics == technique.metrics
    assert loaded.configuration == technique.configuration
    allowed = {".json", ".safetensors", ".txt"}
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= allowed


@pytest.mark.parametrize("name", NAMES)
def test_prices_plain_texts_of_which_nothing_else_is_known(
    name: str, fitted: dict[str, LogPriceTechnique]
) -> None:
    texts = ["Corva C9999 drive\ncapacity: 2000 GB\nfinish: gold", "", "nothing like it at all 7"]
    answers = fitted[name].price(plain_texts(texts))
    assert answers["estimate"].is_finite().all()
    one = fitted[name].price(plain_texts(texts[:1]))
    assert one["estimate"][0] == pytest.approx(answers["estimate"][0], rel=1e-4)
    assert fitted[name].price(plain_texts([])).height == 0


@pytest.mark.parametrize("name", NAMES)
def test_prices_items_with_categories_and_brands_never_seen(
    name: str, fitted: dict[str, LogPriceTechnique], test_items: ItemSet
) -> None:
    strange = test_items.frame.with_columns(
        source=pl.lit("elsewhere"), category=pl.lit("hovercraft"), brand=pl.lit("Nobody")
    )
    answers = fitted[name].price(ItemSet(strange, test_items.embeddings))
    assert answers["estimate"].is_finite().all()


@pytest.mark.parametrize("name", ["tfidf_ridge", "comparables", "stack", "learned_comparables"])
def test_reads_more_out_of_an_item_than_its_category(
    name: str, fitted: dict[str, LogPriceTechnique], test_items: ItemSet
) -> None:
    floor = mean_error(fitted["category_median"], test_items)
    assert mean_error(fitted[name], test_items) < 0.8 * floor


@pytest.mark.parametrize("name", ["stack", "learned_comparables"])
def test_the_same_seed_fits_the_same(
    name: str,
    fitted: dict[str, LogPriceTechnique],
    train: ItemSet,
    validation: ItemSet,
    test_items: ItemSet,
) -> None:
    technique = fitted[name]
    settings = (
        {} if name == "stack" else {"sizes": technique.sizes, "schedule": technique.schedule}  # type: ignore[attr-defined]
    )
    again = type(technique).fit(train, validation, seed=1, **settings)  # type: ignore[attr-defined]
    assert again.price(test_items)[STABLE].equals(technique.price(test_items)[STABLE])


def test_ten_thousand_rows_at_once(
    fitted: dict[str, LogPriceTechnique], test_items: ItemSet
) -> None:
    times = 10_000 // len(test_items) + 1
    many = ItemSet(
        pl.concat([test_items.frame] * times), np.tile(test_items.embeddings, (times, 1))
    )
    few = fitted["comparables"].price(test_items)["estimate"]
    answers = fitted["comparables"].price(many)["estimate"]
    assert len(answers) >= 10_000
    assert answers[-len(few) :].to_numpy() == pytest.approx(few.to_numpy(), rel=1e-4)


def test_listing_the_techniques_imports_none_of_them() -> None:
    code = (
        "import sys; from pricing_platform.pricing.registry import technique_names;"
        "names = technique_names(); heavy = {'torch', 'sklearn', 'lightgbm', 'scipy'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules); print(names[-1])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "ensemble"


def test_every_registered_technique_has_its_own_name() -> None:
    assert technique_names()[-1] == "ensemble"
    for name in TECHNIQUES:
        assert technique_class(name).name == name


def test_an_unknown_technique_is_told_for_people() -> None:
    with pytest.raises(PlatformError, match=r"no technique named 'oracle'.*\n.*stack"):
        technique_class("oracle")
