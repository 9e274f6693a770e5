"""What measurements with techniques share: that these price items, and which items they price.

Whoever measures is given techniques and makes none, since
``pricing`` builds on ``evaluation`` and not the other way round.
"""

from __future__ import annotations

import hashlib
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


def chosen_items(items: ItemSet, most: int, *, seed: int) -> ItemSet:
    """At most ``most`` of the items, chosen by a hash of seed and item id; in their own order.

    The choice does not depend on the items' order, and an item more or less changes it by one.
    """
    order = items.frame.select(
        pl.concat_str(pl.lit(f"{seed}:"), "item_id").map_elements(_digest, return_dtype=pl.String)
    ).to_series()
    return items.where(order.rank("ordinal") <= most)


def family_names(items: ItemSet) -> list[str]:
    """Each item's family; an item without one is a family of its own."""
    return items.frame.select(pl.coalesce("family_id", "item_id")).to_series().to_list()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
