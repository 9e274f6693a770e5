"""From log prices to the rows that a technique returns, and back.

Here belongs what every technique without a language model shares when it answers. How it arrives
at an estimate belongs to its module.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.intervals import ConformalInterval
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA

SMALLEST_ESTIMATE = 0.01
"""In the catalogue's currency: nothing that is for sale is estimated at less."""

Floats = npt.NDArray[np.float64]


def log_prices(items: ItemSet) -> Floats:
    """``log(1 + price)`` of each item: the scale on which errors are relative, as in RMSLE."""
    return np.log1p(items.prices())


def from_log(log_price: Floats) -> Floats:
    """The price that a ``log(1 + price)`` stands for."""
    return np.maximum(np.expm1(np.asarray(log_price, dtype=np.float64)), SMALLEST_ESTIMATE)


def mean_absolute_error(items: ItemSet, log_estimate: Floats) -> float:
    """Mean absolute error in the catalogue's currency; 0 over no items."""
    return float(np.abs(from_log(log_estimate) - items.prices()).mean()) if len(items) else 0.0


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._started


def estimate_frame(
    items: ItemSet, log_estimate: Floats, interval: ConformalInterval, watch: Stopwatch
) -> pl.DataFrame:
    """The rows of ``ESTIMATE_SCHEMA``: an item's latency is its share of the batch's time."""
    low, high = interval.around(log_estimate)
    latency = 1000 * watch.seconds() / max(len(items), 1)
    columns = {
        "item_id": items.frame["item_id"],
        "estimate": from_log(log_estimate),
        "low": from_log(low),
        "high": from_log(high),
    }
    return (
        pl.DataFrame(columns)
        .with_columns(
            tokens_in=0,
            tokens_cached=0,
            tokens_out=0,
            latency_ms=latency,
            cost_usd=0.0,
            prompt_version=None,
            context_items=None,
            context_cut=None,
            failure=None,
        )
        .select(ESTIMATE_SCHEMA.names())
        .cast(ESTIMATE_SCHEMA)
    )
