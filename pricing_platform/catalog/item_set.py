"""Items beside their embeddings: what techniques are fitted on and what they price.

Here belongs the pair and choosing from it. Reading it from the stores belongs to ``retrieval``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl


@dataclass(frozen=True)
class ItemSet:
    """Items beside their embeddings: row i of ``embeddings`` belongs to row i of ``frame``.

    ``frame`` has the columns of ``curated.items`` (``price`` and ``split`` may be null where items
    are to be priced); ``embeddings`` is float32 of shape (items, dimensions), each row of unit
    length.
    """

    frame: pl.DataFrame
    embeddings: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return self.frame.height

    def where(self, mask: pl.Series) -> ItemSet:
        """The items for which the mask is true."""
        return ItemSet(self.frame.filter(mask), self.embeddings[mask.to_numpy()])

    def take(self, places: Sequence[int]) -> ItemSet:
        """The items at these places, in their order."""
        rows = np.array(places, np.int64)
        return ItemSet(self.frame[rows], self.embeddings[rows])

    def split(self, name: str) -> ItemSet:
        """The items of one split: ``train``, ``validation`` or ``test``."""
        return self.where(self.frame["split"] == name)

    def prices(self) -> npt.NDArray[np.float64]:
        """The items' prices, in the catalogue's currency."""
        return self.frame["price"].to_numpy().astype(np.float64)


def family_names(items: ItemSet) -> list[str]:
    """Each item's family; an item without one is a family of its own."""
    return items.frame.select(pl.coalesce("family_id", "item_id")).to_series().to_list()
