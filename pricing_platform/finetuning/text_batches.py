"""Texts as batches of token ids: tokenised once, grouped by length, padded as little as possible.

Here belongs everything between a list of texts and the tensors that an encoder takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Indices = npt.NDArray[np.int64]
_WIDTH_STEP = 16
_SHUFFLED_TOGETHER = 50
"""Batches' worth of items sorted by length together: enough to pad little, few enough to mix."""


@dataclass(frozen=True)
class TokenisedTexts:
    """Token ids of many texts, end to end: text i has ``ids[starts[i]:starts[i + 1]]``."""

    ids: npt.NDArray[np.int32]
    starts: Indices

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Indices:
        """Tokens of each text, special tokens included."""
        return np.diff(self.starts)

    def take(self, indices: Indices) -> TokenisedTexts:
        """Some of the texts, in the order of the indices."""
        parts = [self.ids[self.starts[i] : self.starts[i + 1]] for i in indices]
        return TokenisedTexts.of(parts)

    @classmethod
    def of(cls, parts: Sequence[npt.NDArray[np.int32]]) -> TokenisedTexts:
        """From the token ids of each text."""
        starts = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
        return cls(np.concatenate([np.empty(0, np.int32), *parts]), starts)

    def padded(self, indices: Indices, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and attention mask, shape (texts, the longest of them rounded up to 16).

        Rounded, because kernels and buffers are kept for every shape that was ever seen.
        """
        import torch

        lengths = self.lengths[indices]
        width = -(-int(lengths.max()) // _WIDTH_STEP) * _WIDTH_STEP
        mask = np.arange(width)[None, :] < lengths[:, None]
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = self.take(indices).ids
        return (
            torch.from_numpy(ids).to(device),
            torch.from_numpy(mask.astype(np.int64)).to(device),
        )


class TextTokeniser:
    """The encoder's own tokenizer, cutting texts off at ``max_tokens``."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    def __call__(self, texts: Sequence[str]) -> TokenisedTexts:
        """Token ids of each text; an empty text has its special tokens only."""
        parts: list[npt.NDArray[np.int32]] = []
        for start in range(0, len(texts), 1_000):
            encodings = self._tokenizer.encode_batch_fast(list(texts[start : start + 1_000]))
            parts += [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]
        return TokenisedTexts.of(parts)


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
