"""The protocol behind which every technique stands, and the records that cross it.

Here belongs what all techniques have in common. How one of them estimates belongs to its module.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

import polars as pl
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.progress import Progress, silent

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
        "prompt_version": pl.String,  # of the templates; null without a language model
        "context_items": pl.Int64,  # shots or comparables that the model was shown
        "context_cut": pl.Int64,  # those left out, the lowest-ranked first, for want of room
    }
)


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
