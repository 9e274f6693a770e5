from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricing_platform.evaluation.metrics import compute_technique_metrics
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import (
    evaluate,
    metric,
    store_predictions,
    warehouse_of,
)


def test_metrics_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    # Errors 10, 45, 40, 0: relative 1.0, 0.45, 0.1, 0.
    warehouse = warehouse_of(
        tmp_path, [10.0, 100.0, 400.0, 50.0], {"stack": [20.0, 145.0, 360.0, 50.0]}
    )

    metrics = evaluate(warehouse)

    expected = {
        "mae": 23.75,
        "smape": (200 * 10 / 30 + 200 * 45 / 245 + 200 * 40 / 760 + 0) / 4,
        "within_20_percent": 0.5,
        "hit_rate": 0.75,  # 10 is below 40; 40 is not, but below 20 % of 400; 45 is neither
        "mae_answered": 23.75,
        "answered": 1.0,
        "r2": 1 - (100 + 2025 + 1600) / np.var([10, 100, 400, 50]) / 4,
        "rmsle": np.sqrt(
            (np.log(21 / 11) ** 2 + np.log(146 / 101) ** 2 + np.log(361 / 401) ** 2) / 4
        ),
    }
    for name, value in expected.items():
        row = metric(metrics, "stack", name)
        assert row["value"] == pytest.approx(value), name
        assert row["items"] == 4
    assert metrics.filter(metric="interval_coverage").is_empty()  # nothing to say, so no row


def test_metrics_agree_with_scikit_learn(tmp_path: Path) -> None:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_log_error

    generator = np.random.default_rng(2)
    prices = np.exp(generator.normal(4, 1, 500))
    estimates = prices * np.exp(generator.normal(0, 0.3, 500))

    metrics = evaluate(warehouse_of(tmp_path, prices.tolist(), {"stack": estimates.tolist()}))

    for name, score in {
        "mae": mean_absolute_error,
        "rmsle": root_mean_squared_log_error,
        "r2": r2_score,
    }.items():
        row = metric(metrics, "stack", name)
        assert row["value"] == pytest.approx(score(prices, estimates), rel=1e-9)
        assert row["low"] < row["value"] < row["high"]


@pytest.mark.parametrize("unusable", [None, 0.0, -3.0, float("nan"), float("inf")])
def test_what_is_no_price_is_a_failure_and_never_scored_as_zero(
    tmp_path: Path, unusable: float | None
) -> None:
    warehouse = warehouse_of(tmp_path, [100.0, 200.0, 300.0], {"stack": [unusable, 210.0, 330.0]})

    metrics = evaluate(warehouse)

    assert metric(metrics, "stack", "answered")["value"] == pytest.approx(2 / 3)
    assert metric(metrics, "stack", "answered")["items"] == 3
    assert metric(metrics, "stack", "mae_answered")["value"] == pytest.approx(20)
    assert metric(metrics, "stack", "mae_answered")["items"] == 2


def test_an_item_without_an_estimate_is_charged_as_category_median_would_have_erred(
    tmp_path: Path,
) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [100.0, 200.0, 300.0],
        {"stack": [None, 210.0, 330.0], "category_median": [170.0, 200.0, 200.0]},
    )

    metrics = evaluate(warehouse)

    for name in ("mae", "mae_common"):
        assert metric(metrics, "stack", name)["value"] == pytest.approx((70 + 10 + 30) / 3)
        assert metric(metrics, "stack", name)["items"] == 3


def test_where_category_median_says_nothing_the_median_of_train_is_charged(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [50.0, 60.0, 90.0, 100.0, 200.0],
        {"stack": [0.0, 0.0, 0.0, None, 210.0], "category_median": [0.0] * 3 + [None, 200.0]},
        splits=["train", "train", "train", "test", "test"],
    )

    metrics = evaluate(warehouse)

    assert metric(metrics, "stack", "mae")["value"] == pytest.approx((40 + 10) / 2)
    assert metric(metrics, "category_median", "mae")["value"] == pytest.approx((40 + 0) / 2)


def test_a_fallback_is_looked_up_even_where_nothing_was_learnt_from(tmp_path: Path) -> None:
    metrics = evaluate(warehouse_of(tmp_path, [100.0, 300.0], {"stack": [None, 300.0]}))

    assert metric(metrics, "stack", "mae")["value"] == pytest.approx((200 - 100) / 2)


