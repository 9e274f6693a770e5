"""Texts of about one length together, so that little is padded where they are computed.

Here belongs which of them are in a batch, by their numbers of tokens alone. The tensors belong to
whoever computes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

BATCH_TOKENS = {"cpu": 2_048, "cuda": 65_536}
"""Tokens that a language model computes together, by the kind of device: what stays in a CPU's
cache, and what fills a GPU."""

_SHUFFLED_TOGETHER = 50
"""Batches' worth of items sorted by length together: enough to pad little, few enough to mix."""


def length_sorted_batches(
    lengths: Indices, *, batch_tokens: int, batch_items: int, order: Indices | None = None
) -> Iterator[Indices]:
    """Cuts items, sorted by length, into batches of at most so many items and padded tokens.

    A text longer than ``batch_tokens`` is a batch by itself.

    Args:
        lengths: tokens of each text.
        batch_tokens: items times the longest of them is at most this.
        batch_items: items in a batch.
        order: the items to batch, all of them by default; equal lengths keep this order.
    """
    chosen = np.arange(len(lengths)) if order is None else order
    chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
    start = 0
    for end in range(1, len(chosen) + 1):
        is_last = end == len(chosen)
        count = end - start
        if is_last or count == batch_items or (count + 1) * lengths[chosen[end]] > batch_tokens:
            yield chosen[start:end]
            start = end


def shuffled_batches(
    lengths: Indices, *, batch_tokens: int, batch_items: int, seed: int, epoch: int
) -> list[Indices]:
    """One epoch: every item once, in batches of like length, in an order that the seed decides."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    together = _SHUFFLED_TOGETHER * batch_items
    batches: list[Indices] = []
    for start in range(0, len(order), together):
        batches += length_sorted_batches(
            lengths,
            batch_tokens=batch_tokens,
            batch_items=batch_items,
            order=order[start : start + together],
        )
    return [batches[i] for i in random.permutation(len(batches))]
