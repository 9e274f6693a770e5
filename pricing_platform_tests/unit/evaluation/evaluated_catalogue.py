"""Small warehouses with items and predictions in them, for the tests of evaluation.

Here belongs how the tests fill tables. What the tables mean stands in ``sql/warehouse``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from pricing_platform.evaluation.comparison import compare_techniques
from pricing_platform.evaluation.metrics import compute_technique_metrics
from pricing_platform.stores.warehouse import Warehouse

OBSERVED = datetime(2026, 3, 1, tzinfo=UTC)
HOSTILE_TITLE = "<script>alert('x')</script> & \"kettle\""


def warehouse_of(
    folder: Path,
    prices: Sequence[float],
    estimates: Mapping[str, Sequence[float | None]],
    *,
    splits: Sequence[str] | None = None,
    **item_columns: Sequence[object],
) -> Warehouse:
    """Item k has price ``prices[k]`` and each technique's k-th estimate; a family of its own."""
    count = len(prices)
    columns: dict[str, Sequence[object]] = {
        "item_id": [f"item-{number:04d}" for number in range(count)],
        "source": ["harbour"] * count,
        "listing_id": [f"listing-{number}" for number in range(count)],
        "title": [f"Product {number}" for number in range(count)],
        "category": ["kettles"] * count,
        "price": prices,
        "currency": ["USD"] * count,
        "price_observed_at": [OBSERVED] * count,
        "family_id": [f"family-{number:04d}" for number in range(count)],
        "split": splits or ["test"] * count,
    }
    items = pl.DataFrame({**columns, **item_columns}, strict=False)
    warehouse = Warehouse(folder / "warehouse.duckdb")
    warehouse.replace("curated.items", items)
    for technique, values in estimates.items():
        store_predictions(warehouse, technique, items, values)
    return warehouse


def store_predictions(
    warehouse: Warehouse,
    technique: str,
    items: pl.DataFrame,
    estimates: Sequence[float | None],
    **columns: object,
) -> None:
    """Replaces a technique's predictions; items of train are left out."""
    rows = items.select("item_id", "split", "price").with_columns(
        pl.Series("estimate", estimates, dtype=pl.Float64),
        technique=pl.lit(technique),
        model=pl.lit(f"the model of {technique}"),
        **{
            name: value if isinstance(value, pl.Series) else pl.lit(value)
            for name, value in columns.items()
        },
    )
    rows = rows.filter(pl.col("split") != "train")
    warehouse.replace("evaluation.predictions", rows, partition=("technique", technique))


def evaluate(warehouse: Warehouse, **training_seconds: float) -> pl.DataFrame:
    """Computes and stores the metrics, with fewer resamples than a user would take."""
    metrics = compute_technique_metrics(
        warehouse, seed=7, resamples=200, training_seconds=training_seconds
    )
    warehouse.replace("evaluation.technique_metrics", metrics)
    return metrics


def metric(
    metrics: pl.DataFrame,
    technique: str,
    name: str,
    *,
    split: str = "test",
    segment: str = "all",
    segment_value: str = "all",
) -> dict[str, float]:
    """The one row of a metric."""
    return metrics.row(
        by_predicate=(pl.col("technique") == technique)
        & (pl.col("metric") == name)
        & (pl.col("split") == split)
        & (pl.col("segment") == segment)
        & (pl.col("segment_value") == segment_value),
        named=True,
    )


def whole_catalogue(folder: Path) -> Warehouse:
    """600 items of two sources through all tables that a report reads: three techniques of known
    skill, a noise floor, failures, refused rows, a price leak and one hostile title."""
    generator = np.random.default_rng(3)
    count = 600
    families = np.sort(generator.integers(0, 400, count))
    prices = np.exp(generator.normal(3.8, 1.0, count)).clip(0.6, 999)
    splits = np.array(["train", "validation", "test"])[families % 3]
    worst = int(np.flatnonzero(splits == "test")[0])
    titles = [f"Product {number}" for number in range(count)]
    titles[worst] = HOSTILE_TITLE
    warehouse = warehouse_of(
        folder,
        prices.tolist(),
        {},
        splits=splits.tolist(),
        family_id=[f"family-{family:04d}" for family in families],
        source=generator.choice(["harbour", "orchard"], count).tolist(),
        category=generator.choice(["kettles", "lamps", "rugs"], count).tolist(),
        title=titles,
    )
    items = warehouse.frame("SELECT * FROM curated.items ORDER BY item_id")
    for technique, noise in {"stack": 0.3, "tfidf_ridge": 0.4, "noise_floor": 0.1}.items():
        estimates = prices * np.exp(generator.normal(0, noise, count))
        if technique == "stack":
            estimates[worst] = prices[worst] + 5000
        store_predictions(
            warehouse,
            technique,
            items,
            estimates.tolist(),
            low=pl.Series(estimates * np.exp(-1.28 * noise)),
            high=pl.Series(estimates * np.exp(1.28 * noise)),
            latency_ms=1.5,
            cost_usd=0.002,
        )
    medians: list[float | None] = [float(np.median(prices))] * count
    medians[worst] = None
    store_predictions(warehouse, "category_median", items, medians, failure="no_such_category")
    _store_curation(warehouse, items)
    evaluate(warehouse, stack=12.0)
    comparison = compare_techniques(warehouse, seed=7, resamples=200, permutations=500)
    warehouse.replace("evaluation.technique_comparison", comparison)
    return warehouse


def _store_curation(warehouse: Warehouse, items: pl.DataFrame) -> None:
    listings = items.select("item_id", "source", "listing_id", "title", "price", "currency")
    earlier = listings.with_columns(
        pl.col("price") * 2, snapshot=pl.lit("2026-02"), observed_at=OBSERVED - timedelta(days=28)
    )
    latest = listings.with_columns(snapshot=pl.lit("2026-03"), observed_at=pl.lit(OBSERVED))
    kept = pl.concat([earlier, latest]).with_row_index("row_number")
    warehouse.replace("curated.listings", kept)
    refused = pl.DataFrame(
        {
            "source": ["harbour", "harbour", "orchard"],
            "snapshot": ["2026-03"] * 3,
            "row_number": [9001, 9002, 9003],
            "rule": ["price_missing", "price_missing", "unreadable"],
            "detail": ["no price", "an empty price", "malformed JSON near <b>"],
        }
    )
    warehouse.replace("curated.rejected_listings", refused)
    rows = pl.concat([kept.select("source", "snapshot"), refused.select("source", "snapshot")])
    snapshots = rows.group_by("source", "snapshot").agg(pl.len().alias("row_count"))
    warehouse.replace("raw.snapshots", snapshots)
    warehouse.replace(
        "curated.price_leaks",
        pl.DataFrame(
            {
                "source": ["orchard"],
                "category": ["lamps"],
                "expression": ["price_per_watt * watts"],
                "attributes": [["price_per_watt"]],
                "row_count": [77],
                "share_explained": [0.987],
            }
        ),
    )
    warehouse.replace(
        "curated.item_families",
        items.select(
            "item_id",
            "family_id",
            "split",
            pl.len().over("family_id").alias("family_size"),
            pl.lit("minhash").alias("evidence"),
        ),
    )
