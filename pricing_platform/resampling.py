"""Bootstrap and permutation by family: how far a number would move had other families been drawn.

Near-duplicates err together, so what is resampled are families and not items (Field and Welsh,
"Bootstrapping clustered data", 2007); an interval over items would be too narrow. Every statistic
here is a function of sums over items, so a resample is a weighted sum of the clusters' sums. Here
belongs the resampling; what is summed and what follows from it belongs to the metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_WEIGHTS_AT_ONCE = 2_000_000
"""Bounds the memory that resampling takes, whatever the number of clusters."""


@dataclass(frozen=True)
class ClusterSums:
    """What a group of items adds up to, by cluster.

    ``clusters``, of shape (clusters of the group,), numbers them among all of the split's and is
    strictly increasing; ``sums`` has shape (clusters of the group, statistics).
    """

    clusters: Integers
    sums: Floats

    @classmethod
    def of(cls, clusters: Integers, statistics: Floats) -> ClusterSums:
        """Adds up items, in their order: cluster and statistics of item i stand in row i."""
        present, place = np.unique(clusters, return_inverse=True)
        columns = [np.bincount(place, column, len(present)) for column in statistics.T]
        return cls(present, np.column_stack(columns))


def cluster_weights(clusters: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each cluster is drawn, in blocks of shape (clusters, resamples of the block).

    The same seed and number of clusters give the same draws, which makes the resamples of two
    techniques pairs.
    """
    generator = np.random.default_rng(seed)
    block = max(1, _WEIGHTS_AT_ONCE // clusters)
    for start in range(0, resamples, block):
        weights = np.empty((clusters, min(block, resamples - start)))
        for resample in weights.T:
            resample[:] = np.bincount(generator.integers(clusters, size=clusters), None, clusters)
        yield weights


def resampled_sums(
    groups: Sequence[ClusterSums], *, clusters: int, resamples: int, seed: int
) -> list[Floats]:
    """Each group's sums under the same resamples of clusters, of shape (resamples, statistics)."""
    totals = [np.empty((resamples, group.sums.shape[1])) for group in groups]
    done = 0
    for weights in cluster_weights(clusters, resamples, seed):
        block = slice(done, done + weights.shape[1])
        for group, total in zip(groups, totals, strict=True):
            total[block] = weights[group.clusters].T @ group.sums
        done = block.stop
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
    groups: Sequence[ClusterSums], *, clusters: int, permutations: int, seed: int
) -> list[float]:
    """Two-sided p-values that the first statistic, a sum of differences, is 0 in every group.

    Where neither of two techniques is better, their difference on a family is as likely to have the
    other sign; so signs are flipped by cluster (Ernst, "Permutation methods", 2004). The observed
    signs count as one of the permutations, so no p-value is 0.
    """
    # A hair below the observed sum, since the order of summation must not decide about equality.
    observed = [abs(float(group.sums[:, 0].sum())) * (1 - 1e-9) for group in groups]
    reached = np.ones(len(groups))
    generator = np.random.default_rng(seed)
    block = max(1, _WEIGHTS_AT_ONCE // clusters)
    for start in range(0, permutations, block):
        shape = (clusters, min(block, permutations - start))
        signs = generator.integers(2, size=shape, dtype=np.int8) * 2.0 - 1
        for number, group in enumerate(groups):
            flipped = group.sums[:, 0] @ signs[group.clusters]
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


@dataclass(frozen=True)
class FamilyResampling:
    """Means over items as they would be had other families been drawn.

    ``place`` numbers each item's family from 0, shape (items,). Values given to the methods are of
    the same shape; those that are not finite take no part.
    """

    place: Integers
    families: int
    seed: int
    resamples: int
    permutations: int

    @classmethod
    def of(
        cls,
        family_names: Sequence[str],
        *,
        seed: int,
        resamples: int = 1000,
        permutations: int = 10_000,
    ) -> FamilyResampling:
        """Of items whose families are given, in the items' order."""
        present, place = np.unique(np.asarray(family_names, dtype=str), return_inverse=True)
        return cls(place.astype(np.int64), len(present), seed, resamples, permutations)

    def interval(self, values: Floats) -> tuple[float | None, float | None]:
        """The 95 % interval of the mean; None twice where fewer than two families have a value."""
        group = self._sums(values)
        if len(group.clusters) < 2:  # one family says nothing about how families differ
            return None, None
        (sums,) = resampled_sums(
            [group], clusters=self.families, resamples=self.resamples, seed=self.seed
        )
        with np.errstate(invalid="ignore"):
            return percentile_interval(sums[:, 0] / sums[:, 1])

    def p_value(self, differences: Floats) -> float:
        """Two-sided, that the mean of the differences is 0, by flipping the signs of families."""
        (p_value,) = sign_flip_p_values(
            [self._sums(differences)],
            clusters=self.families,
            permutations=self.permutations,
            seed=self.seed,
        )
        return p_value

    def _sums(self, values: Floats) -> ClusterSums:
        known = np.flatnonzero(np.isfinite(values))
        statistics = np.column_stack([values[known], np.ones(known.size)])
        return ClusterSums.of(self.place[known], statistics)
