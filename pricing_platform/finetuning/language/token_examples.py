"""Token ids to learn from: what is read, and from where on it is to be written.

Here belong examples and their batches. Which texts become examples belongs to whoever trains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pricing_platform.language.local.length_batches import shuffled_batches

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenExample:
    """A text whose tokens from ``start`` on a model learns to write; all before it is only read.

    ``described`` is the span of tokens, from and to, that tells of the product itself: what a price
    head takes the mean of. By default it is all that is only read.
    """

    ids: tuple[int, ...]
    start: int
    described: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.start <= len(self.ids):
            raise ValueError("an example reads one token at least, and starts to write within it")

    @property
    def span(self) -> tuple[int, int]:
        """The tokens that tell of the product."""
        return self.described or (0, self.start)


def lengths_of(examples: Sequence[TokenExample]) -> Integers:
    """Tokens of each example, shape (examples,)."""
    return np.array([len(at.ids) for at in examples], dtype=np.int64)


def examples_digest(examples: Iterable[TokenExample]) -> str:
    """The sha256 of the examples, in order."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example.ids} {example.start} {example.span}\n".encode())
    return digest.hexdigest()


def planned_batches(
    examples: Sequence[TokenExample], *, batch_items: int, epochs: float, seed: int
) -> list[Integers]:
    """The batches of a whole training, each of examples of about one length.

    Args:
        examples: what is learnt from.
        batch_items: examples in a batch.
        epochs: how often each is seen; of a last, broken epoch as many as it says.
        seed: decides the order.
    """
    lengths = lengths_of(examples)
    left = max(1, round(epochs * len(examples)))
    batches: list[Integers] = []
    epoch = 0
    while left > 0:
        found = shuffled_batches(
            lengths,
            batch_tokens=int(lengths.max()) * batch_items,
            batch_items=batch_items,
            seed=seed,
            epoch=epoch,
        )
        for batch in found:
            if left <= 0:
                break
            batches.append(batch)
            left -= len(batch)
        epoch += 1
    return batches
