"""Bootstrap and permutation by family: how far a number would move had other families been drawn.

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


def sign_flip_p_values(
    groups: Sequence[FamilySums], *, families: int, permutations: int, seed: int
) -> list[float]:
    """Two-sided p-values that the first statistic, a sum of differences, is 0 in every group.

    Where neither of two techniques is better, their difference on a family is as likely to have the
    other sign; so signs are flipped by family (Ernst, "Permutation methods", 2004). The observed
    signs count as one of the permutations, so no p-value is 0.
    """
    # A hair below the observed sum, since the order of summation must not decide about equality.
    observed = [abs(float(group.sums[:, 0].sum())) * (1 - 1e-9) for group in groups]
    reached = np.ones(len(groups))
    generator = np.random.default_rng(seed)
    block = max(1, _WEIGHTS_AT_ONCE // families)
    for start in range(0, permutations, block):
        shape = (min(block, permutations - start), families)
        signs = generator.integers(2, size=shape).astype(np.float64) * 2 - 1
        for number, group in enumerate(groups):
            flipped = signs[:, group.index] @ group.sums[:, 0]
            reached[number] += np.count_nonzero(np.abs(flipped) >= observed[number])
    return [float(count) / (permutations + 1) for count in reached]


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, corrected so that all are right at once (Holm, 1979), in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]
