"""What the catalogue looks like: statistics of its items by source and category, and pictures.

Here belongs describing ``curated.items``. Judging techniques on them belongs to ``evaluation``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from pricing_platform.drawing import LINE_COLOURS, picture
from pricing_platform.stores.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROFILE_VERSION = "1"
"""Raise it when the same items would be described differently."""

_LONGEST_TEXT = 1_024
_PROFILE = """
SELECT
    CASE WHEN grouping(source) = 1 THEN 'all' ELSE source END AS source,
    CASE WHEN grouping(category) = 1 THEN 'all' ELSE category END AS category,
    count(*) AS items,
    count(DISTINCT family_id) AS families,
    min(price) AS priced_from,
    median(price) AS price_median,
    avg(price) AS price_mean,
    max(price) AS priced_to,
    median(token_count)::DOUBLE AS tokens_median,
    max(token_count)::BIGINT AS tokens_maximum,
    avg((brand IS NULL)::INTEGER) AS share_without_brand
FROM curated.items
GROUP BY GROUPING SETS ((), (source), (source, category))
ORDER BY grouping(source) DESC, source, grouping(category) DESC, items DESC, category
"""
# Bins of a 24th of a factor of 10 in price: enough for a histogram, few for any number of items.
_PRICES = """
SELECT source, floor(log10(price) * 24) / 24 AS bin, count(*) AS items
FROM curated.items
GROUP BY ALL
ORDER BY ALL
"""
_TEXT_LENGTHS = f"""
SELECT source, least(token_count, {_LONGEST_TEXT}) // 8 * 8 AS bin, count(*) AS items
FROM curated.items
GROUP BY ALL
ORDER BY ALL
"""
_CATEGORIES = """
SELECT source || ': ' || category AS name, count(*) AS items
FROM curated.items
GROUP BY source, category
ORDER BY items DESC, name
LIMIT 20
"""
_PRICES_BY_LENGTH = f"""
SELECT
    least(token_count, {_LONGEST_TEXT}) // 32 * 32 AS bin,
    quantile_cont(price, 0.1) AS low,
    median(price) AS middle,
    quantile_cont(price, 0.9) AS high
FROM curated.items
GROUP BY ALL
HAVING count(*) >= 10
ORDER BY bin
"""


def profile_catalog(warehouse: Warehouse) -> pl.DataFrame:
    """The rows of ``curated.catalog_profile``: all items, each source, each of its categories."""
    return warehouse.frame(_PROFILE)


def draw_profile(warehouse: Warehouse) -> dict[str, bytes]:
    """Pictures (PNG) of the items by name; none where there is no item.

    ``prices``, ``text_lengths``, ``categories``, ``price_by_length``. They are drawn from counts
    that DuckDB makes, so what they cost does not grow with the catalogue.
    """
    prices = warehouse.frame(_PRICES)
    if prices.is_empty():
        return {}
    return {
        "prices": picture(partial(_draw_prices, prices)),
        "text_lengths": picture(partial(_draw_text_lengths, warehouse.frame(_TEXT_LENGTHS))),
        "categories": picture(partial(_draw_categories, warehouse.frame(_CATEGORIES)), height=4.6),
        "price_by_length": picture(
            partial(_draw_prices_by_length, warehouse.frame(_PRICES_BY_LENGTH))
        ),
    }


def _draw_prices(counts: pl.DataFrame, axes: Axes) -> None:
    edges = [10 ** (bin_ / 24) for bin_ in _bins(counts["bin"] * 24)]
    middles = counts.with_columns(bin=10.0 ** (pl.col("bin") + 1 / 48))
    _draw_histogram(middles, edges, axes)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("price")
    axes.set_title("Prices")


def _draw_text_lengths(counts: pl.DataFrame, axes: Axes) -> None:
    edges = [8.0 * bin_ for bin_ in _bins(counts["bin"] / 8)]
    _draw_histogram(counts.with_columns(pl.col("bin") + 4), edges, axes)
    axes.set_xlabel(f"tokens of the text ({_LONGEST_TEXT:,} stands for more, too)")
    axes.set_title("Text lengths")


def _bins(numbers: pl.Series) -> range:
    """The bins' whole numbers, with one more for the last one's end."""
    rounded = numbers.round().cast(pl.Int64).to_list()
    return range(min(rounded), max(rounded) + 2)


def _draw_histogram(counts: pl.DataFrame, edges: list[float], axes: Axes) -> None:
    """Bars on end, a colour a source; ``bin`` is a point within its bin."""
    sources = counts["source"].unique(maintain_order=True).to_list()
    parts = [counts.filter(pl.col("source") == source) for source in sources]
    axes.hist(
        [part["bin"].to_numpy() for part in parts],
        bins=edges,
        weights=[part["items"].to_numpy() for part in parts],
        color=[LINE_COLOURS[number % len(LINE_COLOURS)] for number in range(len(sources))],
        label=sources,
        stacked=True,
    )
    axes.set_ylabel("items")
    axes.grid(axis="y")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_categories(largest: pl.DataFrame, axes: Axes) -> None:
    rows = largest.reverse()
    bars = axes.barh(rows["name"].to_list(), rows["items"].to_numpy(), color=LINE_COLOURS[0])
    axes.bar_label(bars, fmt="{:,.0f}", padding=2)
    axes.set_xlabel("items")
    axes.set_title("Largest categories")


def _draw_prices_by_length(quantiles: pl.DataFrame, axes: Axes) -> None:
    middles = quantiles["bin"].to_numpy() + 16
    low, high = quantiles["low"].to_numpy(), quantiles["high"].to_numpy()
    axes.fill_between(middles, low, high, color=LINE_COLOURS[5], alpha=0.35, label="80 % of them")
    axes.plot(middles, quantiles["middle"].to_numpy(), marker="o", markersize=4, label="median")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("tokens of the text")
    axes.set_ylabel("price")
    axes.set_title("Prices by text length")
    axes.grid(axis="y")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
