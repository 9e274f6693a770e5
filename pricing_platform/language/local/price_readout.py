"""The probabilities of whole prices, read off a network's next-token probabilities.

Here belongs the reading: a trie of number tokens over the prompts' cache. How numbers are tokenised
belongs to ``number_tokens``.

Method: a number's probability is that of its tokens, one after the other, and of anything but a
further digit after them. Number tokens compete with every other token on the way, so what is read
has to be scaled to a sum of 1, which also leaves out what the model would say besides a number; how
much of its probability the numbers have says whether it gives a price at all.
Decimals after a number count for the number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pricing_platform.language.local.network import Batch, Network
from pricing_platform.language.local.number_tokens import NumberTokens, NumberTrie

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
_PRUNED_SHARE = 0.01
_BRANCH_LOGITS = 1 << 25  # numbers of the logits of branches that are computed together


@dataclass(frozen=True)
class PriceProbabilities:
    """What was read for the prompts of a batch.

    ``numbers``: of each whole number, float32 of shape (prompts, highest + 1), each row with a sum
    of at most 1. ``pruned``: shape (prompts,), how much of that sum may stand at a number that goes
    on, because whether it does was not looked at.
    """

    numbers: Floats
    pruned: Floats


class TrieReader:
    """Reads numbers level by level, the branches of a level side by side."""

    def __init__(
        self, network: Network, tokens: NumberTokens, goes_on: npt.NDArray[np.bool_]
    ) -> None:
        """For a network.

        Args:
            network: whose probabilities are read.
            tokens: how numbers are written after the prompts.
            goes_on: for each token id whether it makes a number before it longer.
        """
        import torch

        self._network = network
        self._trie = NumberTrie.of(tokens.sequences)
        self._highest = len(tokens.sequences) - 1
        self._goes_on = torch.from_numpy(np.flatnonzero(goes_on)).to(network.device)

    def probabilities(
        self, logits: torch.Tensor, batch: Batch, cache: Any, *, pruned_share: float = _PRUNED_SHARE
    ) -> PriceProbabilities:
        """Of every number after each prompt of a batch.

        Args:
            logits: after each prompt, shape (prompts, vocabulary).
            batch: the prompts.
            cache: their keys and values; branches are added to it.
            pruned_share: how much of the numbers' probability may be left unlooked at on each
                level: the least probable branches are not followed.
        """
        reading = _Reading.started(self._trie, self._highest, logits)
        branches = _Branches(batch, cache, self._network)
        tolerated = pruned_share * reading.mass.sum(axis=1)
        for depth in range(len(self._trie.levels) - 1):
            for followed in self._chunks(reading.followed(depth, tolerated)):
                reading.add(followed, *self._looked_at(branches, followed, depth))
        return PriceProbabilities(
            reading.numbers.astype(np.float32), reading.pruned.astype(np.float32)
        )

    def _chunks(self, followed: list[Integers]) -> Iterator[list[Integers]]:
        size = max(1, _BRANCH_LOGITS // (len(followed) * self._network.vocabulary_size))
        for start in range(0, max(map(len, followed)), size):
            yield [nodes[start : start + size] for nodes in followed]

    def _looked_at(
        self, branches: _Branches, followed: list[Integers], depth: int
    ) -> tuple[Floats, list[Floats]]:
        """Of each node of a level: that its number ends, and its children's probabilities.

        Returns:
            Shape (prompts, nodes), and for each prompt those of the children of its nodes.
        """
        logits = branches.logits(self._trie, followed, depth)
        logits -= logits.logsumexp(dim=-1, keepdim=True)
        ends: Floats = 1 - logits[..., self._goes_on].exp().sum(dim=-1).clamp(max=1).cpu().numpy()
        return ends, [self._of_children(logits[row], nodes) for row, nodes in enumerate(followed)]

    def _of_children(self, logits: torch.Tensor, nodes: Integers) -> Floats:
        import torch

        children, rows = self._trie.children(nodes)
        found: Floats = (
            logits[torch.from_numpy(rows), torch.from_numpy(self._trie.tokens[children])]
            .exp()
            .cpu()
            .numpy()
        )
        return found


@dataclass
class _Reading:
    """What is known so far: each node's probability, and what has come to an end in a number.

    ``mass``: shape (prompts, nodes). ``numbers``: shape (prompts, highest + 1).
    """

    trie: NumberTrie
    mass: npt.NDArray[np.float64]
    numbers: npt.NDArray[np.float64]
    pruned: npt.NDArray[np.float64]

    @classmethod
    def started(cls, trie: NumberTrie, highest: int, logits: torch.Tensor) -> _Reading:
        """With the probabilities of the first level's nodes."""
        import torch

        rows = len(logits)
        first = trie.level(0)
        chosen = logits[:, torch.from_numpy(trie.tokens[first]).to(logits.device)]
        mass = np.zeros((rows, len(trie.tokens)))
        mass[:, first] = (chosen - logits.logsumexp(dim=-1, keepdim=True)).exp().cpu().numpy()
        return cls(trie, mass, np.zeros((rows, highest + 1)), np.zeros(rows))

    def followed(self, depth: int, tolerated: npt.NDArray[np.float64]) -> list[Integers]:
        """The nodes of a level, for each prompt, without the least probable ones.

        Those are as many as have the tolerated probability together; where a number ends in one of
        them, it is taken to end there.
        """
        level = self.trie.level(depth)
        found = []
        for row, mass in enumerate(self.mass[:, level]):
            order = np.argsort(mass, kind="stable")
            left_out = int(np.searchsorted(np.cumsum(mass[order]), tolerated[row], side="right"))
            nodes = level[order[:left_out]]
            self.pruned[row] += mass[order[:left_out]].sum()
            self._end(row, nodes, self.mass[row, nodes])
            found.append(level[order[left_out:]])
        return found

    def add(self, followed: list[Integers], ends: Floats, of_children: list[Floats]) -> None:
        """What was found of nodes: that their numbers end, and their children's probabilities."""
        for row, nodes in enumerate(followed):
            self._end(row, nodes, self.mass[row, nodes] * ends[row, : len(nodes)])
            children, _ = self.trie.children(nodes)
            parents = self.trie.parents[children]
            self.mass[row, children] = self.mass[row, parents] * of_children[row]

    def _end(self, row: int, nodes: Integers, mass: npt.NDArray[np.float64]) -> None:
        numbers = self.trie.numbers[nodes]
        ending = numbers >= 0
        self.numbers[row, numbers[ending]] += mass[ending]


