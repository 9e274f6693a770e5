"""The pictures of what training needs and saves, as PNG.

Here belong the drawings of the learning curve and of the cost of an estimate. Style and rendering
belong to ``drawing``, what is drawn to the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pricing_platform.drawing import LINE_COLOURS, picture
from pricing_platform.evaluation.learning_curve.power_law import PowerLaw
from pricing_platform.evaluation.pictures import currencies
from pricing_platform.stores.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINING_PICTURES_VERSION = "1"
"""Of the drawings: another version, another picture from the same numbers."""

_MARKERS = "osD^vPX"
_BEYOND = 1.15
"""How far right of the last point an axis goes on."""

_COSTS = """
SELECT technique, batch_size, ms_p50, board.mae_common AS mae
FROM evaluation.inference_cost AS cost
JOIN evaluation.leaderboard AS board USING (technique)
WHERE ms_p50 > 0 AND board.mae_common IS NOT NULL
ORDER BY technique, batch_size
"""


def draw_learning_curve(warehouse: Warehouse) -> dict[str, bytes]:
    """``learning_curve``: the error over the train items; empty where nothing is measured."""
    points = warehouse.frame(
        "SELECT * FROM evaluation.learning_curve WHERE mae_common IS NOT NULL ORDER BY size, seed"
    )
    if points.is_empty():
        return {}
    fits = warehouse.frame("SELECT * FROM evaluation.learning_curve_fits ORDER BY technique")
    return {"learning_curve": error_by_items(points, fits, currency=currencies(warehouse))}


def draw_inference_cost(warehouse: Warehouse) -> dict[str, bytes]:
    """``inference_cost``: the error over the time of an estimate; empty where nothing is."""
    costs = warehouse.frame(_COSTS)
    if costs.is_empty():
        return {}
    return {"inference_cost": error_by_time(costs, currency=currencies(warehouse))}


def error_by_items(points: pl.DataFrame, fits: pl.DataFrame, *, currency: str) -> bytes:
    """Every technique's error over the train items, with its power law and what it foresees.

    Args:
        points: rows of ``evaluation.learning_curve`` with an error, at least one.
        fits: rows of ``evaluation.learning_curve_fits``.
        currency: for the axis.
    """
    means = points.group_by("technique", "size").agg(
        pl.col("train_items").mean(), pl.col("mae_common").mean()
    )
    laws = {row["technique"]: row for row in fits.iter_rows(named=True)}

    def draw(axes: Axes) -> None:
        for number, technique in enumerate(points["technique"].unique().sort()):
            colour, marker = LINE_COLOURS[number % len(LINE_COLOURS)], _MARKERS[number]
            own = points.filter(technique=technique)
            axes.plot(own["train_items"], own["mae_common"], ".", color=colour, alpha=0.4)
            mean = means.filter(technique=technique).sort("size")
            axes.plot(
                mean["train_items"],
                mean["mae_common"],
                marker,
                color=colour,
                markersize=5,
                label=technique,
            )
            row = laws.get(technique)
            if row is not None and row["form"] is not None:
                _law(axes, row, mean["train_items"].to_numpy(), number)
        axes.set_xscale("log")
        sizes = means["train_items"].round().cast(pl.Int64).unique().sort()
        ticks = means.group_by("size").agg(pl.col("train_items").mean()).sort("size")
        axes.set_xticks(ticks["train_items"].to_list(), [f"{at:,}" for at in ticks["size"]])
        axes.minorticks_off()
        axes.set_xlim(left=float(sizes[0]) / _BEYOND)
        axes.set_xlabel("train items")
        axes.set_ylabel(f"mean absolute error ({currency})")
        axes.set_title("error on common test items; dashed: foreseen, with 95 % interval")
        axes.grid()
        axes.legend(loc="best")

    return picture(draw, width=6.2, height=3.8)


def _law(axes: Axes, row: dict[str, float], measured: np.ndarray, number: int) -> None:
    """A power law: solid where it was measured, dashed up to the further items."""
    colour = LINE_COLOURS[number % len(LINE_COLOURS)]
    law = PowerLaw(row["floor"], row["factor"], row["exponent"])
    further = row["items"] + row["further_items"]
    for start, end, style in (
        (measured.min(), measured.max(), "-"),
        (measured.max(), further, "--"),
    ):
        items = np.geomspace(start, end, 50)
        axes.plot(items, law.at(items), style, color=colour, linewidth=1.3)
    low, high = row["mae_further_low"], row["mae_further_high"]
    # A little beside each other, so that all intervals are seen.
    axes.vlines(further * (1 + 0.03 * number), low, high, color=colour, linewidth=1)


def error_by_time(costs: pl.DataFrame, *, currency: str) -> bytes:
    """Every technique's error over the time of one estimate: alone, and its share of a batch.

    Args:
        costs: ``technique``, ``batch_size``, ``ms_p50`` and ``mae``, at least one row.
        currency: for the axis.
    """

    def draw(axes: Axes) -> None:
        for number, rows in enumerate(costs.partition_by("technique", maintain_order=True)):
            colour, marker = LINE_COLOURS[number % len(LINE_COLOURS)], _MARKERS[number]
            axes.plot(rows["ms_p50"], rows["mae"], color=colour, linewidth=0.8)
            for row in rows.iter_rows(named=True):
                axes.plot(
                    row["ms_p50"],
                    row["mae"],
                    marker,
                    color=colour,
                    markersize=6,
                    fillstyle="full" if row["batch_size"] == 1 else "none",
                )
            first = rows.row(0, named=True)
            axes.annotate(
                first["technique"],
                (first["ms_p50"], first["mae"]),
                (0, 7),
                textcoords="offset points",
                ha="center",
                color=colour,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.margins(x=0.15, y=0.15)
        axes.set_xlabel("milliseconds an estimate (median)")
        axes.set_ylabel(f"mean absolute error ({currency})")
        axes.set_title("filled: one by one; open: in batches of 32")
        axes.grid()

    return picture(draw, width=6.2, height=3.8)
