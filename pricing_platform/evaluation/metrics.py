"""What the predictions are worth: metrics by technique, split and segment, with intervals.

SQL joins and scores the predictions (``evaluation.scored_predictions``) and sums them by family;
numpy turns sums into metrics, once for the value and once for every resample. Here belong the
metrics' definitions. How families are resampled belongs to ``resampling``, who leads to
``leaderboard``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from pricing_platform.evaluation.resampling import (
    FamilySums,
    Floats,
    percentile_interval,
    resampled_sums,
)
from pricing_platform.stores.warehouse import Warehouse

METRICS_VERSION = "1"
"""Of the metrics' definitions: another version, other numbers from the same predictions."""

METRICS_SCHEMA = pl.Schema(
    {
        "technique": pl.String,
        "split": pl.String,
        "segment": pl.String,
        "segment_value": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "items": pl.Int64,
    }
)

_SUMS = {
    "items": "count(*)",
    "failures": "count(*) - count(estimate)",
    "priced": "count(estimate)",
    "absolute_error": "sum(absolute_error ORDER BY item_id)",
    "squared_error": "sum(absolute_error * absolute_error ORDER BY item_id)",
    "squared_log_error": "sum(log_error * log_error ORDER BY item_id)",
    "smape": "sum(smape ORDER BY item_id)",
    "within_20_percent": "count(*) FILTER (is_within_20_percent)",
    "hits": "count(*) FILTER (is_hit)",
    "price": "sum(price ORDER BY item_id) FILTER (estimate IS NOT NULL)",
    "squared_price": "sum(price * price ORDER BY item_id) FILTER (estimate IS NOT NULL)",
    "common": "count(absolute_error) FILTER (is_priced_by_all)",
    "common_error": "sum(absolute_error ORDER BY item_id) FILTER (is_priced_by_all)",
    "intervals": "count(is_covered)",
    "covered": "count(*) FILTER (is_covered)",
    "interval_width": "sum(high - low ORDER BY item_id) FILTER (is_covered IS NOT NULL)",
    "costed": "count(cost_usd)",
    "cost_usd": "sum(cost_usd ORDER BY item_id)",
}
"""The sums from which every metric but the percentiles follows. Ordered, so that a sum of floating
point numbers is the same in every run."""

_COUNTED_BY = {
    "mae": "priced",
    "mae_common": "common",
    "rmsle": "priced",
    "smape": "priced",
    "within_20_percent": "priced",
    "r2": "priced",
    "hit_rate": "priced",
    "failures": "items",
    "interval_coverage": "intervals",
    "interval_width": "intervals",
    "cost_per_1000_usd": "costed",
}
"""Metric -> the sum that says how many items it is over."""

_SEGMENTS = """
    CASE grouping(source, category, price_band)
        WHEN 7 THEN 'all' WHEN 3 THEN 'source' WHEN 5 THEN 'category' ELSE 'price_band'
    END AS segment,
    coalesce(source, category, price_band, 'all') AS segment_value"""

_FAMILY_SUMS = f"""
    WITH family_sums AS (
        SELECT technique, split, family_id, {_SEGMENTS},
            {", ".join(f'{expression} AS "sum_{name}"' for name, expression in _SUMS.items())}
        FROM evaluation.scored_predictions
        GROUP BY GROUPING SETS (
            (technique, split, family_id), (technique, split, family_id, source),
            (technique, split, family_id, category), (technique, split, family_id, price_band))
    )
    SELECT *, dense_rank() OVER (PARTITION BY split ORDER BY family_id) - 1 AS family
    FROM family_sums
    ORDER BY technique, split, segment, segment_value, family
"""

_LATENCIES = f"""
    SELECT technique, split, {_SEGMENTS}, count(latency_ms) AS items,
        quantile_cont(latency_ms, 0.5) AS latency_p50_ms,
        quantile_cont(latency_ms, 0.95) AS latency_p95_ms
    FROM evaluation.scored_predictions
    WHERE latency_ms IS NOT NULL
    GROUP BY GROUPING SETS (
        (technique, split), (technique, split, source), (technique, split, category),
        (technique, split, price_band))
"""


