"""What all techniques share that estimate ``log(1 + price)`` with arithmetic of their own.

Here belongs the way from such estimates to a technique's answers, and what is stored beside the
model. How the estimates come about belongs to each technique's module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.estimates import (
    Floats,
    Stopwatch,
    estimate_frame,
    log_prices,
    mean_absolute_error,
)
from pricing_platform.pricing.intervals import ConformalInterval
from pricing_platform.pricing.serialization import read_json, write_json
from pricing_platform.pricing.tabular.neighbours import blocks
from pricing_platform.progress import Progress, silent

_FILE = "technique.json"
_PRICED_TOGETHER = 8192


@dataclass(frozen=True)
class Measured:
    """What was found on the validation items: the interval of the misses, and the metrics."""

    interval: ConformalInterval = field(default_factory=ConformalInterval)
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What :meth:`write` wrote."""
        stored = read_json(folder / _FILE)
        return cls(ConformalInterval(**stored["interval"]), stored["metrics"])

    def write(self, folder: Path) -> None:
        """Writes it beside a technique's other files."""
        write_json(folder / _FILE, asdict(self))


@dataclass(frozen=True, kw_only=True)
class LogPriceTechnique(ABC):
    """A technique that estimates ``log(1 + price)``, with a conformal interval around it."""

    name: ClassVar[str]
    version: ClassVar[str]

    measured: Measured = field(default_factory=Measured)

    @abstractmethod
    def log_estimates(self, items: ItemSet) -> Floats:
        """``log(1 + price)`` of each item; shape (items,)."""

    @property
    @abstractmethod
    def configuration(self) -> dict[str, JsonValue]:
        """See :class:`Technique`."""

    @property
    def metrics(self) -> dict[str, float]:
        """See :class:`Technique`."""
        return dict(self.measured.metrics)

    @property
    def base_weights(self) -> dict[str, str]:
        """None: the embeddings come with the items, whose version names their encoder."""
        return {}

    def measured_on(
        self,
        validation: ItemSet,
        log_estimate: Floats,
        watch: Stopwatch,
        **metrics: float,
    ) -> Self:
        """The technique with the interval and the metrics of what it says of validation items."""
        found = {
            "validation_mae": mean_absolute_error(validation, log_estimate),
            **metrics,
            "seconds": watch.seconds(),
        }
        interval = ConformalInterval.fit(log_prices(validation), log_estimate)
        return replace(self, measured=Measured(interval, found))

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        """See :class:`Technique`."""
        watch = Stopwatch()
        estimate = np.empty(len(items))
        for block in blocks(len(items), _PRICED_TOGETHER):
            frame = items.frame[block]
            estimate[block] = self.log_estimates(ItemSet(frame, items.embeddings[block]))
            progress("items priced", block.stop, len(items))
        return estimate_frame(items, estimate, self.measured.interval, watch)
