"""The probabilities of whole prices, read off a network's next-token probabilities.

Here belongs the reading: a trie of number tokens over the prompts' cache. How numbers are tokenised
belongs to ``number_tokens``.

Method: a number's probability is that of its tokens, one after the other, and of anything but a
further digit after them. Number tokens compete with every other token on the way, so what is read
has to be scaled to a sum of 1, which also leaves out what the model would say besides a number; how
much of its probability the numbers have says whether it gives a price at all. Decimals after a
number count for the number, and so does what goes on after a number beyond the tenth part of the
highest one: that is out of range.

Of a level of the trie, a systematic sample is followed: where the nodes are lined up by number, one
at each equal step of their probability (Madow, "On the theory of systematic sampling", 1949), so
that those with more than a step are followed for certain. How the others go on is interpolated
between them: after 42 a model does about what it does after 41 and 43.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pricing_platform.language.local.network import Batch, Network
from pricing_platform.language.local.number_tokens import NumberTokens, NumberTrie

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_FOLLOWED_AT_ONCE = 12
"""Nodes of the first level up to which they are followed in the same pass as the prompts."""

_NEGLIGIBLE = 0.002
"""Of the numbers' probability; a node with less is not followed."""

_NEARBY = 0.1
"""By how much the logarithms of numbers differ that tell much of each other."""

_BRANCH_LOGITS = 1 << 25  # numbers of the logits of branches that are computed together
_LOGITS_SUMMED = 1 << 21  # of them, those that are raised to float32 at a time