def test_an_item_that_a_technique_leaves_out_is_a_failure_too(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [100.0, 200.0], {"stack": [110.0, 220.0]})
    items = warehouse.frame("SELECT * FROM curated.items ORDER BY item_id")
    store_predictions(warehouse, "prompt_zero_shot", items.head(1), [101.0])

    metrics = evaluate(warehouse)

    assert metric(metrics, "prompt_zero_shot", "answered")["value"] == 0.5
    assert metric(metrics, "stack", "answered")["value"] == 1
    reasons = warehouse.frame("SELECT failure FROM evaluation.scored_predictions ORDER BY failure")
    assert reasons["failure"].drop_nulls().to_list() == ["not_priced"]


def test_a_refusal_takes_no_item_out_of_the_common_ones(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [100.0, 100.0, 100.0],
        {"stack": [101.0, 103.0, 180.0], "comparables": [110.0, 104.0, None]},
    )
    items = warehouse.frame("SELECT * FROM curated.items ORDER BY item_id")
    store_predictions(warehouse, "noise_floor", items.head(2), [100.5, None])

    metrics = evaluate(warehouse)

    assert metric(metrics, "stack", "mae_common")["value"] == pytest.approx(28)
    assert metric(metrics, "stack", "mae_common")["items"] == 3  # a reference rules no item out
    assert metric(metrics, "comparables", "mae_common")["value"] == pytest.approx((10 + 4 + 0) / 3)


def test_a_technique_without_any_estimate_has_only_what_it_is_charged(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [100.0, 100.0, 100.0],
        {
            "stack": [101.0, 103.0, 180.0],
            "comparables": [110.0, 104.0, None],
            "rag": [None, None, None],
        },
    )

    metrics = evaluate(warehouse)

    assert metric(metrics, "stack", "mae_common")["items"] == 3
    assert metrics.filter(technique="rag", metric="mae_answered").is_empty()
    assert metric(metrics, "rag", "answered")["value"] == 0


def test_intervals_latency_cost_and_training_time(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [100.0, 200.0, 300.0, 400.0], {})
    items = warehouse.frame("SELECT * FROM curated.items ORDER BY item_id")
    latencies = [1.0, 2.0, 3.0, 10.0]
    store_predictions(
        warehouse,
        "stack",
        items,
        [100.0, 200.0, 300.0, None],
        low=pl.Series([90.0, 210.0, None, 1.0]),
        high=pl.Series([110.0, 250.0, None, 999.0]),
        latency_ms=pl.Series(latencies),
        cost_usd=pl.Series([0.01, 0.02, 0.03, 0.06]),
    )

    metrics = evaluate(warehouse, stack=12.5, comparables=3.0)

    # Of the two estimates with an interval one is right; an interval without estimate is none.
    assert metric(metrics, "stack", "interval_coverage")["value"] == 0.5
    assert metric(metrics, "stack", "interval_coverage")["items"] == 2
    assert metric(metrics, "stack", "interval_width")["value"] == pytest.approx(30)
    assert metric(metrics, "stack", "latency_p50_ms")["value"] == pytest.approx(2.5)
    assert metric(metrics, "stack", "latency_p95_ms")["value"] == pytest.approx(
        np.percentile(latencies, 95)
    )
    assert metric(metrics, "stack", "cost_per_1000_usd")["value"] == pytest.approx(30)
    assert metric(metrics, "stack", "training_seconds")["value"] == 12.5
    assert set(metrics["technique"]) == {"stack"}


def test_tokens_are_means_over_the_items_that_have_some(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [100.0, 200.0, 300.0], {"stack": [100.0, 200.0, 300.0]})
    items = warehouse.frame("SELECT * FROM curated.items ORDER BY item_id")
    store_predictions(
        warehouse,
        "rag",
        items,
        [100.0, None, 300.0],
        tokens_in=pl.Series([100, 300, None]),
        tokens_cached=pl.Series([0, 50, None]),
        tokens_out=pl.Series([1, 2, None]),
    )

    metrics = evaluate(warehouse)

    assert metric(metrics, "rag", "tokens_in")["value"] == 200  # a failure took its tokens, too
    assert metric(metrics, "rag", "tokens_in")["items"] == 2
    assert metric(metrics, "rag", "tokens_cached")["value"] == 25
    assert metric(metrics, "rag", "tokens_out")["value"] == 1.5
    assert metrics.filter(technique="stack", metric="tokens_in").is_empty()


