"""Which differences between techniques are real: every pair on the items that both were asked
about.

Here belongs the paired comparison. Each technique's own metrics belong to ``metrics``; the
resampling belongs to ``resampling``.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl

from pricing_platform.resampling import (
    ClusterSums,
    Floats,
    holm,
    percentile_interval,
    resampled_sums,
    sign_flip_p_values,
)
from pricing_platform.stores.warehouse import Warehouse

COMPARISON_VERSION = "4"

CLUSTERS_RELIED_ON = 30
"""With fewer, percentile intervals are too narrow."""

COMPARISON_SCHEMA = pl.Schema(
    {
        "split": pl.String,
        "technique": pl.String,
        "compared_with": pl.String,
        "mean_difference": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "p_value": pl.Float64,
        "p_value_holm": pl.Float64,
        "items": pl.Int64,
        "clusters": pl.Int64,
        "is_sparse": pl.Boolean,
    }
)

_ERRORS = """
    SELECT split, technique, item_id, cluster, charged_error
    FROM evaluation.scored_predictions
    WHERE NOT is_reference
    QUALIFY count(estimate) OVER (PARTITION BY split, technique) > 0
    ORDER BY split, technique, item_id
"""


def compare_techniques(
    warehouse: Warehouse, *, seed: int, resamples: int = 1000, permutations: int = 10_000
) -> pl.DataFrame:
    """Rows for ``evaluation.technique_comparison``: every pair of techniques, the better one first.

    References are left out: they are no candidates; and so is what answered nothing. An item
    without an estimate is charged as in ``mae``, see ``metrics``. Intervals are bootstrapped over
    families, p-values flip signs by family and are corrected within a split.
    """
    splits = warehouse.frame(_ERRORS).partition_by("split", maintain_order=True)
    frames = [
        _compared(errors, seed=seed, resamples=resamples, permutations=permutations)
        for errors in splits
    ]
    return pl.concat([COMPARISON_SCHEMA.to_frame(), *frames]).sort(
        "split", "technique", "compared_with"
    )


def _compared(
    errors: pl.DataFrame, *, seed: int, resamples: int, permutations: int
) -> pl.DataFrame:
    pairs, groups = _differences(errors)
    clusters = int(errors.select(pl.col("cluster").max() + 1).item())
    resampled = resampled_sums(groups, clusters=clusters, resamples=resamples, seed=seed)
    p_values = sign_flip_p_values(groups, clusters=clusters, permutations=permutations, seed=seed)
    rows = [
        {
            "split": errors["split"][0],
            **_comparison(pair, group, sums),
            "p_value": p_value,
            "p_value_holm": corrected,
        }
        for pair, group, sums, p_value, corrected in zip(
            pairs, groups, resampled, p_values, holm(p_values), strict=True
        )
    ]
    return pl.DataFrame(rows, schema=COMPARISON_SCHEMA)


def _differences(errors: pl.DataFrame) -> tuple[list[tuple[str, str]], list[ClusterSums]]:
    """Per pair the sum of its differences and the number of items that both were asked about."""
    items = errors.select("item_id", "cluster").unique("item_id").sort("item_id")
    of = {
        str(rows["technique"][0]): _errors_of(items, rows)
        for rows in errors.partition_by("technique", maintain_order=True)
    }
    clusters = items["cluster"].to_numpy()
    pairs, groups = [], []
    for one, other in combinations(of, 2):
        difference = of[one] - of[other]
        both = np.flatnonzero(np.isfinite(difference))
        if both.size:
            statistics = np.column_stack([difference[both], np.ones(both.size)])
            pairs.append((one, other))
            groups.append(ClusterSums.of(clusters[both], statistics))
    return pairs, groups


def _errors_of(items: pl.DataFrame, rows: pl.DataFrame) -> Floats:
    """The technique's error on each item, NaN where it was not asked."""
    found = items.join(
        rows.select("item_id", "charged_error"),
        on="item_id",
        how="left",
        maintain_order="left",
        validate="1:1",
    )
    return found["charged_error"].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _comparison(pair: tuple[str, str], group: ClusterSums, resampled: Floats) -> dict[str, object]:
    difference, items = group.sums.sum(axis=0)
    better, other = pair if difference <= 0 else reversed(pair)
    sign = 1 if difference <= 0 else -1
    with np.errstate(invalid="ignore"):
        low, high = percentile_interval(sign * resampled[:, 0] / resampled[:, 1])
    return {
        "technique": better,
        "compared_with": other,
        "mean_difference": sign * difference / items,
        "low": low,
        "high": high,
        "items": int(items),
        "clusters": len(group.clusters),
        "is_sparse": len(group.clusters) < CLUSTERS_RELIED_ON,
    }
