"""A feature table as a network wants it: every column of like size, nothing missing unsaid.

Here belongs the scaling fitted on the training items. The features are ``features``' affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from pricing_platform.pricing.serialization import Arrays
from pricing_platform.pricing.tabular.features import FeatureTable

Singles = npt.NDArray[np.float32]
_KNOTS = 65


@dataclass(frozen=True)
class InputScaling:
    """Numbers by their rank among the training items, vectors by their columns' deviation.

    A rank is in [-1, 1] (knots are quantiles, straight lines between them). What is missing is 0
    and flagged in a column of its own; columns that are missing together share a flag.
    """

    knots: npt.NDArray[np.float64]
    flagged: npt.NDArray[np.int64]
    mean: Singles
    deviation: Singles

    @classmethod
    def fit(cls, table: FeatureTable) -> Self:
        """The quantiles, flags and deviations of the training items."""
        levels = np.linspace(0, 1, _KNOTS)
        known = np.isfinite(table.numbers)
        numbers = np.where(known.any(axis=0), table.numbers, 0.0)
        knots = np.nanquantile(numbers.astype(np.float64), levels, axis=0).T
        patterns, first = np.unique(~known, axis=1, return_index=True)
        partly = patterns.any(axis=0) & ~patterns.all(axis=0)
        vectors = np.hstack([table.components, table.embeddings])
        deviation = np.maximum(vectors.std(axis=0), 1e-6)
        return cls(knots, np.sort(first[partly]), vectors.mean(axis=0), deviation)

    @property
    def width(self) -> int:
        """How many inputs an item has."""
        return len(self.knots) + len(self.flagged) + len(self.mean)

    def transform(self, table: FeatureTable) -> Singles:
        """The network's inputs; shape (items, width)."""
        missing = ~np.isfinite(table.numbers)
        vectors = (np.hstack([table.components, table.embeddings]) - self.mean) / self.deviation
        ranks = np.zeros_like(table.numbers)
        for column, knots in enumerate(self.knots):
            ranks[:, column] = _rank(table.numbers[:, column], knots)
        ranks[missing] = 0.0
        flags = missing[:, self.flagged].astype(np.float32)
        return np.hstack([ranks, flags, vectors]).astype(np.float32)

    def arrays(self) -> Arrays:
        """What ``InputScaling(**arrays)`` makes again."""
        return {
            "knots": self.knots,
            "flagged": self.flagged,
            "mean": self.mean,
            "deviation": self.deviation,
        }


def _rank(values: Singles, knots: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Where the values stand between the knots, in [-1, 1]; equal knots share their middle."""
    distinct, first, counts = np.unique(knots, return_index=True, return_counts=True)
    if len(distinct) == 1:
        return np.zeros(len(values))
    levels = 2 * (first + (counts - 1) / 2) / (len(knots) - 1) - 1
    return np.asarray(np.interp(values, distinct, levels))
