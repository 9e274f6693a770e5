"""Prices of the groups that an item belongs to: its category, its brand, its chipset.

Here belongs the encoding of groups by the prices of their training items. Which groups an item
belongs to is for ``structured_features`` to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.pricing.estimates import Floats

Groups = Sequence[str | None]
_PRIOR_ITEMS = 4.0
"""How many items at the parent's mean every group is thought to hold besides its own."""


class Encoded(NamedTuple):
    """The mean log price of each item's group, and of how many items it is; shape (items,)."""

    mean: Floats
    items: Floats


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

    def encode(self, groups: Groups, prior: Floats) -> Encoded:
        """The groups' shrunk means (Micci-Barreca 2001), and how many items each is of.

        Args:
            groups: each item's group.
            prior: what is thought of the item without its group.
        """
        found = [(0.0, 0) if g is None else self.sums.get(g, (0.0, 0)) for g in groups]
        pairs = np.array(found, np.float64).reshape(-1, 2)
        return _shrunk(pairs[:, 0], pairs[:, 1], prior)


def encode_out_of_fold(
    groups: Groups, log_price: Floats, prior: Floats, folds: npt.NDArray[np.int64]
) -> Encoded:
    """The training items' encodings, each from items of other folds only."""
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


def _shrunk(total: Floats, count: Floats, prior: Floats) -> Encoded:
    mean = (total + _PRIOR_ITEMS * prior) / (count + _PRIOR_ITEMS)
    return Encoded(np.where(count > 0, mean, np.nan), count)