class _Branches:
    """Tokens after the prompts of a batch, side by side in its cache: which sees which."""

    def __init__(self, batch: Batch, cache: Any, network: Network) -> None:
        self._batch = batch
        self._cache = cache
        self._network = network
        rows = len(batch.lengths)
        self._seen = np.zeros((rows, 0, 0), dtype=np.bool_)  # (prompts, branches, branches)
        self._columns: list[dict[int, int]] = [{} for _ in range(rows)]

    def logits(self, trie: NumberTrie, followed: list[Integers], depth: int) -> torch.Tensor:
        """After nodes of a level, shape (prompts, most nodes, vocabulary)."""
        import torch

        width = max(map(len, followed))
        ids = np.zeros((len(followed), width), dtype=np.int64)
        for row, nodes in enumerate(followed):
            ids[row, : len(nodes)] = trie.tokens[nodes]
        seen = torch.from_numpy(self._grown(trie, followed, width)).to(self._network.device)
        prompt = self._batch.mask.bool()[:, None, :].expand(-1, width, -1)
        positions = (self._batch.lengths + depth)[:, None].expand(-1, width)
        return self._network.branch_logits(
            torch.from_numpy(ids).to(self._network.device),
            positions,
            torch.cat([prompt, seen], dim=-1),
            self._cache,
        )

    def _grown(
        self, trie: NumberTrie, followed: list[Integers], width: int
    ) -> npt.NDArray[np.bool_]:
        """What the new branches see of all branches: themselves and those that they go on from."""
        rows, old = self._seen.shape[:2]
        grown = np.zeros((rows, old + width, old + width), dtype=np.bool_)
        grown[:, :old, :old] = self._seen
        new = np.arange(old, old + width)
        grown[:, new, new] = True
        for row, nodes in enumerate(followed):
            columns = self._columns[row]
            for column, node in zip(new, nodes, strict=False):
                parent = columns.get(int(trie.parents[node]))
                if parent is not None:
                    grown[row, column, :old] = self._seen[row, parent]
                columns[int(node)] = int(column)
        self._seen = grown
        return grown[:, old:]
