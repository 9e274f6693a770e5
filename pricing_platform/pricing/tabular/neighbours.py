"""The nearest reference items of an item, never of the item's own family.

Here belong exact search in blocks over dense and sparse vectors, and what the neighbours' prices
say in a few numbers. Which vectors are searched belongs to the techniques.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

BLOCK = 512
"""Queries searched at a time: what bounds the memory, 4 bytes a pair of query and reference."""

STATISTICS = ("weighted_mean", "nearest", "median", "spread", "similarity", "mean_similarity")


@dataclass(frozen=True)
class Neighbours:
    """The k nearest references of each query, nearest first.

    ``index`` is -1 and ``similarity`` 0 where a query has fewer than k neighbours.
    """

    index: Integers
    similarity: Singles

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """Which of the k neighbours there are; shape (queries, k)."""
        return self.index >= 0


class FamilyCodes:
    """Families as integers, so that comparing them in blocks is cheap."""

    def __init__(self, families: list[str | None]) -> None:
        self.families = families
        named = sorted({family for family in families if family is not None})
        self._codes = {family: code for code, family in enumerate(named)}
        self.reference = self.of(families, unknown=-1)

    def of(self, families: list[str | None], *, unknown: int = -2) -> Integers:
        """Codes of families; a family that is null or not among the references is no one's own."""
        return np.array(
            [unknown if f is None else self._codes.get(f, unknown) for f in families], np.int64
        )


def dense_neighbours(
    queries: Singles,
    references: Singles,
    k: int,
    query_families: Integers,
    reference_families: Integers,
    *,
    asked_at: Integers | None = None,
    known_from: Integers | None = None,
) -> Neighbours:
    """The k references of the largest inner product with each query; exact.

    Args:
        queries: shape (queries, dimensions).
        references: shape (references, dimensions).
        k: neighbours wanted; fewer where there are fewer references of other families.
        query_families: codes as :class:`FamilyCodes` gives them.
        reference_families: likewise.
        asked_at: for each query the time, in microseconds since 1970, by which a reference has to
            be known to be found; without it, all are.
        known_from: for each reference the time from which on it is known.
    """
    import torch

    transposed = torch.from_numpy(np.ascontiguousarray(references.T))
    families = torch.from_numpy(reference_families)
    wanted = min(k, len(references))
    found = _nothing(len(queries), k)
    for block in blocks(len(queries)):
        similarity = torch.from_numpy(queries[block]) @ transposed
        hidden = torch.from_numpy(query_families[block])[:, None] == families[None, :]
        if asked_at is not None and known_from is not None:
            hidden |= torch.from_numpy(asked_at[block][:, None] < known_from[None, :])
        values, index = similarity.masked_fill_(hidden, -torch.inf).topk(wanted, dim=1)
        there = torch.isfinite(values).numpy()
        found.index[block, :wanted] = np.where(there, index.numpy(), -1)
        found.similarity[block, :wanted] = np.where(there, values.numpy(), 0.0)
    return found


def sparse_neighbours(
    queries: Any,
    references: Any,
    k: int,
    query_families: Integers,
    reference_families: Integers,
) -> Neighbours:
    """As :func:`dense_neighbours`, for scipy CSR matrices; sharing nothing makes no neighbour."""
    transposed = references.T.tocsr()
    found = _nothing(queries.shape[0], k)
    for block in blocks(queries.shape[0]):
        similarity = (queries[block] @ transposed).tocsr()
        for row, query in enumerate(range(block.start, block.stop)):
            span = slice(similarity.indptr[row], similarity.indptr[row + 1])
            index, values = similarity.indices[span], similarity.data[span]
            other = reference_families[index] != query_families[query]
            index, values = index[other], values[other]
            best = _largest(values, k)
            found.index[query, : len(best)] = index[best]
            found.similarity[query, : len(best)] = values[best]
    return found


def price_statistics(neighbours: Neighbours, log_price: npt.NDArray[np.float64]) -> Singles:
    """What the neighbours' prices say: shape (queries, len(STATISTICS)), in their order.

    NaN where a query has no neighbour at all, except for the similarities, which are then 0.
    """
    there = neighbours.found
    value = np.where(there, log_price[neighbours.index], np.nan)
    weight = np.where(there, neighbours.similarity.astype(np.float64) ** 2 + 1e-9, 0.0)
    total = weight.sum(axis=1)
    count = np.maximum(there.sum(axis=1), 1)
    mean = np.divide(
        np.nansum(weight * value, axis=1), total, out=np.full(len(total), np.nan), where=total > 0
    )
    spread = np.sqrt(np.nansum((value - mean[:, None]) ** 2, axis=1) / count)
    columns = [
        mean,
        value[:, 0],
        weighted_median(value, there.astype(np.float64)),
        np.where(total > 0, spread, np.nan),
        neighbours.similarity[:, 0],
        neighbours.similarity.sum(axis=1) / count,
    ]
    return np.column_stack(columns).astype(np.float32)


def weighted_median(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The weighted median of each row; NaN where all of a row's weights are 0.

    Args:
        values: shape (rows, k); what has weight 0 may be anything.
        weights: of the same shape, none negative.
    """
    order = np.argsort(np.where(weights > 0, values, np.inf), axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    half = reached[:, -1:] / 2
    first = np.argmax(reached >= half, axis=1)
    median = ordered[np.arange(len(values)), first]
    return np.where(half[:, 0] > 0, median, np.nan)


def blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    """Consecutive slices over ``count`` rows."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _nothing(queries: int, k: int) -> Neighbours:
    return Neighbours(np.full((queries, k), -1, np.int64), np.zeros((queries, k), np.float32))


def _largest(values: npt.NDArray[Any], k: int) -> npt.NDArray[np.intp]:
    if len(values) > k:
        candidates = np.argpartition(-values, k - 1)[:k]
        return candidates[np.argsort(-values[candidates], kind="stable")]
    return np.argsort(-values, kind="stable")