@dataclass(frozen=True)
class PriceProbabilities:
    """What was read for the prompts of a batch.

    ``numbers``: of each whole number, float32 of shape (prompts, highest + 1), each row with a sum
    of at most 1. ``interpolated``: shape (prompts,), the probability of all beginnings of numbers
    that were not followed.
    """

    numbers: Floats
    interpolated: Floats


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
        self._network = network
        self._trie = NumberTrie.of(tokens.sequences)
        self._highest = len(tokens.sequences) - 1
        self._levels = [
            _Level.of(self._trie, depth, self._highest, np.flatnonzero(goes_on))
            for depth in range(len(self._trie.levels) - 1)
        ]

    def probabilities(
        self, batch: Batch, cache: Any, *, followed: Sequence[int] | None
    ) -> PriceProbabilities:
        """Of every number after each prompt of a batch.

        Args:
            batch: the prompts.
            cache: of what they begin with alike; they and branches are added to it.
            followed: for each prompt, nodes of a level that are followed at most; None follows
                all.
        """
        first, left = self._levels[0], self._levels
        branches = _Branches(batch, cache, self._network)
        if len(first.open) <= _FOLLOWED_AT_ONCE:
            logits, *after = branches.after_prompts(self._trie, first.open)
            reading = _Reading.started(self._trie, self._highest, logits)
            every = [np.arange(len(first.open))] * len(logits)
            self._go_on(reading, first, every, [self._read(at, first) for at in after])
            left = self._levels[1:]
        else:
            logits = self._network.last_logits(batch, cache)
            reading = _Reading.started(self._trie, self._highest, logits)
        for level in left:
            if len(level.open) == 0:
                reading.end_unopened(level)
                break
            chosen = [
                _sample(mass, None if followed is None else followed[row])
                for row, mass in enumerate(reading.mass[:, level.open])
            ]
            parts = self._parts([level.open[places] for places in chosen])
            after = [branches.logits(self._trie, nodes, level.depth) for nodes in parts]
            self._go_on(reading, level, chosen, [self._read(at, level) for at in after])
        return PriceProbabilities(
            reading.numbers.astype(np.float32), reading.interpolated.astype(np.float32)
        )

    def _go_on(
        self,
        reading: _Reading,
        level: _Level,
        chosen: list[Integers],
        found: list[tuple[Doubles, Doubles]],
    ) -> None:
        """From what was found after those nodes of a level that were chosen for each prompt."""
        reading.end_unopened(level)
        if not found:
            return
        ends, children = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
        for row, places in enumerate(chosen):
            count = len(places)
            reading.go_on(row, level, places, ends[row, :count], children[row, :count])

    def _parts(self, nodes: list[Integers]) -> Iterator[list[Integers]]:
        size = max(1, _BRANCH_LOGITS // (len(nodes) * self._network.vocabulary_size))
        for start in range(0, max(map(len, nodes)), size):
            yield [at[start : start + size] for at in nodes]

    def _read(self, logits: torch.Tensor, level: _Level) -> tuple[Doubles, Doubles]:
        """After nodes of a level: that the number ends, and each token that a child may have.

        Args:
            logits: shape (prompts, nodes, vocabulary).
            level: of the nodes.

        Returns:
            Probabilities of shape (prompts, nodes) and (prompts, nodes, ``level.child_tokens``).
        """
        import torch

        wanted = torch.from_numpy(level.wanted).to(logits.device)
        found = _probabilities(logits, wanted).cpu().numpy().astype(np.float64)
        ends = 1 - np.minimum(found[..., : level.longer].sum(axis=-1), 1)
        return ends, found[..., level.longer :]


@dataclass(frozen=True)
class _Level:
    """What is fixed of a level of the trie, from 0.

    ``open``: the nodes after which more than one number goes on, in order of number; ``closed``:
    the others. ``scale``: of each open node the logarithm of its number, or of the smallest one
    below it. ``children``: the nodes that go on from the open ones; the parent of each is the open
    node at ``parent``, its token the one at ``token`` among the ``child_tokens``. ``wanted``: the
    ``longer`` tokens that make a number longer, then the child tokens.
    """

    depth: int
    open: Integers
    closed: Integers
    scale: Doubles
    children: Integers
    parent: Integers
    token: Integers
    wanted: Integers
    longer: int

    @classmethod
    def of(cls, trie: NumberTrie, depth: int, highest: int, longer: Integers) -> _Level:
        nodes = trie.level(depth)
        smallest = trie.smallest_numbers
        numbers = trie.numbers[nodes]
        is_open = (10 * numbers < highest) | (numbers < 0)
        order = nodes[is_open][np.argsort(smallest[nodes[is_open]], kind="stable")]
        children, parent = trie.children(order)
        tokens, token = np.unique(trie.tokens[children], return_inverse=True)
        return cls(
            depth,
            order,
            nodes[~is_open],
            np.log1p(smallest[order].astype(np.float64)),
            children,
            parent,
            token,
            np.concatenate([longer, tokens]),
            len(longer),
        )


@dataclass
class _Reading:
    """What is known so far: each node's probability, and what has come to an end in a number.

    ``mass``: shape (prompts, nodes). ``numbers``: shape (prompts, highest + 1).
    """

    trie: NumberTrie
    mass: Doubles
    numbers: Doubles
    interpolated: Doubles

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

    def end_unopened(self, level: _Level) -> None:
        """All that stands at the nodes of a level after which nothing is looked at."""
        self.numbers[:, self.trie.numbers[level.closed]] += self.mass[:, level.closed]

    def go_on(
        self, row: int, level: _Level, followed: Integers, ends: Doubles, children: Doubles
    ) -> None:
        """Ends the numbers of a level's open nodes, and goes on to their children.

        Args:
            row: the prompt.
            level: of the nodes.
            followed: the places of the open nodes that were looked at.
            ends: of each of these that its number ends.
            children: of each of these every child token, shape (followed, child tokens).
        """
        shares = _interpolation(level.scale, followed)
        mass = self.mass[row, level.open]
        numbers = self.trie.numbers[level.open]
        is_number = numbers >= 0
        self.numbers[row, numbers[is_number]] += (mass * (shares @ ends))[is_number]
        every = shares @ children
        self.mass[row, level.children] = mass[level.parent] * every[level.parent, level.token]
        self.interpolated[row] += mass.sum() - mass[followed].sum()


def _sample(mass: Doubles, most: int | None) -> Integers:
    """A systematic sample of nodes by their probability, in their order; one node at least."""
    worth = np.flatnonzero(mass > _NEGLIGIBLE * mass.sum())
    if most is None:
        return np.arange(len(mass))
    if len(worth) <= most:
        return worth if len(worth) else np.array([int(mass.argmax())])
    certain = np.zeros(len(mass), dtype=np.bool_)
    left, rest = most, np.where(mass > _NEGLIGIBLE * mass.sum(), mass, 0.0)
    while left > 0 and (large := (rest > 0) & (rest >= rest.sum() / left)).any():
        certain |= large
        left = most - int(certain.sum())
        rest = np.where(certain, 0.0, rest)
    steps = (np.arange(max(left, 0)) + 0.5) / max(left, 1) * rest.sum()
    certain[np.searchsorted(np.cumsum(rest), steps)] = True
    return np.flatnonzero(certain)


def _interpolation(scale: Doubles, followed: Integers) -> Doubles:
    """How much every node takes from each of the followed ones, shape (nodes, followed).

    A followed node takes all from itself; the rows have a sum of 1.
    """
    distance = np.abs(scale[:, None] - scale[followed][None, :])
    nearest = distance.min(axis=1, keepdims=True)
    shares: Doubles = np.exp((nearest - distance) / _NEARBY)
    shares /= shares.sum(axis=1, keepdims=True)
    shares[followed] = np.eye(len(followed))
    return shares


def _probabilities(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Of some tokens, float32 of shape (prompts, nodes, tokens); a part of the rows at a time."""
    import torch

    rows = max(1, _LOGITS_SUMMED // logits.shape[-1])
    parts = torch.split(logits.flatten(0, -2), rows)
    logs = [torch.log_softmax(at, dim=-1, dtype=torch.float32)[:, wanted] for at in parts]
    return torch.cat(logs).exp().view(*logits.shape[:-1], len(wanted))


class _Branches:
    """Tokens after the prompts of a batch, side by side in its cache: which sees which."""

    def __init__(self, batch: Batch, cache: Any, network: Network) -> None:
        self._batch = batch
        self._cache = cache
        self._network = network
        rows = len(batch.lengths)
        self._seen = np.zeros((rows, 0, 0), dtype=np.bool_)  # (prompts, branches, branches)
        self._columns: list[dict[int, int]] = [{} for _ in range(rows)]

    def after_prompts(self, trie: NumberTrie, nodes: Integers) -> list[torch.Tensor]:
        """After the prompts, float32 of shape (prompts, vocabulary), and after first nodes.

        The latter, where there are any, are of shape (prompts, nodes, vocabulary).
        """
        import torch

        if len(nodes) == 0:
            return [self._network.last_logits(self._batch, self._cache)]
        ids = torch.from_numpy(trie.tokens[nodes]).to(self._network.device)
        logits = self._network.first_branch_logits(self._batch, ids, self._cache)
        own = np.eye(len(nodes), dtype=np.bool_)
        self._seen = np.repeat(own[None], len(self._columns), axis=0)
        self._columns = [{int(at): place for place, at in enumerate(nodes)} for _ in self._columns]
        return [logits[:, 0].float(), logits[:, 1:]]

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
