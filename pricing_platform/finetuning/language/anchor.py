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
        scaled = ((features - mean) / scale).astype(np.float32)
        fold = _folds(groups, seed=seed)
        numbers = np.unique(fold)
        first = fold == numbers[0]
        errors = {
            at: float(np.abs(_said_of(scaled, log_prices, first, at) - log_prices[first]).mean())
            for at in _PENALTIES
        }
        best = min(errors, key=lambda at: errors[at])
        unseen = np.empty(len(log_prices))
        for number in numbers:
            left_out = fold == number
            unseen[left_out] = _said_of(scaled, log_prices, left_out, best)
        weights, offset = _solution(scaled, log_prices, best)
        return cls(mean, scale, weights, offset, best), unseen


def _folds(groups: npt.NDArray[np.int64], *, seed: int) -> npt.NDArray[np.int64]:
    random = np.random.default_rng(seed)
    return random.integers(_FOLDS, size=int(groups.max()) + 1)[groups]


def _said_of(
    features: Singles, targets: Floats, left_out: npt.NDArray[np.bool_], penalty: float
) -> Floats:
    """What a regression on all others says of those that are left out."""
    others = ~left_out if not left_out.all() else left_out
    weights, offset = _solution(features[others], targets[others], penalty)
    return np.asarray(features[left_out] @ weights + offset, dtype=np.float64)


def _solution(features: Singles, targets: Floats, penalty: float) -> tuple[Singles, float]:
    """Weights and offset, by whichever of the two forms has the smaller system."""
    from scipy.linalg import solve

    features, targets = features[:_MOST_ITEMS], targets[:_MOST_ITEMS]
    offset, strength = float(targets.mean()), penalty * features.shape[1]
    centred = (targets - offset).astype(np.float32)
    if len(features) <= features.shape[1]:
        system = features @ features.T
        system[np.diag_indices_from(system)] += strength
        dual = solve(system, centred, assume_a="pos", overwrite_a=True)
        return np.asarray(dual @ features, dtype=np.float32), offset
    system = features.T @ features
    system[np.diag_indices_from(system)] += strength
    weights = solve(system, features.T @ centred, assume_a="pos", overwrite_a=True)
    return np.asarray(weights, dtype=np.float32), offset
