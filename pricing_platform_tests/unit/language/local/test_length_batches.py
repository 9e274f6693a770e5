"""Batches by length: nothing lost, little padded, the same order for a seed."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.language.local.length_batches import shuffled_batches

lengths = st.lists(st.integers(2, 300), max_size=200).map(lambda v: np.array(v, dtype=np.int64))


@settings(deadline=None)
@given(lengths, st.integers(1, 1_000), st.integers(1, 40))
def test_batches_hold_every_item_once_within_their_limits(
    given_lengths: np.ndarray, batch_tokens: int, batch_items: int
) -> None:
    batches = shuffled_batches(
        given_lengths, batch_tokens=batch_tokens, batch_items=batch_items, seed=1, epoch=0
    )
    assert sorted(i for batch in batches for i in batch) == list(range(len(given_lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= batch_items
        assert len(batch) == 1 or len(batch) * given_lengths[batch].max() <= batch_tokens


def test_the_order_follows_from_seed_and_epoch() -> None:
    some = np.random.default_rng(0).integers(5, 100, size=500)

    def order(seed: int, epoch: int) -> list[int]:
        batches = shuffled_batches(some, batch_tokens=900, batch_items=16, seed=seed, epoch=epoch)
        return [int(i) for batch in batches for i in batch]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_little_is_padded() -> None:
    some = np.random.default_rng(0).integers(5, 128, size=20_000)
    batches = shuffled_batches(some, batch_tokens=4_096, batch_items=64, seed=1, epoch=0)
    padded = sum(len(batch) * some[batch].max() for batch in batches)
    assert padded / some.sum() < 1.05
