"""The technique that looks up what similar items cost: nearest neighbours, and nothing learnt.

Here belongs the search among the training items in memory. The same question asked of Postgres, for
people, belongs to ``retrieval``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.estimates import (
    Floats,
    Stopwatch,
    log_prices,
    mean_absolute_error,
)
from pricing_platform.pricing.serialization import (
    Arrays,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
)
from pricing_platform.pricing.tabular.features import rounded
from pricing_platform.pricing.tabular.log_price_technique import LogPriceTechnique, Measured
from pricing_platform.pricing.tabular.neighbours import (
    FamilyCodes,
    Neighbours,
    dense_neighbours,
    weighted_median,
)
from pricing_platform.pricing.tabular.text_model import families_of
from pricing_platform.progress import Progress, silent

_COUNTS = (3, 5, 8, 12, 20, 32)
_SHARPNESS = (0.0, 8.0, 16.0, 32.0, 64.0)


@dataclass(frozen=True)
class Choice:
    """How many neighbours count, and how fast they count less the further away they are.

    A neighbour weighs ``exp(sharpness * (its similarity - the nearest one's))``.
    """

    count: int
    sharpness: float

    def log_estimates(self, neighbours: Neighbours, log_price: Floats, otherwise: float) -> Floats:
        """The weighted median of the neighbours' prices in log space; shape (queries,)."""
        similarity = neighbours.similarity[:, : self.count].astype(np.float64)
        there = neighbours.found[:, : self.count]
        weight = np.where(there, np.exp(self.sharpness * (similarity - similarity[:, :1])), 0.0)
        value = log_price[neighbours.index[:, : self.count]]
        median = weighted_median(value, weight)
        return np.where(np.isnan(median), otherwise, median)


@dataclass(frozen=True)
class Comparables(LogPriceTechnique):
    """The weighted median price of the training items nearest by embedding (cosine, exact)."""

    name: ClassVar[str] = "comparables"
    version: ClassVar[str] = "1"

    embeddings: npt.NDArray[np.float16]
    log_price: Floats
    families: list[str | None]
    choice: Choice

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
        """Keeps the training items and chooses the settings on validation MAE."""
        watch = Stopwatch()
        kept = cls(
            embeddings=train.embeddings.astype(np.float16),
            log_price=log_prices(train),
            families=families_of(train),
            choice=Choice(_COUNTS[0], 0.0),
        )
        neighbours = kept.neighbours(validation, max(_COUNTS))
        chosen = replace(kept, choice=kept.best_choice(validation, neighbours))
        estimate = chosen.choice.log_estimates(neighbours, kept.log_price, kept.overall)
        progress("settings tried", 1, 1)
        return chosen.measured_on(validation, estimate, watch, **asdict(chosen.choice))

    @property
    def model(self) -> str:
        """See :class:`Technique`."""
        return f"{self.choice.count} nearest by embedding"

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """See :class:`Technique`."""
        return asdict(self.choice)

    @property
    def overall(self) -> float:
        """The estimate of an item that has no neighbour outside its family."""
        return float(np.median(self.log_price))

    def best_choice(self, validation: ItemSet, neighbours: Neighbours) -> Choice:
        """The setting with the smallest validation MAE."""
        tried = []
        for count, sharpness in product(_COUNTS, _SHARPNESS):
            choice = Choice(count, sharpness)
            estimate = choice.log_estimates(neighbours, self.log_price, self.overall)
            tried.append((mean_absolute_error(validation, estimate), count, sharpness))
        return Choice(*min(tried)[1:])

    def log_estimates(self, items: ItemSet) -> Floats:
        """``log(1 + price)`` of each item."""
        found = self.neighbours(items, self.choice.count)
        return self.choice.log_estimates(found, self.log_price, self.overall)

    def neighbours(self, items: ItemSet, count: int) -> Neighbours:
        """The nearest training items of each item, none of its own family."""
        families = FamilyCodes(self.families)
        return dense_neighbours(
            rounded(items.embeddings),
            self.embeddings.astype(np.float32),
            count,
            families.of(families_of(items)),
            families.reference,
        )

    def save(self, folder: Path) -> None:
        """See :class:`Technique`."""
        arrays: Arrays = {"embeddings": self.embeddings, "log_price": self.log_price}
        write_arrays(folder / "references.safetensors", arrays)
        settings = {"families": self.families, "choice": asdict(self.choice)}
        write_json(folder / "settings.json", settings)
        self.measured.write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`."""
        arrays = read_arrays(folder / "references.safetensors")
        settings = read_json(folder / "settings.json")
        return cls(
            embeddings=arrays["embeddings"],
            log_price=arrays["log_price"],
            families=settings["families"],
            choice=Choice(**settings["choice"]),
            measured=Measured.read(folder),
        )
