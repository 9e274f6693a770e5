"""The cluster bootstrap: how far a number would move had other families been drawn.

Near-duplicates err together, so what is resampled are families and not items (Field and Welsh,
"Bootstrapping clustered data", 2007); an interval over items would be too narrow. Every statistic
here is a function of sums over items, so a resample is a weighted sum of per-family sums. Here
belongs the resampling; what is summed and what follows from it belongs to the metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_WEIGHTS_AT_ONCE = 2_000_000
"""Bounds the memory that resampling takes, whatever the number of families."""


@dataclass(frozen=True)
class FamilySums:
    """Sums of a group of items by family; ``index`` is strictly increasing.

    ``index`` has shape (families of the group,) and numbers a family among all of the split's;
    ``sums`` has shape (families of the group, statistics).
    """

    index: npt.NDArray[np.int64]
    sums: Floats


def family_weights(families: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each family is drawn, in blocks of shape (resamples of the block, families).

    The same seed and number of families give the same draws, which makes the resamples of two
    techniques pairs.
    """
    generator = np.random.default_rng(seed)
    block = max(1, _WEIGHTS_AT_ONCE // families)
    for start in range(0, resamples, block):
        weights = np.empty((min(block, resamples - start), families))
        for row in weights:
            row[:] = np.bincount(generator.integers(families, size=families), minlength=families)
        yield weights


def resampled_sums(
    groups: Sequence[FamilySums], *, families: int, resamples: int, seed: int
) -> list[Floats]:
    """Each group's sums under the same resamples of families, of shape (resamples, statistics)."""
    totals = [np.empty((resamples, group.sums.shape[1])) for group in groups]
    done = 0
    for weights in family_weights(families, resamples, seed):
        block = slice(done, done + len(weights))
        for group, total in zip(groups, totals, strict=True):
            drawn = weights if len(group.index) == families else weights[:, group.index]
            total[block] = drawn @ group.sums
        done += len(weights)
    return totals


def percentile_interval(values: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """The central interval of resampled values (Efron, 1979).

    Returns:
        Lower and upper end, of the resamples that have a value, or NaN twice where none has.
    """
    known = values[np.isfinite(values)]
    if known.size == 0:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
