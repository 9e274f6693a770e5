"""Who leads: the best technique, and the leaderboard as a frame.

Here belong the questions that others ask of the metrics. The ranking itself is SQL
(``evaluation.evaluated_segments``), so that a reader of the warehouse and the platform agree.
"""

from __future__ import annotations

import polars as pl

from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import Warehouse


def leaderboard(warehouse: Warehouse) -> pl.DataFrame:
    """``evaluation.leaderboard``: one row a technique on test, best first, references last."""
    return warehouse.frame(
        "SELECT * FROM evaluation.leaderboard ORDER BY is_reference, rank, technique"
    )


def best_technique(warehouse: Warehouse) -> str:
    """The technique with the lowest mean absolute error on validation; never a reference.

    Where some were asked for a sample alone, that on the items that all were asked about.
    An item without an estimate is charged with what ``category_median`` would have cost there.
    Validation chooses and test reports, so that the reported error is not that of a lucky winner.

    Raises:
        PlatformError: when no technique has been evaluated.
    """
    ranked = warehouse.frame(
        "SELECT technique FROM evaluation.evaluated_segments"
        " WHERE split = 'validation' AND segment = 'all' AND rank IS NOT NULL AND answered > 0"
        " ORDER BY rank, technique LIMIT 1"
    )
    if ranked.is_empty():
        raise PlatformError(
            "No technique has been evaluated on the validation items yet.",
            "Run `pricing-platform run` first.",
        )
    return str(ranked.item())