def test_segments_divide_the_items(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [5.0, 10.0, 24.99, 600.0],
        {"stack": [6.0, 12.0, 24.99, 500.0]},
        source=["harbour", "orchard", "orchard", "orchard"],
        category=["rugs", "rugs", "lamps", "lamps"],
    )

    metrics = evaluate(warehouse)

    def mae(segment: str, value: str) -> tuple[float, int]:
        row = metric(metrics, "stack", "mae", segment=segment, segment_value=value)
        return round(row["value"], 9), int(row["items"])

    assert mae("source", "harbour") == (1, 1)
    assert mae("source", "orchard") == (34, 3)
    assert mae("category", "rugs") == (1.5, 2)
    assert mae("price_band", "under 10") == (1, 1)
    assert mae("price_band", "10 to 25") == (1, 2)
    assert mae("price_band", "500 and more") == (100, 1)
    sizes = metrics.filter(metric="mae").group_by("segment").agg(pl.col("items").sum())
    assert set(sizes["items"]) == {4}


def test_one_family_says_nothing_about_how_families_differ(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path, [5.0, 7.0], {"stack": [6.0, 9.0]}, family_id=["family", "family"]
    )

    row = metric(evaluate(warehouse), "stack", "mae")

    assert (row["value"], row["low"], row["high"]) == (1.5, None, None)


def test_the_interval_is_wider_where_families_are_large(tmp_path: Path) -> None:
    generator = np.random.default_rng(8)
    prices = np.repeat(np.exp(generator.normal(4, 0.5, 60)), 5)
    estimates = prices + np.repeat(generator.normal(0, 20, 60), 5)

    def width(folder: str, families: list[str]) -> float:
        warehouse = warehouse_of(
            tmp_path / folder, prices.tolist(), {"stack": estimates.tolist()}, family_id=families
        )
        row = metric(evaluate(warehouse), "stack", "mae")
        return row["high"] - row["low"]

    twins = width("twins", [f"family-{number // 5}" for number in range(300)])
    strangers = width("strangers", [f"family-{number}" for number in range(300)])

    assert twins > 1.7 * strangers  # the square root of five is 2.2


def test_families_are_resampled_whole_in_at_most_ten_thousand_clusters(tmp_path: Path) -> None:
    count = 10_300
    warehouse = warehouse_of(
        tmp_path,
        [100.0] * count,
        {"stack": [101.0] * count},
        family_id=[f"family-{min(number, 10_099):05d}" for number in range(count)],
    )

    (row,) = warehouse.frame(
        "WITH families AS (SELECT family_id, count(DISTINCT cluster) AS clusters,"
        " any_value(cluster) AS cluster FROM evaluation.scored_predictions GROUP BY family_id)"
        " SELECT max(clusters) AS clusters_of_a_family, min(cluster) AS first,"
        " max(cluster) AS last, count(DISTINCT cluster) AS clusters FROM families"
    ).to_dicts()

    assert row == {"clusters_of_a_family": 1, "first": 0, "last": 9999, "clusters": 10_000}


def test_a_prediction_made_on_another_side_of_the_split_does_not_count(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path, [100.0, 200.0], {"stack": [100.0, 210.0]}, splits=["validation", "test"]
    )
    moved = warehouse.frame("SELECT * FROM curated.items").with_columns(split=pl.lit("test"))
    warehouse.replace("curated.items", moved)

    metrics = evaluate(warehouse)

    assert metric(metrics, "stack", "mae_answered")["value"] == 10
    assert metric(metrics, "stack", "answered")["value"] == 0.5


def test_the_same_seed_gives_the_same_table(tmp_path: Path) -> None:
    generator = np.random.default_rng(9)
    prices = np.exp(generator.normal(4, 1, 300))
    estimates = (prices * np.exp(generator.normal(0, 0.3, 300))).tolist()
    warehouse = warehouse_of(tmp_path, prices.tolist(), {"stack": estimates, "ridge": estimates})

    once, again, other = (
        compute_technique_metrics(warehouse, seed=seed, resamples=100) for seed in (1, 1, 2)
    )

    assert once.equals(again)
    assert once["value"].equals(other["value"])
    assert not once["low"].equals(other["low"])
    # The same estimates under two names: paired resamples give the same intervals.
    stack, ridge = (once.filter(technique=name).drop("technique") for name in ("stack", "ridge"))
    assert stack.equals(ridge)


def test_without_predictions_there_are_no_metrics(tmp_path: Path) -> None:
    assert evaluate(warehouse_of(tmp_path, [100.0], {})).is_empty()
