"""Nested parts of the train items: what is in a smaller part is in every larger one.

Here belongs which items a part has. What is learnt from it does not.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import polars as pl

from pricing_platform.catalog.item_set import ItemSet, family_names

SIZES = (250, 500, 1_000, 2_000)


def sizes_below(items: int) -> tuple[int, ...]:
    """The sizes that are smaller than all items."""
    return tuple(size for size in SIZES if size < items)


def nested_subset(items: ItemSet, size: int, *, seed: int) -> ItemSet:
    """About ``size`` of the items: whole families in the order of a seeded hash, at least one.

    As many families as bring the number of items nearest to the size. Another seed draws another
    order; for one seed the parts are nested.
    """
    names = family_names(items)
    counts = Counter(names)
    order = sorted(counts, key=lambda name: (_digest(f"{seed}:{name}"), name))
    reached = np.cumsum([counts[name] for name in order])
    families = int(np.argmin(np.abs(reached - size))) + 1
    chosen = set(order[:families])
    return items.where(pl.Series([name in chosen for name in names], dtype=pl.Boolean))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
