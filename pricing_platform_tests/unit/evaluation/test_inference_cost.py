from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError
from pricing_platform.evaluation.inference_cost import (
    BATCH,
    BREAK_EVEN,
    INFERENCE_COST,
    CostedTechnique,
    Rates,
    break_even,
    inference_cost,
    timed_sample,
)
from pricing_platform.evaluation.pricer import Pricer
from pricing_platform.language.endpoint.costs import TokenPrices
from pricing_platform.pricing.tabular.tfidf_ridge import TfidfRidge
from pricing_platform.progress import Progress, silent
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import ContextPricer
from pricing_platform_tests.unit.pricing.generated_items import generated_items

ITEMS = generated_items(300)
TIMED = timed_sample(ITEMS.split("test"), 24, seed=1)
FREE = Rates(TokenPrices())


@dataclass
class Watched:
    """Prices as another does, and keeps which items it was asked for together."""

    inner: Pricer
    calls: list[list[str]] = field(default_factory=list)

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        self.calls.append(items.frame["item_id"].to_list())
        return self.inner.price(items, progress=progress)


@pytest.fixture(scope="module")
def ridge() -> TfidfRidge:
    return TfidfRidge.fit(ITEMS.split("train"), ITEMS.split("validation"), seed=1)


def costed(name: str, pricer: Pricer, **options: float | bool) -> CostedTechnique:
    return CostedTechnique(name, lambda: pricer, **options)  # type: ignore[arg-type]


def not_there() -> Pricer:
    raise ModelNotAskedError("The model is not there.", "Put it there.")


def rows_of(*techniques: CostedTechnique, single: int = 24, rates: Rates = FREE) -> pl.DataFrame:
    return inference_cost(techniques, TIMED, single=single, rates=rates)


def test_items_are_timed_one_by_one_and_in_batches(ridge: TfidfRidge) -> None:
    watched = Watched(ridge)

    rows = rows_of(costed("tfidf_ridge", watched))

    ids = TIMED.frame["item_id"].to_list()
    assert len(TIMED) == 48
    warm_up, *timed = watched.calls
    assert warm_up == ids[-1:]  # the first estimate loads what is loaded once
    assert timed == [[at] for at in ids[:24]] + [ids[:BATCH], ids[BATCH:]]
    assert rows.select("batch_size", "calls", "items").rows() == [(1, 24, 24), (BATCH, 2, 48)]
    assert (rows["ms_p50"] > 0).all()
    assert (rows["ms_p50"] <= rows["ms_p95"]).all()
    assert rows["ms_p50"][1] < rows["ms_p50"][0]  # together is cheaper
    assert (rows["core_ms"] > 0).all()
    assert (rows["peak_memory_bytes"] > 50_000_000).all()
    assert rows["failures"].to_list() == [0, 0]


def test_tokens_are_those_that_the_technique_tells() -> None:
    rows = rows_of(costed("rag", ContextPricer(5), asks=True))

    assert rows["tokens_in"].to_list() == [350, 350]
    assert rows["tokens_cached"].to_list() == [250, 250]


def test_estimates_that_fail_are_counted() -> None:
    rows = rows_of(costed("rag", ContextPricer(5, failing=0.5), asks=True))
    assert 0 < rows["failures"][1] < 1


@pytest.mark.parametrize(
    ("asks", "rates", "basis"),
    [
        (True, Rates(TokenPrices(2.0, 1.0, 8.0), 3.0), "tokens"),
        (False, Rates(TokenPrices(2.0, 1.0, 8.0), 3.0), "core_time"),
        (True, Rates(TokenPrices(), 3.0), "core_time"),
        (True, FREE, None),
        (False, Rates(TokenPrices(2.0, 1.0, 8.0)), None),
    ],
)
def test_a_thousand_cost_what_their_tokens_or_cores_cost(
    asks: bool, rates: Rates, basis: str | None
) -> None:
    row, _ = rows_of(costed("rag", ContextPricer(5), asks=asks), rates=rates).rows(named=True)

    expected = {
        "tokens": (100 * 2.0 + 250 * 1.0) / 1000,
        "core_time": row["core_ms"] / 3600 * 3.0,
        None: None,
    }
    assert row["usd_basis"] == basis
    assert row["usd_per_1000"] == pytest.approx(expected[basis])


def test_a_model_that_is_not_there_has_a_row_that_says_so(ridge: TfidfRidge) -> None:
    rows = rows_of(CostedTechnique("rag", not_there, asks=True), costed("tfidf_ridge", ridge))

    assert rows["technique"].to_list() == ["rag", "tfidf_ridge", "tfidf_ridge"]
    assert rows["left_out"].to_list() == ["The model is not there.", None, None]
    assert rows["ms_p50"].to_list()[0] is None


