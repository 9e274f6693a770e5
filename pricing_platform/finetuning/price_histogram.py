"""A distribution over prices as a histogram over log-price bins.

A network that answers with a distribution is trained by cross-entropy against the price smoothed
by a Gaussian (HL-Gauss, Imani and White 2018), and any quantile can be read from its answer. Here
belong the bins, the targets and the reading. The network does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PriceHistogram:
    """Bins of equal width on the scale ``log(1 + price)``, and the width of the smoothing.

    ``lowest`` and ``highest`` are the outer edges and ``smoothing`` is the standard deviation of
    the targets, all on that scale.
    """

    lowest: float
    highest: float
    bins: int
    smoothing: float

    @classmethod
    def covering(cls, prices: Floats, *, bins: int = 96, smoothing: float = 0.15) -> Self:
        """Bins from the lowest price to the highest, and two standard deviations beyond either.

        Raises:
            ValueError: without prices, or when one is negative or not finite.
        """
        prices = np.asarray(prices, dtype=np.float64)
        if prices.size == 0 or not np.isfinite(prices).all() or prices.min() < 0:
            raise ValueError("a price histogram needs finite prices of 0 or more")
        return cls.covering_values(np.log1p(prices), bins=bins, smoothing=smoothing)

    @classmethod
    def covering_values(cls, values: Floats, *, bins: int = 96, smoothing: float = 0.15) -> Self:
        """As :meth:`covering`, from values on the log scale itself, such as differences on it."""
        margin = 2 * smoothing
        return cls(float(values.min() - margin), float(values.max() + margin), bins, smoothing)

    @property
    def edges(self) -> Floats:
        """The bins' edges on the log scale, shape (bins + 1,)."""
        return np.linspace(self.lowest, self.highest, self.bins + 1)

    def targets(self, prices: Floats) -> npt.NDArray[np.float32]:
        """What the network is to answer: the mass of a Gaussian around each price in each bin.

        Returns:
            Shape (prices, bins); each row sums to 1, also for a price beyond the outer edges.
        """
        return self.value_targets(np.log1p(prices))

    def value_targets(self, values: Floats) -> npt.NDArray[np.float32]:
        """As :meth:`targets`, of values on the log scale itself."""
        from scipy.special import ndtr

        inside = np.clip(values, self.lowest, self.highest)
        cumulative = ndtr((self.edges[None, :] - inside[:, None]) / self.smoothing)
        mass = np.diff(cumulative, axis=1)
        return np.asarray(mass / mass.sum(axis=1, keepdims=True), dtype=np.float32)

    def prior(self, prices: Floats) -> npt.NDArray[np.float32]:
        """The mean of the targets: what is known about a price before any text is read."""
        total = np.zeros(self.bins)
        for start in range(0, len(prices), 10_000):
            total += self.targets(prices[start : start + 10_000]).sum(axis=0)
        return np.asarray(total / total.sum(), dtype=np.float32)

    def quantile(self, probabilities: npt.NDArray[np.floating], level: float) -> Floats:
        """The price below which ``level`` of each distribution lies.

        Mass is taken to be even within a bin of the log scale.

        Args:
            probabilities: shape (items, bins), rows sum to 1.
            level: in (0, 1); 0.5 reads the median.

        Returns:
            Prices, shape (items,), at least 0.
        """
        return np.maximum(np.expm1(self.log_quantile(probabilities, level)), 0.0)

    def log_quantile(self, probabilities: npt.NDArray[np.floating], level: float) -> Floats:
        """As :meth:`quantile`, on the scale ``log(1 + price)``."""
        mass = np.asarray(probabilities, dtype=np.float64)
        cumulative = np.cumsum(mass, axis=1)
        wanted = level * cumulative[:, -1:]
        bin_of = np.minimum((cumulative < wanted).sum(axis=1), self.bins - 1)
        rows = np.arange(len(mass))
        within = mass[rows, bin_of]
        before = cumulative[rows, bin_of] - within
        share = np.divide(wanted[:, 0] - before, within, out=np.zeros(len(mass)), where=within > 0)
        width = (self.highest - self.lowest) / self.bins
        return np.asarray(self.lowest + width * (bin_of + np.clip(share, 0.0, 1.0)))
