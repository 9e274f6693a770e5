"""Which differences between techniques are real: every pair on the items that both priced.

Here belongs the paired comparison. Each technique's own metrics belong to ``metrics``; the
resampling belongs to ``resampling``.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pricing_platform.evaluation.resampling import (
    FamilySums,
    Floats,
    holm,
    percentile_interval,
    resampled_sums,
    sign_flip_p_values,
)
from pricing_platform.stores.warehouse import Warehouse

COMPARISON_VERSION = "1"

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
        "families": pl.Int64,
    }
)

_DIFFERENCES = """
    WITH priced AS (
        SELECT split, technique, family_id, item_id, absolute_error
        FROM evaluation.scored_predictions
        WHERE estimate IS NOT NULL AND NOT is_reference
    ),
    differences AS (
        SELECT one.split, one.technique, other.technique AS compared_with, one.family_id,
            sum(one.absolute_error - other.absolute_error ORDER BY one.item_id) AS difference,
            count(*) AS items
        FROM priced AS one
        JOIN priced AS other
            ON one.item_id = other.item_id AND one.split = other.split
            AND one.technique < other.technique
        GROUP BY ALL
    )
    SELECT *, dense_rank() OVER (PARTITION BY split ORDER BY family_id) - 1 AS family
    FROM differences
    ORDER BY split, technique, compared_with, family
"""


def compare_techniques(
    warehouse: Warehouse, *, seed: int, resamples: int = 1000, permutations: int = 10_000
) -> pl.DataFrame:
    """Rows for ``evaluation.technique_comparison``: every pair of techniques, the better one first.

    References are left out: they are no candidates. Intervals are bootstrapped over families,
    p-values flip signs by family and are corrected within a split.
    """
    differences = warehouse.frame(_DIFFERENCES)
    frames = [
        _compared(split, seed=seed, resamples=resamples, permutations=permutations)
        for split in differences.partition_by("split", maintain_order=True)
    ]
    return pl.concat([COMPARISON_SCHEMA.to_frame(), *frames]).sort(
        "split", "technique", "compared_with"
    )


def _compared(
    differences: pl.DataFrame, *, seed: int, resamples: int, permutations: int
) -> pl.DataFrame:
    pairs = differences.partition_by("technique", "compared_with", maintain_order=True)
    groups = [_family_sums(pair) for pair in pairs]
    families = int(differences.select(pl.col("family").max() + 1).item())
    resampled = resampled_sums(groups, families=families, resamples=resamples, seed=seed)
    p_values = sign_flip_p_values(groups, families=families, permutations=permutations, seed=seed)
    rows = [
        {**_comparison(pair, group, sums), "p_value": p_value, "p_value_holm": corrected}
        for pair, group, sums, p_value, corrected in zip(
            pairs, groups, resampled, p_values, holm(p_values), strict=True
        )
    ]
    return pl.DataFrame(rows, schema=COMPARISON_SCHEMA)


def _family_sums(pair: pl.DataFrame) -> FamilySums:
    sums = pair.select(pl.col("difference", "items").cast(pl.Float64)).to_numpy()
    return FamilySums(pair["family"].to_numpy().astype(np.int64), sums)


def _comparison(pair: pl.DataFrame, group: FamilySums, resampled: Floats) -> dict[str, object]:
    difference, items = group.sums.sum(axis=0)
    names = pair.select("technique", "compared_with").row(0)
    better, other = names if difference <= 0 else reversed(names)
    sign = 1 if difference <= 0 else -1
    with np.errstate(invalid="ignore"):
        low, high = percentile_interval(sign * resampled[:, 0] / resampled[:, 1])
    return {
        "split": pair["split"][0],
        "technique": better,
        "compared_with": other,
        "mean_difference": sign * difference / items,
        "low": low,
        "high": high,
        "items": int(items),
        "families": len(group.index),
    }
