"""A quick encoder for tests of what surrounds one: nothing is learnt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.encoder import Vectors


class HashingEncoder:
    """Sums a random direction for each word, so that texts that share words are near each other."""

    def __init__(self, identity: str = "hashing:0123456789abcdef", dimensions: int = 384) -> None:
        self.identity = identity
        self.dimensions = dimensions
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        self.encoded += texts
        progress("Encoding", len(texts), len(texts))
        sums = np.array([sum(map(self._direction, text.split() or [""])) for text in texts])
        unit = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        return unit.astype(np.float32)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self.encode(texts)

    def _direction(self, word: str) -> np.ndarray:
        digest = hashlib.sha256(f"{self.identity} {word}".encode()).digest()
        seed = int.from_bytes(digest[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimensions)
