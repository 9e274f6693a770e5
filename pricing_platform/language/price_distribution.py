"""A distribution over prices, as a language model's probabilities give it.

Here belongs reading quantiles from it. How the probabilities come about belongs to the models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class PriceDistribution:
    """Probabilities of whole prices.

    ``prices`` are ascending whole numbers in the catalogue's currency, shape (n,), float64;
    ``probabilities`` are of the same shape, float32, not negative and with a positive sum (they are
    divided by it). A price n stands for all that round to it, so its mass is even over
    n - 0.5 to n + 0.5.
    """

    prices: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float32]

    def quantile(self, level: float) -> float:
        """The price below which ``level`` of the distribution lies; 0.5 reads the median."""
        cumulative = np.cumsum(self.probabilities, dtype=np.float64)
        wanted = level * cumulative[-1]
        place = min(int(np.searchsorted(cumulative, wanted)), len(cumulative) - 1)
        mass = float(self.probabilities[place])
        before = cumulative[place] - mass
        share = (wanted - before) / mass if mass > 0 else 0.5
        return max(float(self.prices[place]) - 0.5 + float(np.clip(share, 0.0, 1.0)), 0.0)

    def sharpened(self, sharpness: float) -> PriceDistribution:
        """With every probability raised to a power: above 1, what is likely counts for more.

        It is the temperature 1 / sharpness of Guo et al., "On calibration of modern neural
        networks", 2017, over whole prices.
        """
        if sharpness == 1:
            return self
        scaled = self.probabilities.astype(np.float64) / self.probabilities.max()
        return PriceDistribution(self.prices, (scaled**sharpness).astype(np.float32))
