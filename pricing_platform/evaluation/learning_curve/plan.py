"""Which points of a learning curve are measured: all that exist, and others within a budget.

Here belong the techniques of a curve, what a point costs, and the choice. The choice follows from
the items and documented speeds and never from the clock, so that the same input gives the same
points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.evaluation.pricer import Pricer
from pricing_platform.progress import Progress


class FitOn(Protocol):
    """Fits a technique on part of the train items."""

    def __call__(
        self,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        token_budget: int | None,
        work_folder: Path,
        progress: Progress,
    ) -> Pricer:
        """The fitted technique; called again with the same folder after a kill, it goes on."""
        ...


@dataclass(frozen=True)
class PointCost:
    """Seconds that a point takes: for itself, for a train item, and for an item that is priced."""

    fixed: float
    train_item: float
    priced_item: float

    def seconds(self, train_items: int, priced_items: int) -> float:
        """Of a point with so many items."""
        return self.fixed + self.train_item * train_items + self.priced_item * priced_items


@dataclass(frozen=True, eq=False)
class Existing:
    """What is known of the fit on all train items: it stands, and is not made again.

    ``answers`` has item_id, estimate and latency_ms of the test items that were asked about;
    ``model`` names what answered, ``use`` is what fitting took, as far as that is known.
    """

    answers: pl.DataFrame
    model: str
    training_seconds: float | None = None
    training_core_seconds: float | None = None
    training_joules: float | None = None


@dataclass(frozen=True, eq=False)
class CurveTechnique:
    """A technique whose error is followed over the number of train items.

    ``identity`` is equal for two that give the same fits; ``seeds`` is how many orders of the items
    it is fitted in; ``token_budget`` is what it reads in a training on all items, of which a part
    gets its share, or None for one without a budget. ``asked`` are the test items that it prices.
    ``fit_on`` is None where it can't be fitted. ``existing`` is its fit on all items, or the reason
    why there is none.
    """

    name: str
    identity: str
    fit_on: FitOn | None
    cost: PointCost
    seeds: int
    token_budget: int | None
    asked: ItemSet
    existing: Existing | str


@dataclass(frozen=True)
class PlannedPoint:
    """A fit on ``size`` train items in the order of ``seed``.

    ``seconds`` is what it is expected to take; ``left_out`` is the reason why it is not made.
    """

    technique: str
    size: int
    seed: int
    token_budget: int | None
    seconds: float
    left_out: str | None = None


def plan_points(
    techniques: Sequence[CurveTechnique],
    sizes: Sequence[int],
    *,
    train_items: int,
    seconds: float,
    seed: int,
) -> list[PlannedPoint]:
    """The points below all items, as many as fit into the budget.

    Every technique and size comes with the first seed before any comes with another; among these
    the cheapest come first. A point that does not fit into what is left of the budget is left out,
    and cheaper ones after it may still fit. Seeds count up from ``seed``.
    """
    wanted = [
        PlannedPoint(
            technique.name,
            size,
            seed + number,
            _share(technique.token_budget, size, train_items),
            technique.cost.seconds(size, len(technique.asked)),
        )
        for technique in techniques
        if technique.fit_on is not None
        for size in sizes
        for number in range(technique.seeds)
    ]
    left, planned = seconds, []
    for point in sorted(
        wanted, key=lambda at: (at.seed > seed, at.seconds, at.technique, at.size, at.seed)
    ):
        if point.seconds <= left:
            left -= point.seconds
            planned.append(point)
        else:
            reason = f"about {point.seconds:.0f} s, of {seconds:g} s {left:.0f} are left"
            planned.append(replace(point, left_out=reason))
    return planned


def _share(budget: int | None, size: int, train_items: int) -> int | None:
    return None if budget is None else max(1, round(budget * size / train_items))
