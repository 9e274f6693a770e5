"""Pictures of how much of a style a model has.

Here belong the drawings; the numbers come from ``evaluation.style``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pricing_platform.drawing import LINE_COLOURS, picture
from pricing_platform.evaluation.queries import run_query
from pricing_platform.stores.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE_PICTURES_VERSION = "1"
"""Of the drawings: another version, another picture from the same numbers."""


def draw_style(warehouse: Warehouse) -> dict[str, bytes]:
    """Two pictures a style: ``style_perplexity/NAME`` and ``style_house_share/NAME``.

    Empty before the first measurement.
    """
    found = run_query(warehouse, "style")
    drawn = {}
    for rows in found.partition_by("style", maintain_order=True):
        name = rows["style"][0]
        drawn[f"style_perplexity/{name}"] = bars_by_variant(
            rows, "perplexity", f"perplexity of the replies of {name}, per token"
        )
        drawn[f"style_house_share/{name}"] = bars_by_variant(
            rows, "percent_house", f"replies taken for those of {name} (%)"
        )
    return drawn


def bars_by_variant(rows: pl.DataFrame, column: str, label: str) -> bytes:
    """A bar a variant, with the interval of what it shows.

    Args:
        rows: ``variant``, the column, and its ends as ``…_low`` and ``…_high``, null where there is
            none; at least one with a value.
        column: what is shown.
        label: of the axis.
    """
    shown = rows.drop_nulls(column)[::-1]
    values = shown[column].to_numpy()
    low, high = (
        shown[f"{column}_{end}"].fill_null(shown[column]).to_numpy() for end in ("low", "high")
    )

    def draw(axes: Axes) -> None:
        axes.barh(shown["variant"].to_list(), values, color=LINE_COLOURS[0], alpha=0.6, height=0.62)
        whiskers = np.vstack([values - low, high - values]).clip(0)
        places = np.arange(len(values))
        axes.errorbar(
            values, places, xerr=whiskers, fmt="none", ecolor="#222222", elinewidth=1, capsize=3
        )
        for place, value, end in zip(places, values, np.maximum(high, values), strict=True):
            axes.annotate(
                f"{value:,.3g}", (end, place), (5, 0), textcoords="offset points", va="center"
            )
        axes.set_xlabel(f"{label}; whiskers: 95 % interval")
        axes.set_xlim(left=0)
        axes.margins(x=0.14)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)

    return picture(draw, width=6.0, height=1.0 + 0.36 * shown.height)
