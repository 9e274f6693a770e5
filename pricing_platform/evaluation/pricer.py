"""What measurements with techniques share: that these price items, and whose progress is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.progress import Progress, silent


class Pricer(Protocol):
    """Anything that prices items as a technique does."""

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        """One row an item, in the items' order, with the columns of a technique's estimates."""
        ...


@dataclass(frozen=True)
class PartOf:
    """Progress that says which part of a measurement it is of."""

    progress: Progress
    part: str

    def __call__(self, description: str, done: int, total: int) -> None:
        """Tells it with the part before the description."""
        self.progress(f"{self.part}: {description}", done, total)
