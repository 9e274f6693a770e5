"""Samples of items that stand for all of them, drawn the same in every run.

Here belongs which items a sample has. What is measured on it belongs to whoever draws it.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.catalog.item_set import ItemSet

_PRICE_BANDS = 4


def stratified_sample(items: ItemSet, most: int | Literal["all"], *, seed: int) -> ItemSet:
    """At most ``most`` of the items, with each category and band of prices by its share.

    Bands are quarters of the prices. Within a stratum the items with the smallest hash of seed and
    item id are taken, so an item more or less changes the sample by few. Shares that are no whole
    numbers are rounded by the largest remainder.
    """
    if most == "all" or len(items) <= most:
        return items
    strata = _strata(items)
    order = np.argsort(_hashes(items, seed), kind="stable")
    names, counts = np.unique(strata, return_counts=True)
    wanted = _allotted(counts, most)
    chosen = np.zeros(len(items), dtype=np.bool_)
    for name, count in zip(names, wanted, strict=True):
        chosen[order[strata[order] == name][:count]] = True
    return items.where(pl.Series(chosen))


def chosen_items(items: ItemSet, most: int, *, seed: int) -> ItemSet:
    """At most ``most`` of the items, chosen by a hash of seed and item id; in their own order.

    The choice does not depend on the items' order, and an item more or less changes it by one.
    """
    return items.where(pl.Series(_hashes(items, seed)).rank("ordinal") <= most)


def _strata(items: ItemSet) -> npt.NDArray[np.int64]:
    """The number of each item's stratum, by category and band of prices."""
    prices = items.prices()
    edges = np.quantile(prices, np.arange(1, _PRICE_BANDS) / _PRICE_BANDS)
    bands = np.searchsorted(edges, prices, side="right")
    categories = items.frame["category"].fill_null("").to_numpy()
    numbers = np.unique(categories.astype(str), return_inverse=True)[1]
    return np.asarray(numbers * _PRICE_BANDS + bands, dtype=np.int64)


def _allotted(counts: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """How many of each stratum, summing up to ``most``."""
    exact = most * counts / counts.sum()
    whole: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    left = most - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    return whole


def _hashes(items: ItemSet, seed: int) -> npt.NDArray[np.str_]:
    return np.array(
        [hashlib.sha256(f"{seed}:{at}".encode()).hexdigest() for at in items.frame["item_id"]]
    )
