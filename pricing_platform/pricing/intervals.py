"""Intervals around estimates, from what a technique missed on the validation items.

Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018) with one quantile for each
side, because relative errors are skewed. Here belong intervals for techniques that know none of
their own.

What it guarantees: for items drawn as the validation items were, the price lies inside with a
probability of at least the level, averaged over all items, not for each category by itself. What
it does not: an interval is as wide, relative to the estimate, for an item that is easy as for one
that is hard; and where the validation items also chose an epoch or a weight, the coverage of new
items is a little lower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

LEVEL = 0.8
"""The share of prices that an interval is to hold: a tenth below it, a tenth above."""


@dataclass(frozen=True)
class ConformalInterval:
    """Offsets in ``log(1 + price)`` from an estimate to the ends of its interval."""

    below: float = 0.0
    above: float = 0.0

    @classmethod
    def fit(
        cls,
        log_price: npt.NDArray[np.float64],
        log_estimate: npt.NDArray[np.float64],
        *,
        level: float = LEVEL,
    ) -> Self:
        """The order statistics of the residuals that leave ``(1 - level) / 2`` on each side.

        With n residuals these are number floor((n + 1) (1 - level) / 2) from either end; with so
        few that this is 0, the outermost ones are taken, and the level is not reached. Without a
        residual the interval is the estimate itself.
        """
        residuals = np.sort(np.asarray(log_price - log_estimate, dtype=np.float64))
        if len(residuals) == 0:
            return cls(0.0, 0.0)
        # 1 - 0.8 is a little less than 0.2 in floating point: no item is lost to that.
        outside = max(math.floor((len(residuals) + 1) * (1 - level) / 2 + 1e-9), 1)
        return cls(float(residuals[outside - 1]), float(residuals[-outside]))

    def around(
        self, log_estimate: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Lower and upper ends; the estimate itself lies always inside."""
        estimate = np.asarray(log_estimate, dtype=np.float64)
        return estimate + min(self.below, 0.0), estimate + max(self.above, 0.0)
