"""Prices of the groups that an item belongs to: its category, its brand, its chipset.

Here belongs the encoding of groups by the prices of their training items. Which groups an item
belongs to is for ``structured_features`` to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.pricing.estimates import Floats

Groups = Sequence[str | None]
_PRIOR_ITEMS = 4.0
"""How many items at the parent's mean every group is thought to hold besides its own."""


@dataclass(frozen=True)
class TargetEncoding:
    """Group -> (mean ``log(1 + price)``, items), shrunk towards each item's prior.

    A group unknown in training, and no group at all, are encoded as nothing is known: NaN.
    """

    sums: Mapping[str, tuple[float, int]]

    @classmethod
    def fit(cls, groups: Groups, log_price: Floats) -> Self:
        """Sums up the training items' prices by group."""
        sums: dict[str, tuple[float, int]] = {}
        for group, value in zip(groups, log_price.tolist(), strict=True):
            if group is not None:
                total, count = sums.get(group, (0.0, 0))
                sums[group] = (total + value, count + 1)
        return cls(sums)

    def encode(self, groups: Groups, prior: Floats) -> Floats:
        """The groups' shrunk means (Micci-Barreca 2001); shape (items,).

        Args:
            groups: each item's group.
            prior: what is thought of the item without its group.
        """
        return _shrunk(*self._of(groups), prior)

    def counts(self, groups: Groups) -> Floats:
        """How many training items each item's group holds."""
        return self._of(groups)[1]

    def _of(self, groups: Groups) -> tuple[Floats, Floats]:
        found = [(0.0, 0) if g is None else self.sums.get(g, (0.0, 0)) for g in groups]
        pairs = np.array(found, np.float64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]


def encode_out_of_fold(
    groups: Groups, log_price: Floats, prior: Floats, folds: npt.NDArray[np.int64]
) -> Floats:
    """The training items' encodings, each from items of other folds only; shape (items,)."""
    ranks = pl.Series(groups, dtype=pl.String).rank("dense").fill_null(0)
    codes = ranks.to_numpy().astype(np.int64)
    total, count = np.zeros(len(codes)), np.zeros(len(codes))
    for fold in np.unique(folds):
        inside = folds == fold
        outside = codes[~inside]
        size = int(codes.max()) + 1
        total[inside] = np.bincount(outside, log_price[~inside], size)[codes[inside]]
        count[inside] = np.bincount(outside, minlength=size)[codes[inside]]
    return _shrunk(total, np.where(codes > 0, count, 0.0), prior)


def _shrunk(total: Floats, count: Floats, prior: Floats) -> Floats:
    mean = (total + _PRIOR_ITEMS * prior) / (count + _PRIOR_ITEMS)
    return np.where(count > 0, mean, np.nan)
