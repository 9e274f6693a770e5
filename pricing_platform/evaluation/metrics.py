"""What the predictions are worth: metrics by technique, split and segment, with intervals.

SQL joins and scores the predictions (``evaluation.scored_predictions``); numpy adds them up by
family and turns sums into metrics, once for the value and once for every resample. Here belong the
metrics' definitions. How families are resampled belongs to ``resampling``, who leads to
``leaderboard``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from pricing_platform.resampling import (
    ClusterSums,
    Floats,
    percentile_interval,
    resampled_sums,
)
from pricing_platform.stores.warehouse import Warehouse

METRICS_VERSION = "6"
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

_STATISTICS = {
    "items": "1",
    "answered": "estimate IS NOT NULL",
    "charged_error": "charged_error",
    "absolute_error": "absolute_error",
    "squared_error": "absolute_error * absolute_error",
    "squared_log_error": "log_error * log_error",
    "smape": "smape",
    "within_20_percent": "is_within_20_percent",
    "hits": "is_hit",
    "price": "CASE WHEN estimate IS NOT NULL THEN price END",
    "squared_price": "CASE WHEN estimate IS NOT NULL THEN price * price END",
    "common": "is_asked_of_all",
    "common_error": "CASE WHEN is_asked_of_all THEN charged_error END",
    "intervals": "is_covered IS NOT NULL",
    "covered": "is_covered",
    "interval_width": "CASE WHEN is_covered IS NOT NULL THEN high - low END",
    "counted": "tokens_in IS NOT NULL",
    "tokens_in": "tokens_in",
    "tokens_cached": "tokens_cached",
    "tokens_out": "tokens_out",
    "costed": "cost_usd IS NOT NULL",
    "cost_usd": "cost_usd",
}
"""By item; from their sums every metric but the percentiles follows."""

_COUNTED_BY = {
    "mae": "items",
    "mae_answered": "answered",
    "mae_common": "common",
    "answered": "items",
    "rmsle": "answered",
    "smape": "answered",
    "within_20_percent": "answered",
    "r2": "answered",
    "hit_rate": "answered",
    "interval_coverage": "intervals",
    "interval_width": "intervals",
    "tokens_in": "counted",
    "tokens_cached": "counted",
    "tokens_out": "counted",
    "cost_per_1000_usd": "costed",
}
"""Metric -> the sum that says how many items it is over."""

_SEGMENTS = ("all", "source", "category", "price_band")

# Sorted, so that floating-point sums over the items are the same in every run.
_SCORED_ITEMS = f"""
    SELECT technique, split, cluster, 'all' AS "all", source, category, price_band,
        {", ".join(f'coalesce(({sql})::DOUBLE, 0) AS "{n}_sum"' for n, sql in _STATISTICS.items())}
    FROM evaluation.scored_predictions
    ORDER BY technique, split, item_id
"""

_LATENCIES = """
    SELECT technique, split,
        CASE grouping(source, category, price_band)
            WHEN 7 THEN 'all' WHEN 3 THEN 'source' WHEN 5 THEN 'category' ELSE 'price_band'
        END AS segment,
        coalesce(source, category, price_band, 'all') AS segment_value,
        count(latency_ms) AS items,
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

    ``mae`` is over all items that a technique was asked about: one without an estimate is charged
    with what ``category_median`` would have cost there, which is what a user falls back to.
    ``mae_common`` is the same over the items that all techniques were asked about. All other errors
    are over the items with an estimate, whose share is ``answered``. ``hit_rate`` is
    the share of "green" estimates of Donner's ``Tester`` (ed-donner/llm_engineering,
    week7/util.py): less than 40 off, or less than 20 % of the price. Intervals are 95 % percentile
    intervals of a bootstrap over families; all techniques share the resamples. Percentiles of
    latency and training time have none.

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
        path = folder / "scored_items.parquet"
        with warehouse.read() as connection:
            connection.sql(_SCORED_ITEMS).write_parquet(str(path))
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
    """Metrics from sums of shape (n, statistics): each of shape (n,), NaN without items."""
    of = {name: sums[:, column] for column, name in enumerate(_STATISTICS)}
    with np.errstate(divide="ignore", invalid="ignore"):
        variation = of["squared_price"] - of["price"] ** 2 / of["answered"]
        return {
            "mae": of["charged_error"] / of["items"],
            "mae_answered": of["absolute_error"] / of["answered"],
            "mae_common": of["common_error"] / of["common"],
            "answered": of["answered"] / of["items"],
            "rmsle": np.sqrt(of["squared_log_error"] / of["answered"]),
            "smape": of["smape"] / of["answered"],
            "within_20_percent": of["within_20_percent"] / of["answered"],
            "r2": np.where(variation > 0, 1 - of["squared_error"] / variation, np.nan),
            "hit_rate": of["hits"] / of["answered"],
            "interval_coverage": of["covered"] / of["intervals"],
            "interval_width": of["interval_width"] / of["intervals"],
            "tokens_in": of["tokens_in"] / of["counted"],
            "tokens_cached": of["tokens_cached"] / of["counted"],
            "tokens_out": of["tokens_out"] / of["counted"],
            "cost_per_1000_usd": 1000 * of["cost_usd"] / of["costed"],
        }


def _bootstrapped_frames(path: Path, *, seed: int, resamples: int) -> Iterator[pl.DataFrame]:
    """The metrics of one technique and split at a time, so that only its items are in memory."""
    scored = pl.scan_parquet(path)
    clusters = scored.group_by("split").agg(pl.col("cluster").max() + 1).collect()
    count = dict(clusters.iter_rows())
    evaluated = scored.select("technique", "split").unique().collect().sort("technique", "split")
    for technique, split in evaluated.iter_rows():
        items = scored.filter(technique=technique, split=split).collect()
        keys, groups = _segment_sums(items)
        resampled = resampled_sums(groups, clusters=count[split], resamples=resamples, seed=seed)
        rows = [
            {"technique": technique, "split": split, **key, **metric}
            for key, group, sums in zip(keys, groups, resampled, strict=True)
            for metric in _metric_rows(group, sums)
        ]
        yield pl.DataFrame(rows, schema=METRICS_SCHEMA)


def _segment_sums(items: pl.DataFrame) -> tuple[list[dict[str, str]], list[ClusterSums]]:
    """The sums of every segment and value of it, beside what the segment is called."""
    clusters = items["cluster"].to_numpy()
    statistics = items.select(f"{name}_sum" for name in _STATISTICS).to_numpy()
    keys, groups = [], []
    for segment in _SEGMENTS:
        rows_by_value = items.select(segment).with_row_index("row").group_by(segment)
        for value, rows in rows_by_value.agg("row").drop_nulls().sort(segment).iter_rows():
            chosen = np.asarray(rows)
            keys.append({"segment": segment, "segment_value": value})
            groups.append(ClusterSums.of(clusters[chosen], statistics[chosen]))
    return keys, groups


def _metric_rows(group: ClusterSums, resampled: Floats) -> Iterator[dict[str, object]]:
    total = group.sums.sum(axis=0, keepdims=True)
    counts = dict(zip(_STATISTICS, total[0], strict=True))
    spread = metrics_of_sums(resampled)
    for metric, value in metrics_of_sums(total).items():
        low = high = float("nan")
        if len(group.clusters) > 1:  # one family says nothing about how families differ
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