def test_an_endpoints_answers_are_not_timed_again() -> None:
    answers = ContextPricer(5).price(ITEMS.split("test")).with_columns(latency_ms=pl.lit(100.0))
    technique = CostedTechnique("rag", not_there, asks=True, answers=answers)

    (row,) = rows_of(technique, rates=Rates(TokenPrices(sent=1.0))).rows(named=True)

    assert (row["source"], row["batch_size"], row["items"]) == ("answered", 1, 60)
    assert (row["ms_p50"], row["ms_p95"], row["core_ms"]) == (100.0, 100.0, None)
    assert row["usd_per_1000"] == pytest.approx(0.1)


def test_fewer_items_than_a_batch_are_one() -> None:
    few = timed_sample(ITEMS.split("test"), 3, seed=1)
    rows = inference_cost([costed("rag", ContextPricer(5))], few, single=3, rates=FREE)
    assert rows.select("calls", "items").rows() == [(3, 3), (1, 6)]


COSTS = pl.DataFrame(
    {
        "technique": ["language_finetuned", "rag", "prompt_multi_shot", "prompt_zero_shot"],
        "batch_size": [1, 1, 1, 1],
        "source": ["timed"] * 4,
        "ms_mean": [100.0, 500.0, 80.0, 1000.0],
        "usd_per_1000": [0.1, 0.6, None, 5.0],
    }
)
TUNED = CostedTechnique(
    "language_finetuned", not_there, training_seconds=240.0, training_core_seconds=360.0
)


def test_training_has_paid_after_what_it_took_over_what_an_estimate_saves() -> None:
    rag, shots = break_even(COSTS, [TUNED], core_hour=10.0).rows(named=True)

    assert (rag["compared_with"], shots["compared_with"]) == ("rag", "prompt_multi_shot")
    assert rag["seconds_saved_per_1000"] == pytest.approx(400)
    assert rag["estimates"] == 600  # 240 s at 0.4 s saved
    assert rag["training_usd"] == pytest.approx(1.0)
    assert rag["estimates_usd"] == 2000  # 1 USD at 0.0005 saved
    assert shots["seconds_saved_per_1000"] == pytest.approx(-20)
    assert (shots["estimates"], shots["estimates_usd"]) == (None, None)


def test_without_a_price_of_cores_training_has_none() -> None:
    (rag, _) = break_even(COSTS, [TUNED]).rows(named=True)
    assert (rag["training_usd"], rag["estimates_usd"]) == (None, None)
    assert rag["estimates"] == 600


def test_seconds_of_an_endpoint_are_not_compared_with_those_here() -> None:
    elsewhere = COSTS.with_columns(
        source=pl.when(technique="rag").then(pl.lit("answered")).otherwise("source")
    )
    rag, _ = break_even(elsewhere, [TUNED], core_hour=10.0).rows(named=True)
    assert (rag["seconds_saved_per_1000"], rag["estimates"]) == (None, None)
    assert rag["estimates_usd"] == 2000


@pytest.mark.parametrize("batch_size", [1, BATCH])
def test_only_batches_of_one_size_are_compared_and_only_what_was_trained(
    batch_size: int,
) -> None:
    costs = COSTS.with_columns(
        batch_size=pl.when(technique="rag").then(batch_size).otherwise("batch_size")
    )
    untrained = CostedTechnique("prompt_zero_shot", not_there)
    paid = break_even(costs, [TUNED, untrained])
    assert set(paid["compared_with"]) == (
        {"prompt_multi_shot", "rag"} if batch_size == 1 else {"prompt_multi_shot"}
    )


def test_the_warehouse_takes_the_rows(ridge: TfidfRidge, tmp_path: Path) -> None:
    techniques = [
        costed("rag", ContextPricer(5), asks=True),
        costed("encoder_finetuned", ridge, training_seconds=3.0),
    ]
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    costs = rows_of(*techniques)
    warehouse.replace_all({INFERENCE_COST: costs, BREAK_EVEN: break_even(costs, techniques)})

    assert warehouse.frame(f"SELECT count(*) FROM {INFERENCE_COST}").item() == 4
    assert warehouse.frame(f"SELECT count(*) FROM {BREAK_EVEN}").item() == 2
    for table in (INFERENCE_COST, BREAK_EVEN):
        assert all(column.description for column in warehouse.columns(table))
