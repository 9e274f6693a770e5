"""The protocol behind which every technique stands, and the records that cross it.

Here belongs what all techniques have in common. How one of them estimates belongs to its module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import JsonValue

Progress = Callable[[str, int, int], None]
"""Called with a description, how much is done and how much there is."""


def silent(_description: str, _done: int, _total: int) -> None:
    """The progress of work that nobody watches."""


ESTIMATE_SCHEMA = pl.Schema(
    {
        "item_id": pl.String,
        "estimate": pl.Float64,  # null with a failure, never 0 for an unusable answer
        "low": pl.Float64,  # null where the technique knows no interval of its own
        "high": pl.Float64,
        "failure": pl.String,
        "tokens_in": pl.Int64,
        "tokens_cached": pl.Int64,
        "tokens_out": pl.Int64,
        "latency_ms": pl.Float64,
        "cost_usd": pl.Float64,
    }
)


@dataclass(frozen=True)
class ItemSet:
    """Items beside their embeddings: row i of ``embeddings`` belongs to row i of ``frame``.

    ``frame`` has the columns of ``curated.items`` (``price`` and ``split`` may be null where items
    are to be priced); ``embeddings`` is float32 of shape (items, 384), each row of unit length.
    """

    frame: pl.DataFrame
    embeddings: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return self.frame.height

    def where(self, mask: pl.Series) -> ItemSet:
        """The items for which the mask is true."""
        return ItemSet(self.frame.filter(mask), self.embeddings[mask.to_numpy()])

    def split(self, name: str) -> ItemSet:
        """The items of one split: ``train``, ``validation`` or ``test``."""
        return self.where(self.frame["split"] == name)

    def prices(self) -> npt.NDArray[np.float64]:
        """The items' prices, in the catalogue's currency."""
        return self.frame["price"].to_numpy().astype(np.float64)


@runtime_checkable
class Technique(Protocol):
    """A way to estimate prices: fitted on train, tuned on validation, saved and loaded."""

    name: ClassVar[str]
    version: ClassVar[str]

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        work_folder: Path | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Learns from ``train``; ``validation`` may choose between settings and epochs only.

        What takes minutes keeps its state in ``work_folder``, and a killed fit that is called
        again with the same folder goes on where it stopped; the caller removes the folder.
        """
        ...

    @property
    def model(self) -> str:
        """What does the estimating, as the ``model`` column of the predictions names it."""
        ...

    @property
    def metrics(self) -> dict[str, float]:
        """What fitting measured: by-epoch losses, the chosen setting, seconds."""
        ...

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """The settings that were fitted with, the chosen ones included."""
        ...

    @property
    def base_weights(self) -> dict[str, str]:
        """Name -> sha256 of the pretrained model that it builds on; empty without one."""
        ...

    def save(self, folder: Path) -> None:
        """Writes everything that :meth:`load` needs into an existing empty folder, no pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what :meth:`save` wrote."""
        ...

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        """One row an item, in the items' order, with the columns of ``ESTIMATE_SCHEMA``."""
        ...
