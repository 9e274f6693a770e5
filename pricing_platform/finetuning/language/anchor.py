"""A first estimate from frozen states, by ridge regression, and how far it is off on new items.

The first half of "linear probing, then fine-tuning" (Kumar et al. 2022), in closed form: the
adapters then learn what is left to learn, and start behind an estimate instead of behind a random
head. Here belongs the regression. What is learnt on top of it belongs to ``price_head``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Tried penalties, a feature, of features scaled to a variance of 1."""

_EMPHASIS = 20.0
_FOLDS = 5
_MOST_ITEMS = 8_000
"""Items that one regression is solved on at most: its time grows with their number cubed."""


@dataclass(frozen=True, eq=False)
class Anchor:
    """A linear estimate of the log price: ``offset + (features - mean) / scale @ weights``.

    ``mean``, ``scale`` and ``weights`` are float32 of shape (features,).
    """

    mean: Singles
    scale: Singles
    weights: Singles
    offset: float
    penalty: float

    def __call__(self, features: Singles) -> Floats:
        """Log prices, shape (items,), of features of shape (items, features)."""
        scaled = (features - self.mean) / self.scale
        return np.asarray(scaled @ self.weights + self.offset, dtype=np.float64)

    @classmethod
    def fit(
        cls,
        features: Singles,
        log_prices: Floats,
        groups: npt.NDArray[np.int64],
        *,
        emphasised: int = 0,
        seed: int,
    ) -> tuple[Self, Floats]:
        """The regression, and for each item what one says that has not seen its group.

        The penalty is the one whose estimates out of fold have the least absolute error.

        Args:
            features: shape (items, features).
            log_prices: shape (items,).
            groups: numbers the family of each item; a family is in one fold.
            emphasised: how many of the last features are numbers by themselves and not one of the
                hundreds that a text is spread over: they are shrunk so much less.
            seed: deals the families into folds.
        """
        mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
        if emphasised:
            scale[-emphasised:] /= _EMPHASIS
        ridge = _Ridge.of(((features - mean) / scale).astype(np.float32), log_prices)
        fold = _folds(groups, seed=seed)
        numbers = np.unique(fold)
        first = fold == numbers[0]
        errors = {
            at: float(np.abs(ridge.said_of(first, at) - log_prices[first]).mean())
            for at in _PENALTIES
        }
        best = min(errors, key=lambda at: errors[at])
        unseen = np.empty(len(log_prices))
        for number in numbers:
            left_out = fold == number
            unseen[left_out] = ridge.said_of(left_out, best)
        weights, offset = ridge.solution(np.zeros(len(features), np.bool_), best)
        return cls(mean, scale, weights, offset, best), unseen


def _folds(groups: npt.NDArray[np.int64], *, seed: int) -> npt.NDArray[np.int64]:
    random = np.random.default_rng(seed)
    return random.integers(_FOLDS, size=int(groups.max()) + 1)[groups]


@dataclass(frozen=True, eq=False)
class _Ridge:
    """Ridge regressions on parts of the same items, which share the products that they are made of.

    ``features`` have shape (items, features) and ``targets`` (items,); the first items alone are
    learnt from. ``products`` are those of these items with each other where there are no more of
    them than features, else of the features with each other.
    """

    features: Singles
    targets: Floats
    products: Singles
    is_dual: bool

    @classmethod
    def of(cls, features: Singles, targets: Floats) -> Self:
        """With the products of all items, computed once."""
        learnt = features[:_MOST_ITEMS]
        is_dual = len(learnt) <= learnt.shape[1]
        products = learnt @ learnt.T if is_dual else learnt.T @ learnt
        return cls(features, targets, products, is_dual)

    def said_of(self, left_out: npt.NDArray[np.bool_], penalty: float) -> Floats:
        """What a regression on all others says of those that are left out."""
        weights, offset = self.solution(left_out, penalty)
        return np.asarray(self.features[left_out] @ weights + offset, dtype=np.float64)

    def solution(self, left_out: npt.NDArray[np.bool_], penalty: float) -> tuple[Singles, float]:
        """Weights and offset without those that are left out; where that is all, with them."""
        from scipy.linalg import solve

        known = ~left_out[:_MOST_ITEMS]
        known = known if known.any() else ~known
        features, targets = self.features[:_MOST_ITEMS][known], self.targets[:_MOST_ITEMS][known]
        offset, strength = float(targets.mean()), penalty * features.shape[1]
        centred = (targets - offset).astype(np.float32)
        if self.is_dual:
            system = self.products[np.ix_(known, known)]
        else:
            others = self.features[:_MOST_ITEMS][~known]
            system = self.products - others.T @ others
            centred = features.T @ centred
        system[np.diag_indices_from(system)] += strength
        found = solve(system, centred, assume_a="pos", overwrite_a=True)
        weights = found @ features if self.is_dual else found
        return np.asarray(weights, dtype=np.float32), offset
