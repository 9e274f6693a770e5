from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from pricing_platform.pricing.reference_rows import NOISE_FLOOR, reference_predictions
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import (
    OBSERVED,
    evaluate,
    metric,
    warehouse_of,
)


def test_a_reference_price_is_that_of_the_same_listing_at_the_same_time(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [100.0, 200.0, 300.0, 400.0],
        {"stack": [150.0, 250.0, 300.0, 300.0]},
        splits=["test", "test", "validation", "train"],
    )
    items = warehouse.frame("SELECT * FROM curated.items")
    reference = pl.DataFrame(
        {
            "source": ["harbour"] * 4 + ["orchard"],
            "listing_id": ["listing-0", "listing-0", "listing-2", "listing-3", "listing-1"],
            "price_observed_at": [OBSERVED, OBSERVED - timedelta(days=28), *[OBSERVED] * 3],
            "reference_price": [90.0, 80.0, 310.0, 410.0, 210.0],
        }
    )

    predictions = reference_predictions(items, reference)

    assert predictions.select("item_id", "split", "estimate").rows() == [
        ("item-0000", "test", 90.0),
        ("item-0002", "validation", 310.0),
    ]
    warehouse.replace("evaluation.predictions", predictions, partition=("technique", NOISE_FLOOR))
    metrics = evaluate(warehouse)
    assert metric(metrics, NOISE_FLOOR, "mae")["value"] == 10
    assert metric(metrics, NOISE_FLOOR, "mae")["items"] == 1
    assert metric(metrics, NOISE_FLOOR, "answered")["value"] == 1


def test_a_source_without_reference_prices_has_no_reference_row(tmp_path: Path) -> None:
    items = warehouse_of(tmp_path, [100.0], {}).frame("SELECT * FROM curated.items")
    reference = pl.DataFrame(
        schema={
            "source": pl.String,
            "listing_id": pl.String,
            "price_observed_at": pl.Datetime("us", "UTC"),
            "reference_price": pl.Float64,
        }
    )

    assert reference_predictions(items, reference).is_empty()
