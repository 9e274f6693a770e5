"""The technique that only asks what kind of thing an item is: the floor for all others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.estimates import Floats, Stopwatch, log_prices
from pricing_platform.pricing.serialization import read_json, write_json
from pricing_platform.pricing.tabular.log_price_technique import LogPriceTechnique, Measured
from pricing_platform.progress import Progress, silent

_SMALLEST_GROUP = 5
_KEYS = ("source", "category")


@dataclass(frozen=True)
class CategoryMedian(LogPriceTechnique):
    """The training median of the item's category in its source, else anywhere, else of all.

    A group of fewer than five training items has no median of its own.
    """

    name: ClassVar[str] = "category_median"
    version: ClassVar[str] = "1"

    overall: float
    by_source: dict[str, dict[str, float]]
    by_category: dict[str, float]

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,  # noqa: ARG003
        work_folder: Path | None = None,  # noqa: ARG003
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
        fitted = cls(overall=overall, by_source=by_source, by_category=by_category)
        progress("medians", 1, 1)
        return fitted.measured_on(validation, fitted.log_estimates(validation), watch)

    @property
    def model(self) -> str:
        """See :class:`Technique`."""
        return "median by category"

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """See :class:`Technique`."""
        return {"smallest_group": _SMALLEST_GROUP}

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
        medians = {
            "overall": self.overall,
            "by_source": self.by_source,
            "by_category": self.by_category,
        }
        write_json(folder / "medians.json", medians)
        self.measured.write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`."""
        return cls(**read_json(folder / "medians.json"), measured=Measured.read(folder))


def _medians(rows: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    return (
        rows.drop_nulls()
        .group_by(keys)
        .agg(pl.len(), pl.median("log_price"))
        .filter(pl.col("len") >= _SMALLEST_GROUP)
        .drop("len")
        .sort(keys)
    )
