"""A small catalogue whose prices follow from its texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet

THINGS = {"cable": 5.0, "keyboard": 40.0, "monitor": 220.0, "graphics card": 600.0}
MAKES = {"plain": 0.7, "sturdy": 1.0, "deluxe": 1.5}


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Batches this small gain nothing from a second thread, and lose much on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_items(count: int, *, seed: int = 0) -> ItemSet:
    random = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        thing, make = random.choice(list(THINGS)), random.choice(list(MAKES))
        text = f"{make} {thing} number {random.integers(1000)}"
        price = THINGS[thing] * MAKES[make] * float(np.exp(random.normal(0, 0.05)))
        rows.append(
            {
                "item_id": f"{seed}-{i:05d}",
                "text": text,
                "category": thing,
                "price": price,
                "content_hash": hashlib.sha256(text.encode()).hexdigest(),
                "split": "train",
            }
        )
    return ItemSet(pl.DataFrame(rows), np.zeros((count, 384), np.float32))


@pytest.fixture(scope="session")
def train_items() -> ItemSet:
    return make_items(96, seed=1)


@pytest.fixture(scope="session")
def validation_items() -> ItemSet:
    return make_items(40, seed=2)
