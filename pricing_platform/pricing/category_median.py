"""The technique that only asks what kind of thing an item is: the floor for all others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from pricing_platform.pricing.estimates import (
    Floats,
    Stopwatch,
    estimate_frame,
    log_prices,
    mean_absolute_error,
)
from pricing_platform.pricing.intervals import ConformalInterval
from pricing_platform.pricing.stored import read_json, write_json
from pricing_platform.pricing.technique import ItemSet, Progress, silent

_SMALLEST_GROUP = 5
_KEYS = ("source", "category")


@dataclass(frozen=True)
class CategoryMedian:
    """The training median of the item's category in its source, else anywhere, else of all.

    A group of fewer than five training items has no median of its own.
    """

    name: ClassVar[str] = "category_median"
    version: ClassVar[str] = "1"

    overall: float
    by_source: dict[str, dict[str, float]]
    by_category: dict[str, float]
    interval: ConformalInterval
    measured: dict[str, float]

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,  # noqa: ARG003
        progress: Progress = silent,
    ) -> Self:
        """Learns the medians; see :class:`Technique`."""
        watch = Stopwatch()
        rows = train.frame.select(*_KEYS, log_price=pl.col("price").log1p())
        by_source: dict[str, dict[str, float]] = {}
        for source, category, median in _medians(rows, _KEYS).iter_rows():
            by_source.setdefault(source, {})[category] = median
        by_category = dict(_medians(rows, ("category",)).iter_rows())
        overall = float(np.median(log_prices(train)))
        unmeasured = cls(overall, by_source, by_category, ConformalInterval(0.0, 0.0), {})
        estimate = unmeasured.log_estimates(validation)
        interval = ConformalInterval.fit(log_prices(validation), estimate)
        measured = {
            "validation_mae": mean_absolute_error(validation, estimate),
            "groups": float(sum(map(len, by_source.values()))),
            "seconds": watch.seconds(),
        }
        progress("medians", 1, 1)
        return cls(overall, by_source, by_category, interval, measured)

    @property
    def model(self) -> str:
        """See :class:`Technique`."""
        return "median by category"

    @property
    def metrics(self) -> dict[str, float]:
        """See :class:`Technique`."""
        return self.measured

    def log_estimates(self, items: ItemSet) -> Floats:
        """``log(1 + price)`` of each item."""
        return np.array(
            [
                self.by_source.get(source, self.by_category).get(
                    category, self.by_category.get(category, self.overall)
                )
                for source, category in items.frame.select(*_KEYS).iter_rows()
            ],
            np.float64,
        )

    def save(self, folder: Path) -> None:
        """See :class:`Technique`."""
        write_json(folder / "medians.json", asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`."""
        stored = read_json(folder / "medians.json")
        return cls(**stored | {"interval": ConformalInterval(**stored["interval"])})

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        """See :class:`Technique`."""
        watch = Stopwatch()
        estimate = self.log_estimates(items)
        progress("items priced", len(items), len(items))
        return estimate_frame(items, estimate, self.interval, watch)


def _medians(rows: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    return (
        rows.drop_nulls()
        .group_by(keys)
        .agg(pl.len(), pl.median("log_price"))
        .filter(pl.col("len") >= _SMALLEST_GROUP)
        .drop("len")
        .sort(keys)
    )
