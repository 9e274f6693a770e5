"""The picture of what fine-tuning forgets: forgetting against price error.

Here belongs the drawing; style and rendering belong to ``drawing``, the numbers to
``finetuning.forgetting``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pricing_platform.drawing import LINE_COLOURS, picture
from pricing_platform.evaluation.pictures import currencies
from pricing_platform.stores.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORGETTING_PICTURES_VERSION = "1"

_GREY, _PURPLE = "#595959", "#7A0F8B"
_MARKERS = "os^DvPX"
_MEASURES = {
    "accuracy_lost": "probe accuracy lost (% of the base's)",
    "perplexity_gained": "perplexity of general text gained (% of the base's)",
}


def draw_forgetting(warehouse: Warehouse, *, limit: float) -> dict[str, bytes]:
    """Two pictures a technique, as ``TECHNIQUE/accuracy_lost`` and ``…/perplexity_gained``.

    Empty before the first measurement, or where nothing was priced.

    Args:
        warehouse: holds ``evaluation.forgetting``.
        limit: the share that may be forgotten.
    """
    rows = warehouse.frame("SELECT * FROM evaluation.forgetting").drop_nulls("price_mae")
    currency = currencies(warehouse)
    return {
        f"{part['technique'][0]}/{measure}": forgetting_against_error(
            part, measure, limit=limit, currency=currency
        )
        for part in rows.partition_by("technique", maintain_order=True)
        for measure in _MEASURES
    }


def forgetting_against_error(
    rows: pl.DataFrame, measure: str, *, limit: float, currency: str
) -> bytes:
    """One line a mitigation through its points, one marker a point; the limit is drawn.

    Lines go along training, from the smallest marker to the largest; that of the scaled adapter
    goes along its scales. What is promoted is ringed; whiskers are the paired 95 % interval at the
    end of a line.

    Args:
        rows: of ``evaluation.forgetting`` and one technique, with price errors, at least one.
        measure: ``accuracy_lost`` or ``perplexity_gained``.
        limit: the share that may be forgotten.
        currency: for the axis.
    """
    finite = rows.filter(pl.col(measure).is_finite()).with_columns(
        pl.col("^(accuracy_lost|perplexity_gained).*$") * 100
    )
    order = finite.sort(pl.col("mitigation") != "none", "mitigation", "step", "adapter_scale")

    def draw(axes: Axes) -> None:
        axes.axvline(100 * limit, color=_GREY, linestyle="--", linewidth=1)
        axes.annotate(
            f"limit {100 * limit:g} %",
            (100 * limit, 0.99),
            (4, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            color=_GREY,
        )
        for number, part in enumerate(order.partition_by("mitigation", maintain_order=True)):
            _line(axes, part, measure, number)
        for row in order.filter("is_promoted").iter_rows(named=True):
            place = (row[measure], row["price_mae"])
            axes.plot(*place, "o", markersize=14, fillstyle="none", color=_PURPLE)
            axes.annotate(
                "promoted", place, (0, -19), textcoords="offset points", ha="center", color=_PURPLE
            )
        axes.set_xlabel(_MEASURES[measure])
        axes.set_ylabel(f"mean absolute error of prices ({currency})")
        axes.set_title(f"{rows['technique'][0]}; towards the lower left is better")
        axes.margins(0.1)
        axes.grid()
        if not order.is_empty():
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return picture(draw, width=7.0, height=3.8)


def _line(axes: Axes, part: pl.DataFrame, measure: str, number: int) -> None:
    colour, marker = LINE_COLOURS[number % len(LINE_COLOURS)], _MARKERS[number % len(_MARKERS)]
    label = part["mitigation"][0].replace("_", " ")
    x, y = part[measure].to_numpy(), part["price_mae"].to_numpy()
    along = part["adapter_scale" if label == "scaled" else "share_trained"].to_numpy()
    axes.plot(x, y, color=colour, linewidth=1.2)
    axes.scatter(x, y, s=14 + 34 * along, color=colour, marker=marker, label=label, zorder=3)
    if label == "scaled":
        for place, scale in zip(zip(x, y, strict=True), along, strict=True):
            axes.annotate(
                f"{scale:g}", place, (6, 3), textcoords="offset points", color=colour, size=8
            )
    end = part.row(-1, named=True)
    low, high = end[f"{measure}_low"], end[f"{measure}_high"]
    if low is not None and high is not None:
        whisker = np.array([[end[measure] - low], [high - end[measure]]]).clip(0)
        axes.errorbar(
            x[-1:], y[-1:], xerr=whisker, fmt="none", ecolor=colour, elinewidth=0.9, capsize=3
        )
