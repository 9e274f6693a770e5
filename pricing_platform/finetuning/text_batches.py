"""Texts as token ids: tokenised once, padded as little as possible.

Here belongs everything between a list of texts and the tensors that an encoder takes, apart from
which texts are together in one, which belongs to ``length_batches``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pricing_platform.language.local.length_batches import Indices

if TYPE_CHECKING:
    import torch

_WIDTH_STEP = 16


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
