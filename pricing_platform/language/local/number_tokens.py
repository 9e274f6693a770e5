"""Numbers as a tokenizer writes them after a given text, and the trie that they make.

Here belongs what follows from the tokenizer alone. Probabilities belong to ``price_readout``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pricing_platform.errors import PlatformError
from pricing_platform.language.local.shared_beginnings import common_prefix

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NumberTokens:
    """How the numbers 0, 1, … are written after a text.

    ``tail`` are the text's own last tokens, by which it is known in a longer one; the last
    ``replaced`` of them give way, since the tokenizer merges them with digits. Number n is then
    ``sequences[n]``, of one token at least.
    """

    tail: tuple[int, ...]
    replaced: int
    sequences: tuple[tuple[int, ...], ...]

    @classmethod
    def after(
        cls, text: str, highest: int, encode: Callable[[Sequence[str]], list[list[int]]]
    ) -> NumberTokens:
        """The numbers 0 to ``highest`` after the text.

        Raises:
            PlatformError: when the tokenizer can't tell them apart.
        """
        own, *found = encode([text, *(f"{text}{n}" for n in range(highest + 1))])
        kept = min(common_prefix([own, *found]), min(map(len, found)) - 1)
        sequences = tuple(tuple(ids[kept:]) for ids in found)
        if len(set(sequences)) != len(sequences):
            raise PlatformError(
                f"The tokenizer can't write every number from 0 to {highest}: some look the same.",
                "Use a model whose tokenizer knows the digits.",
            )
        return cls(tuple(own[max(0, kept - 1) :]), len(own) - kept, sequences)

    def follows(self, ids: Sequence[int]) -> bool:
        """Whether a prompt ends so that the numbers are written after it as they are here."""
        return tuple(ids[-len(self.tail) :]) == self.tail if self.tail else True

    def start(self, ids: list[int]) -> list[int]:
        """The prompt's tokens that stand before every number."""
        return ids[: len(ids) - self.replaced]

    @property
    def longest(self) -> int:
        """Tokens of the longest number."""
        return max(map(len, self.sequences))


@dataclass(frozen=True)
class NumberTrie:
    """The beginnings of all numbers' token sequences, the root left out, level after level.

    Arrays of shape (nodes,): the node's token, its parent (-1 for the root), and the number that
    ends there (-1 for none). Level d, from 0, is the nodes ``levels[d]`` to ``levels[d + 1]``.
    """

    tokens: Integers
    parents: Integers
    numbers: Integers
    levels: tuple[int, ...]

    @classmethod
    def of(cls, sequences: Sequence[tuple[int, ...]]) -> NumberTrie:
        """The trie of each number's tokens."""
        beginnings = {tokens[:end] for tokens in sequences for end in range(1, len(tokens) + 1)}
        ordered = sorted(beginnings, key=lambda tokens: (len(tokens), tokens))
        place = {tokens: node for node, tokens in enumerate(ordered)}
        number = {tokens: n for n, tokens in enumerate(sequences)}
        depths = np.array([len(tokens) for tokens in ordered])
        levels = np.searchsorted(depths, np.arange(1, depths.max() + 2))
        return cls(
            np.array([tokens[-1] for tokens in ordered], dtype=np.int64),
            np.array([place.get(tokens[:-1], -1) for tokens in ordered], dtype=np.int64),
            np.array([number.get(tokens, -1) for tokens in ordered], dtype=np.int64),
            tuple(int(level) for level in levels),
        )

    def level(self, depth: int) -> Integers:
        """The nodes of a level."""
        return np.arange(self.levels[depth], self.levels[depth + 1])

    def children(self, nodes: Integers) -> tuple[Integers, Integers]:
        """The nodes that go on from some nodes of one level, and the place of each one's parent."""
        counts = self._child_counts[nodes]
        places = np.repeat(np.arange(len(nodes)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._first_children[nodes][places] + within, places

    @functools.cached_property
    def smallest_numbers(self) -> Integers:
        """Of each node the smallest number that it is or that goes on from it."""
        most = int(self.numbers.max())
        found = np.where(self.numbers >= 0, self.numbers, most)
        for depth in range(len(self.levels) - 2, 0, -1):
            level = self.level(depth)
            np.minimum.at(found, self.parents[level], found[level])
        return found

    @functools.cached_property
    def _child_counts(self) -> Integers:
        return np.bincount(self.parents[self.parents >= 0], minlength=len(self.parents))

    @functools.cached_property
    def _first_children(self) -> Integers:
        roots = int(np.count_nonzero(self.parents < 0))
        return roots + np.cumsum(self._child_counts) - self._child_counts
