from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.tabular.blend_weights import Weighting, cross_fitted_average
from pricing_platform.pricing.tabular.category_median import CategoryMedian
from pricing_platform.pricing.tabular.ensemble import Ensemble
from pricing_platform.pricing.tabular.log_price_technique import LogPriceTechnique
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA

COUNT = 300


@pytest.fixture
def families() -> list[str | None]:
    return [f"f{n // 2}" for n in range(COUNT)]


@pytest.fixture
def prices() -> np.ndarray:
    return np.random.default_rng(0).lognormal(3, 1, COUNT)


def test_weights_are_those_that_the_prices_were_made_with(
    prices: np.ndarray, families: list[str | None]
) -> None:
    other = np.random.default_rng(1).lognormal(3, 1, COUNT)
    third = np.random.default_rng(2).lognormal(3, 1, COUNT)
    found = Weighting.fit(
        {"a": prices, "b": other, "c": third}, 0.3 * prices + 0.7 * other, families
    )
    assert found.scale == "price"
    assert found.weights == pytest.approx({"a": 0.3, "b": 0.7}, abs=1e-6)


def test_the_scale_is_the_one_that_suits(prices: np.ndarray, families: list[str | None]) -> None:
    other = np.random.default_rng(1).lognormal(3, 1, COUNT)
    truth = np.expm1(0.5 * np.log1p(prices) + 0.5 * np.log1p(other))
    found = Weighting.fit({"a": prices, "b": other}, truth, families)
    assert found.scale == "log"
    assert found.weights == pytest.approx({"a": 0.5, "b": 0.5}, abs=1e-6)
    np.testing.assert_allclose(found.average({"a": prices, "b": other}), truth)


def test_no_weight_is_negative_and_they_sum_to_one(
    prices: np.ndarray, families: list[str | None]
) -> None:
    noise = np.random.default_rng(1).normal(0, 5, COUNT)
    wrong = np.maximum(prices.max() - prices, 0.1)
    found = Weighting.fit({"good": np.abs(prices + noise), "wrong": wrong}, prices, families)
    assert sum(found.weights.values()) == pytest.approx(1)
    assert min(found.weights.values()) > 0
    assert "wrong" not in found.weights


def test_a_member_without_an_answer_leaves_its_weight_to_the_others() -> None:
    weighting = Weighting("price", {"a": 0.5, "b": 0.5})
    nan = float("nan")
    average = weighting.average({"a": np.array([10.0, nan, nan]), "b": np.array([20.0, 20.0, nan])})
    np.testing.assert_array_equal(average, [15.0, 20.0, nan])


def test_an_item_has_no_say_in_the_weights_of_its_cross_fitted_average(
    prices: np.ndarray, families: list[str | None]
) -> None:
    random = np.random.default_rng(3)
    estimates = {str(n): prices * random.lognormal(0, 0.5, COUNT) for n in range(20)}
    weighting = Weighting.fit(estimates, prices, families)
    average = cross_fitted_average(weighting, estimates, prices, families)
    raised = np.where(np.array(families) == "f7", 10 * prices, prices)
    again = cross_fitted_average(weighting, estimates, raised, families)
    np.testing.assert_array_equal(again[14:16], average[14:16])
    assert (again != average).any()
    in_sample = np.abs(weighting.average(estimates) - prices).mean()
    assert np.abs(average - prices).mean() > in_sample


@pytest.fixture(scope="module")
def ensemble(fitted: dict[str, LogPriceTechnique], validation: ItemSet) -> Ensemble:
    return Ensemble.combining(fitted, validation)


def test_is_measured_on_validation_as_fairly_as_its_members(
    ensemble: Ensemble, fitted: dict[str, LogPriceTechnique], validation: ItemSet
) -> None:
    answers = {name: member.price(validation) for name, member in fitted.items()}
    fair = ensemble.answer_validation(validation, answers)["estimate"].to_numpy()
    error = np.abs(fair - validation.prices()).mean()
    assert ensemble.metrics["validation_mae"] == pytest.approx(error)
    told = ensemble.answer(validation, answers)["estimate"].to_numpy()
    assert np.abs(told - validation.prices()).mean() < error


def test_saved_and_loaded_says_the_same_to_the_last_bit(
    ensemble: Ensemble, test_items: ItemSet, folder: Path
) -> None:
    ensemble.save(folder)
    loaded = Ensemble.load(folder)
    stable = [name for name in ESTIMATE_SCHEMA.names() if name != "latency_ms"]
    assert loaded.price(test_items)[stable].equals(ensemble.price(test_items)[stable])
    assert loaded.model == ensemble.model
    assert {path.name for path in (folder / "members").iterdir()} == set(ensemble.members)


def test_answers_from_given_answers_as_when_it_asks(
    ensemble: Ensemble, test_items: ItemSet
) -> None:
    answers = {name: member.price(test_items) for name, member in ensemble.members.items()}
    given, asked = ensemble.answer(test_items, answers), ensemble.price(test_items)
    assert given.schema == ESTIMATE_SCHEMA
    assert given.drop("latency_ms").equals(asked.drop("latency_ms"))


def test_an_item_that_no_member_prices_is_a_failure_and_never_a_price(
    ensemble: Ensemble, test_items: ItemSet
) -> None:
    unknown = pl.col("item_id") == test_items.frame["item_id"][0]
    answers = {
        name: member.price(test_items).with_columns(
            estimate=pl.when(unknown).then(None).otherwise("estimate"), cost_usd=0.25
        )
        for name, member in ensemble.members.items()
    }
    frame = ensemble.answer(test_items, answers)
    assert frame.select("estimate", "low", "high").row(0) == (None, None, None)
    assert frame["failure"][0] == "no member of the ensemble has an estimate"
    assert frame["failure"][1:].null_count() == frame.height - 1
    assert frame["cost_usd"].to_list() == [0.25 * len(ensemble.members)] * frame.height


def test_combining_only_one_member_gives_that_member(
    train: ItemSet, validation: ItemSet, test_items: ItemSet
) -> None:
    member = CategoryMedian.fit(train, validation, seed=1)
    ensemble = Ensemble.combining({"category_median": member}, validation)
    np.testing.assert_allclose(
        ensemble.price(test_items)["estimate"], member.price(test_items)["estimate"]
    )
