"""The evaluation's pictures as PNG.

Here belong the drawings (a marker besides a colour where lines meet). Style and rendering belong to
``drawing``. What is drawn is computed in SQL and in ``metrics``; where a
picture is shown is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pricing_platform.currencies import price_decimals
from pricing_platform.drawing import LINE_COLOURS, picture
from pricing_platform.stores.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURES_VERSION = "3"
"""Of the drawings: another version, another picture from the same numbers."""

_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#595959"
_MARKERS = "osD^vPX"
_POINTS_AT_MOST = 4000
_PRICED = """
    SELECT price, estimate, count(*) OVER () AS of
    FROM evaluation.scored_predictions
    WHERE technique = $technique AND split = 'test' AND estimate IS NOT NULL
    ORDER BY md5(item_id)
    LIMIT $most
"""


def draw_evaluation(warehouse: Warehouse) -> dict[str, bytes]:
    """All pictures of the test items by name, those of techniques in the leaderboard's order.

    ``leaderboard``, ``error_by_price_band``, ``estimates/TECHNIQUE``, and once the context has been
    swept those of :func:`draw_context_sweep`; empty before the first evaluation.
    """
    leaderboard = warehouse.frame("SELECT * FROM evaluation.leaderboard WHERE answered > 0")
    if leaderboard.is_empty():
        return {}
    currency = currencies(warehouse)
    segments = warehouse.frame("SELECT * FROM evaluation.segments WHERE segment = 'price_band'")
    bands = warehouse.frame("SELECT price_band FROM evaluation.price_bands ORDER BY priced_from")
    drawn = {
        "leaderboard": leaderboard_bars(leaderboard, currency=currency),
        "error_by_price_band": error_by_price_band(segments, bands["price_band"].to_list()),
    }
    order = leaderboard.sort("is_reference", "rank", "technique", nulls_last=True)
    for technique in order["technique"]:
        scored = warehouse.frame(_PRICED, {"technique": technique, "most": _POINTS_AT_MOST})
        drawn[f"estimates/{technique}"] = truth_against_estimate(
            scored, technique=technique, currency=currency
        )
    return drawn | draw_context_sweep(warehouse)


def draw_context_sweep(warehouse: Warehouse) -> dict[str, bytes]:
    """Error, distance to the best and time over the amount of context, as ``context_sweep_…``.

    Empty before the first sweep.
    """
    sweep = warehouse.frame("SELECT * FROM evaluation.context_sweep ORDER BY kind DESC, count")
    if sweep["mae"].drop_nulls().is_empty():
        return {}
    currency = currencies(warehouse)
    return {
        "context_sweep_error": error_by_context(sweep, currency=currency),
        "context_sweep_behind_best": behind_best_by_context(sweep, currency=currency),
        "context_sweep_latency": latency_by_context(sweep),
    }


def currencies(warehouse: Warehouse) -> str:
    """The currencies of the evaluated items, for labels: mostly one."""
    found = warehouse.frame(
        "SELECT DISTINCT currency FROM curated.items"
        " WHERE split IN ('validation', 'test') AND currency IS NOT NULL ORDER BY currency"
    )
    return ", ".join(found["currency"]) or "unknown currency"


def truth_against_estimate(scored: pl.DataFrame, *, technique: str, currency: str) -> bytes:
    """One technique's estimates over prices, on logarithmic axes.

    Args:
        scored: ``price`` and ``estimate`` of priced items, at least one, and in ``of`` how many
            there are of which these are a sample.
        technique: for the title.
        currency: for the axes.
    """
    prices, estimates = scored["price"].to_numpy(), scored["estimate"].to_numpy()
    both = np.concatenate([prices, estimates])
    ends = np.array([both.min() / 1.3, both.max() * 1.3])
    everything = scored["of"][0]
    count = (
        f"{scored.height:,} of {everything:,}" if scored.height < everything else f"{everything:,}"
    )

    def draw(axes: Axes) -> None:
        axes.fill_between(ends, ends * 0.8, ends * 1.2, color=_VERMILION, alpha=0.2, linewidth=0)
        axes.plot(ends, ends, color=_VERMILION, linewidth=1.2)
        axes.scatter(prices, estimates, s=7, color=_BLUE, alpha=0.35, linewidths=0)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
        axes.set(xlabel=f"price ({currency})", ylabel=f"estimate ({currency})")
        axes.set_title(f"{technique} ({count} test items)")
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.minorticks_off()
        axes.grid()

    return picture(draw, width=4.2, height=4.2)


def leaderboard_bars(leaderboard: pl.DataFrame, *, currency: str) -> bytes:
    """Every technique's mean absolute error with its interval; a reference is a dashed line.

    Where some were asked for a sample alone, the error on the items that all techniques
    were asked about.

    Args:
        leaderboard: rows of ``evaluation.leaderboard``, at least one.
        currency: for the axis.
    """
    error = "mae_common" if "mae_common" in leaderboard["ranked_by"] else "mae"
    items = "the test items that all were asked about" if error == "mae_common" else "test items"
    priced = leaderboard.filter(pl.col(error).is_not_null())
    ranked = priced.filter(~pl.col("is_reference")).sort("rank", "technique", descending=True)
    references = priced.filter("is_reference")
    errors = ranked[error].to_numpy()
    whiskers = np.vstack([errors - ranked[f"{error}_low"], ranked[f"{error}_high"] - errors])
    decimals = price_decimals(currency)

    def draw(axes: Axes) -> None:
        axes.barh(ranked["technique"].to_list(), errors, color=_BLUE, alpha=0.6, height=0.62)
        places = np.arange(len(errors))
        axes.errorbar(
            errors, places, xerr=whiskers, fmt="none", ecolor="#222222", elinewidth=1, capsize=3
        )
        ends = ranked[f"{error}_high"].fill_null(0).to_numpy()
        for place, value, end in zip(places, errors, np.maximum(ends, errors), strict=True):
            axes.annotate(
                f"{value:,.{decimals}f}",
                (end, place),
                (5, 0),
                textcoords="offset points",
                va="center",
            )
        for row in references.iter_rows(named=True):
            axes.axvline(row[error], color=_VERMILION, linestyle="--", linewidth=1.3)
            label = f"{row['technique']} {row[error]:,.{decimals}f}"
            axes.annotate(
                label, (row[error], 1.01), xycoords=("data", "axes fraction"), color=_VERMILION
            )
        axes.set_xlabel(f"mean absolute error on {items} ({currency}); whiskers: 95 % interval")
        axes.margins(x=0.12)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)

    return picture(draw, width=6.6, height=1.2 + 0.36 * max(ranked.height, 1))


def error_by_price_band(segments: pl.DataFrame, bands: list[str]) -> bytes:
    """Every technique's relative error over the price bands, so that cheap and dear compare.

    Args:
        segments: rows of ``evaluation.segments`` whose segment is ``price_band``, at least one.
        bands: the bands' names in ascending order; those without items are left out.
    """
    present = [band for band in bands if band in set(segments["segment_value"])]
    place = {band: number for number, band in enumerate(present)}
    order = segments.group_by("is_reference", "technique").agg(pl.col("smape").mean())
    order = order.sort("is_reference", "smape", "technique")

    def draw(axes: Axes) -> None:
        for number, (is_reference, technique) in enumerate(order.select(pl.nth(0, 1)).iter_rows()):
            rows = segments.filter(technique=technique)
            rows = rows.sort(pl.col("segment_value").replace_strict(place, return_dtype=pl.Int64))
            axes.plot(
                [place[band] for band in rows["segment_value"]],
                rows["smape"].to_numpy(),
                color=_GREY if is_reference else LINE_COLOURS[number % len(LINE_COLOURS)],
                linestyle="--" if is_reference else "-",
                marker="" if is_reference else _MARKERS[number % len(_MARKERS)],
                markersize=5,
                linewidth=1.4,
                label=technique,
            )
        axes.set_xticks(range(len(present)), present)
        axes.set_xlabel("price band")
        axes.set_ylabel("SMAPE (%)")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return picture(draw, width=8.2, height=3.6)


def error_by_context(sweep: pl.DataFrame, *, currency: str) -> bytes:
    """The error over the number of shots or comparables shown, with its interval; knees ringed.

    Args:
        sweep: rows of ``evaluation.context_sweep``, at least one of them with an error.
        currency: for the axis.
    """

    def draw(axes: Axes) -> None:
        for number, rows in enumerate(_kinds(sweep)):
            counts, colour = rows["count"].to_numpy(), LINE_COLOURS[number]
            low, high = (rows[name].fill_null(rows["mae"]) for name in ("mae_low", "mae_high"))
            axes.fill_between(counts, low, high, color=colour, alpha=0.13, linewidth=0)
            _line(axes, rows, "mae", number, label=rows["kind"][0])
            _knee(axes, rows, "mae", number)
            full = rows.filter("window_full")
            for count, error in zip(full["count"], full["mae"], strict=True):
                axes.annotate(
                    "window full",
                    (count, error),
                    (4, 6),
                    textcoords="offset points",
                    ha="right",
                    color=colour,
                )
        _count_axis(axes, sweep)
        axes.set_ylabel(f"mean absolute error ({currency})")
        axes.set_title("error on validation items; bands: 95 % interval")
        _legend(axes)

    return picture(draw, width=5.4, height=3.6)


def behind_best_by_context(sweep: pl.DataFrame, *, currency: str) -> bytes:
    """How far each count's error is above the best one's on the same items; knees ringed.

    The intervals are of these differences, so they are narrower than those of the errors.

    Args:
        sweep: rows of ``evaluation.context_sweep``, at least one of them with an error.
        currency: for the axis.
    """

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=_GREY, linewidth=0.8)
        for number, rows in enumerate(_kinds(sweep.drop_nulls("behind_best"))):
            behind = rows["behind_best"]
            low, high = (
                rows[f"behind_best_{end}"].fill_null(behind).to_numpy() for end in ("low", "high")
            )
            axes.errorbar(
                # A little beside each other, so that the intervals of both kinds are seen.
                rows["count"].to_numpy() * (1 + 0.02 * number) + 0.02 * number,
                behind.to_numpy(),
                yerr=np.vstack([behind - low, high - behind]).clip(0),
                fmt="none",
                ecolor=LINE_COLOURS[number],
                elinewidth=1,
                capsize=3,
            )
            _line(axes, rows, "behind_best", number, label=rows["kind"][0])
            _knee(axes, rows, "behind_best", number)
        _count_axis(axes, sweep)
        axes.set_ylabel(f"mean absolute error above the best ({currency})")
        axes.set_title("distance to the best count; whiskers: 95 % interval, paired")
        _legend(axes)

    return picture(draw, width=5.4, height=3.6)


def latency_by_context(sweep: pl.DataFrame) -> bytes:
    """Time for an item over the number of shots or comparables: the median, and the 95th percentile
    dashed.

    Args:
        sweep: rows of ``evaluation.context_sweep``, at least one.
    """

    def draw(axes: Axes) -> None:
        for number, rows in enumerate(_kinds(sweep)):
            _line(axes, rows, "latency_p50_ms", number, label=rows["kind"][0])
            _line(axes, rows, "latency_p95_ms", number, linestyle="--", linewidth=0.9)
        _count_axis(axes, sweep)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("milliseconds for an item")
        axes.set_title("time; dashed: 95th percentile")
        _legend(axes)

    return picture(draw, width=5.4, height=3.6)


def _kinds(sweep: pl.DataFrame) -> list[pl.DataFrame]:
    return [
        rows.sort("count")
        for rows in sweep.drop_nulls("mae").partition_by("kind", maintain_order=True)
    ]


def _line(axes: Axes, rows: pl.DataFrame, column: str, number: int, **style: Any) -> None:
    axes.plot(
        rows["count"].to_numpy(),
        rows[column].to_numpy(),
        **{
            "color": LINE_COLOURS[number],
            "marker": _MARKERS[number],
            "markersize": 4,
            "linewidth": 1.4,
            **style,
        },
    )


def _knee(axes: Axes, rows: pl.DataFrame, column: str, number: int) -> None:
    for row in rows.filter("is_knee").iter_rows(named=True):
        place, colour = (row["count"], row[column]), LINE_COLOURS[number]
        axes.plot(*place, "o", markersize=13, fillstyle="none", color=colour)
        axes.annotate(
            f"knee: {row['count']}",
            place,
            (0, -18 if number else 11),
            textcoords="offset points",
            ha="left" if row["count"] == 0 else "center",
            color=colour,
        )


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")


def _count_axis(axes: Axes, sweep: pl.DataFrame) -> None:
    """A scale on which 0 has a place and doublings are about equally far apart."""
    counts = sweep["count"].unique().sort().to_list()
    axes.set_xscale("function", functions=(np.log1p, np.expm1))
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("shots or comparables that were to be shown")
    axes.grid()
