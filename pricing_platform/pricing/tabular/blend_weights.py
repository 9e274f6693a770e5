"""How much to believe each of several estimates: weights fitted on items that none was fitted on.

Here belong the choice of the weights and of the scale on which estimates are averaged. Whose
estimates they are does not matter here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from pricing_platform.pricing.estimates import Floats, from_log
from pricing_platform.pricing.tabular.text_model import family_folds

Scale = Literal["price", "log"]
SCALES: tuple[Scale, ...] = ("price", "log")
_FOLDS = 5
_SMALLEST_WEIGHT = 0.01
_MOST_ITEMS = 20_000


@dataclass(frozen=True)
class Weighting:
    """Non-negative weights that sum to 1, and the scale on which they average."""

    scale: Scale
    weights: dict[str, float]

    @classmethod
    def fit(
        cls, estimates: Mapping[str, Floats], prices: Floats, families: list[str | None]
    ) -> Self:
        """The weights with the least absolute error in price, on the scale that suits better.

        The scale is chosen by the error on families left out (5 folds); the weights are then fitted
        on all items, and those below 0.01 are dropped. Items that a member did not price are left
        out; of more than 20,000 items the first are taken.

        Args:
            estimates: price by member, NaN where there is none; each of shape (items,).
            prices: of the same items, none of which any member was fitted on (though some chose
                on them when to stop).
            families: of the same items.
        """
        names, answers = list(estimates), np.column_stack(list(estimates.values()))
        used = np.flatnonzero(np.isfinite(answers).all(axis=1))[:_MOST_ITEMS]
        if len(used) < 2 * _FOLDS:
            used = np.flatnonzero(np.isfinite(answers).any(axis=1))
            answers = np.where(np.isfinite(answers), answers, np.nanmedian(answers))
        answers, prices = answers[used], prices[used]
        folds = family_folds([families[i] for i in used.tolist()], _FOLDS)
        scale = min(SCALES, key=lambda s: _error_left_out(answers, prices, folds, s))
        found = _least_absolute_deviations(answers, prices, scale)
        kept = np.where(found >= _SMALLEST_WEIGHT, found, 0.0)
        kept = kept / kept.sum()
        return cls(scale, {n: float(w) for n, w in zip(names, kept, strict=True) if w > 0})

    def average(self, estimates: Mapping[str, Floats]) -> Floats:
        """The weighted average price; a member without an answer leaves its weight to the others.

        NaN where no member has an answer.
        """
        answers = np.column_stack([estimates[name] for name in self.weights])
        weight = np.where(np.isfinite(answers), list(self.weights.values()), 0.0)
        total = weight.sum(axis=1)
        values = np.where(weight > 0, _on_scale(answers, self.scale), 0.0)
        mean = np.divide(
            (weight * values).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0
        )
        return mean if self.scale == "price" else np.asarray(np.expm1(mean), np.float64)


def cross_fitted_average(
    weighting: Weighting,
    estimates: Mapping[str, Floats],
    prices: Floats,
    families: list[str | None],
) -> Floats:
    """The average of the items that decided the weights, as fair as that of any other item.

    Each item is weighed by weights fitted without its fold's families (5 folds), on the same scale.

    Args:
        weighting: fitted on these items.
        estimates: as for :meth:`Weighting.fit`.
        prices: as there.
        families: as there.
    """
    answers = np.column_stack(list(estimates.values()))
    complete = np.isfinite(answers).all(axis=1)
    folds = family_folds(families, _FOLDS)
    average = weighting.average(estimates)
    for fold in np.unique(folds):
        learnt = np.flatnonzero((folds != fold) & complete)[:_MOST_ITEMS]
        if len(learnt) < _FOLDS:
            continue
        found = _least_absolute_deviations(answers[learnt], prices[learnt], weighting.scale)
        without = Weighting(weighting.scale, dict(zip(estimates, found.tolist(), strict=True)))
        out = folds == fold
        average[out] = without.average({name: said[out] for name, said in estimates.items()})
    return average


def _on_scale(prices: Floats, scale: Scale) -> Floats:
    return prices if scale == "price" else np.log1p(prices)


def _error_left_out(answers: Floats, prices: Floats, folds: Any, scale: Scale) -> float:
    """Mean absolute error in price on families on which the weights were not fitted."""
    error = np.zeros(len(prices))
    for fold in np.unique(folds):
        out = folds == fold
        weights = _least_absolute_deviations(answers[~out], prices[~out], scale)
        average = _on_scale(answers[out], scale) @ weights
        error[out] = np.abs((average if scale == "price" else from_log(average)) - prices[out])
    return float(error.mean())


def _least_absolute_deviations(answers: Floats, prices: Floats, scale: Scale) -> Floats:
    """Weights >= 0 with sum 1 and the least sum of absolute errors; a linear programme.

    On the log scale an item's error counts in proportion to its price, as it does in price. With no
    item at all, every member weighs the same.
    """
    import scipy.sparse
    from scipy.optimize import linprog

    items, members = answers.shape
    if items == 0:
        return np.full(members, 1 / members)
    importance = np.ones(items) if scale == "price" else (1 + prices) / (1 + prices).mean()
    # Unknowns: the weights, then how far each average lies below and above its price.
    both = scipy.sparse.hstack([scipy.sparse.identity(items), -scipy.sparse.identity(items)])
    balance = scipy.sparse.hstack([scipy.sparse.csr_matrix(_on_scale(answers, scale)), both])
    total = scipy.sparse.csr_matrix(np.concatenate([np.ones(members), np.zeros(2 * items)]))
    solution = linprog(
        np.concatenate([np.zeros(members), importance, importance]),
        A_eq=scipy.sparse.vstack([balance, total], format="csr"),
        b_eq=np.concatenate([_on_scale(prices, scale), [1.0]]),
        bounds=(0, None),
        method="highs",
    )
    if not solution.success:
        return np.full(members, 1 / members)
    weights = np.maximum(np.asarray(solution.x[:members], np.float64), 0.0)
    return np.asarray(weights / weights.sum(), np.float64)
