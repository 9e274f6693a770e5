"""A fine-tuned model beside its base on the same questions and the same text.

Here belong the differences and how sure they are. Both models answer the same, so what is resampled
are pairs: questions for the accuracy, chunks of text for perplexity and divergence (Efron, 1979,
percentile intervals of 95 %). Intervals of the models themselves are wider than those of their
difference and say little about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.forgetting.measuring import ForgettingMeasure
from pricing_platform.resampling import (
    ClusterSums,
    percentile_interval,
    resampled_sums,
)

RESAMPLES = 2000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; no interval where there is nothing to resample."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Forgetting:
    """What a model lost against its base.

    ``probe_accuracy``, ``perplexity``, ``kl_divergence``: the model's own. ``accuracy_lost``: the
    share of the base's accuracy that is gone, below 0 where it gained. ``perplexity_gained``: by
    which share of the base's the perplexity grew.
    """

    probe_accuracy: Interval
    perplexity: Interval
    kl_divergence: Interval
    accuracy_lost: Interval
    perplexity_gained: Interval

    @property
    def share(self) -> float:
        """The larger of both shares, which the limit is for."""
        return max(self.accuracy_lost.value, self.perplexity_gained.value)


def compare(
    base: ForgettingMeasure, model: ForgettingMeasure, *, seed: int, resamples: int = RESAMPLES
) -> Forgetting:
    """What the model lost; two measures of the same tests.

    Raises:
        PlatformError: when the base answers no probe correctly, so that it has nothing to lose.
    """
    if not base.is_correct.any():
        raise PlatformError(
            "The base model answers none of the probes correctly.",
            "Name easier ones in [forgetting], of which it answers well more than chance.",
        )
    probes = np.column_stack([model.is_correct, base.is_correct, np.ones(len(base.is_correct))])
    text = np.column_stack([model.nll, base.nll, model.divergence, model.tokens])

    def of_probes(statistic: Callable[[Floats], Floats]) -> Interval:
        return _interval(probes.astype(np.float64), statistic, seed, resamples)

    def of_text(statistic: Callable[[Floats], Floats]) -> Interval:
        return _interval(text, statistic, seed, resamples)

    return Forgetting(
        probe_accuracy=of_probes(lambda sums: sums[:, 0] / sums[:, 2]),
        perplexity=of_text(lambda sums: np.exp(sums[:, 0] / sums[:, 3])),
        kl_divergence=of_text(lambda sums: sums[:, 2] / sums[:, 3]),
        accuracy_lost=of_probes(lambda sums: 1 - sums[:, 0] / sums[:, 1]),
        perplexity_gained=of_text(lambda sums: np.exp((sums[:, 0] - sums[:, 1]) / sums[:, 3]) - 1),
    )


def _interval(
    statistics: Floats, statistic: Callable[[Floats], Floats], seed: int, resamples: int
) -> Interval:
    """Of a function of sums over the rows; the same seed draws the same rows for every model."""
    count = len(statistics)
    with np.errstate(all="ignore"):
        value = float(statistic(statistics.sum(axis=0, keepdims=True))[0])
        if count < 2 or not np.isfinite(statistics).all():
            return Interval(value, None, None)
        group = ClusterSums(np.arange(count), statistics)
        (sums,) = resampled_sums([group], clusters=count, resamples=resamples, seed=seed)
        low, high = percentile_interval(statistic(sums))
    known = np.isfinite(low) and np.isfinite(high)
    return Interval(value, low if known else None, high if known else None)