def compute_technique_metrics(
    warehouse: Warehouse,
    *,
    seed: int,
    resamples: int = 1000,
    training_seconds: Mapping[str, float] | None = None,
) -> pl.DataFrame:
    """Rows for ``evaluation.technique_metrics``, from the predictions and items in the warehouse.

    Errors are over the items with an estimate; items without one count in ``failures`` and nowhere
    as a price of 0. ``mae_common`` is over the items that all techniques priced, and so compares
    techniques that failed on different ones. ``hit_rate`` is the share of "green" estimates of
    Donner's ``Tester`` (ed-donner/llm_engineering, week7/util.py): less than 40 off, or less than
    20 % of the price. Intervals are 95 % percentile intervals of a bootstrap over families; all
    techniques share the resamples. Percentiles of latency and training time have none.

    Args:
        warehouse: holds ``evaluation.predictions`` and ``curated.items``.
        seed: of the resamples.
        resamples: how many.
        training_seconds: by technique; one that is absent gets no such row.
    """
    latencies = warehouse.frame(_LATENCIES).unpivot(
        ["latency_p50_ms", "latency_p95_ms"],
        index=["technique", "split", "segment", "segment_value", "items"],
        variable_name="metric",
    )
    with warehouse.staging_folder() as folder:
        path = folder / "family_sums.parquet"
        with warehouse.read() as connection:
            connection.sql(_FAMILY_SUMS).write_parquet(str(path))
        bootstrapped = list(_bootstrapped_frames(path, seed=seed, resamples=resamples))
    frames = [latencies, *bootstrapped]
    evaluated = pl.concat(frames, how="diagonal_relaxed").select("technique", "split").unique()
    frames.append(_training_rows(evaluated, training_seconds or {}))
    return (
        pl.concat([METRICS_SCHEMA.to_frame(), *frames], how="diagonal_relaxed")
        .with_columns(pl.col("value", "low", "high").fill_nan(None))
        .drop_nulls("value")
        .sort("technique", "split", "segment", "segment_value", "metric")
    )


def metrics_of_sums(sums: Floats) -> dict[str, Floats]:
    """Metrics from sums of shape (n, sums): each of shape (n,), NaN where it is over no items."""
    of = {name: sums[:, column] for column, name in enumerate(_SUMS)}
    with np.errstate(divide="ignore", invalid="ignore"):
        variation = of["squared_price"] - of["price"] ** 2 / of["priced"]
        return {
            "mae": of["absolute_error"] / of["priced"],
            "mae_common": of["common_error"] / of["common"],
            "rmsle": np.sqrt(of["squared_log_error"] / of["priced"]),
            "smape": of["smape"] / of["priced"],
            "within_20_percent": of["within_20_percent"] / of["priced"],
            "r2": np.where(variation > 0, 1 - of["squared_error"] / variation, np.nan),
            "hit_rate": of["hits"] / of["priced"],
            "failures": of["failures"] / of["items"],
            "interval_coverage": of["covered"] / of["intervals"],
            "interval_width": of["interval_width"] / of["intervals"],
            "cost_per_1000_usd": 1000 * of["cost_usd"] / of["costed"],
        }


def _bootstrapped_frames(path: Path, *, seed: int, resamples: int) -> Iterator[pl.DataFrame]:
    """The metrics of one technique and split at a time, so that only its sums are in memory."""
    staged = pl.scan_parquet(path)
    families = staged.group_by("split").agg(pl.col("family").max() + 1).collect()
    sizes = dict(families.iter_rows())
    evaluated = staged.select("technique", "split").unique().collect().sort("technique", "split")
    for technique, split in evaluated.iter_rows():
        rows = staged.filter(technique=technique, split=split).collect()
        parts = rows.partition_by("segment", "segment_value", maintain_order=True)
        yield _frame_of_parts(parts, families=sizes[split], seed=seed, resamples=resamples)


def _frame_of_parts(
    parts: Sequence[pl.DataFrame], *, families: int, seed: int, resamples: int
) -> pl.DataFrame:
    columns = [f"sum_{name}" for name in _SUMS]
    groups = [
        FamilySums(
            part["family"].to_numpy().astype(np.int64),
            part.select(pl.col(columns).cast(pl.Float64).fill_null(0)).to_numpy(),
        )
        for part in parts
    ]
    resampled = resampled_sums(groups, families=families, resamples=resamples, seed=seed)
    rows = [
        {**part.row(0, named=True), **metric}
        for part, group, sums in zip(parts, groups, resampled, strict=True)
        for metric in _metric_rows(group, sums)
    ]
    return pl.DataFrame(rows, schema=METRICS_SCHEMA)


def _metric_rows(group: FamilySums, resampled: Floats) -> Iterator[dict[str, object]]:
    total = group.sums.sum(axis=0, keepdims=True)
    counts = dict(zip(_SUMS, total[0], strict=True))
    spread = metrics_of_sums(resampled)
    for metric, value in metrics_of_sums(total).items():
        low = high = float("nan")
        if len(group.index) > 1:  # one family says nothing about how families differ
            low, high = percentile_interval(spread[metric])
        yield {
            "metric": metric,
            "value": float(value[0]),
            "low": low,
            "high": high,
            "items": int(counts[_COUNTED_BY[metric]]),
        }


def _training_rows(evaluated: pl.DataFrame, training_seconds: Mapping[str, float]) -> pl.DataFrame:
    return evaluated.filter(pl.col("technique").is_in(list(training_seconds))).with_columns(
        segment=pl.lit("all"),
        segment_value=pl.lit("all"),
        metric=pl.lit("training_seconds"),
        value=pl.col("technique").replace_strict(
            dict(training_seconds), return_dtype=pl.Float64, default=None
        ),
    )
