"""Measuring the points of a learning curve, each of them once.

Here belongs what one point gives, and keeping it: a run that was killed goes on from the points
that it finished. Which points there are belongs to ``plan``, what follows to ``curve``.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import BaseModel, ValidationError

from pricing_platform.bounded_cache import MEBIBYTE, mark_used, prune_cache
from pricing_platform.catalog.item_set import ItemSet, family_names
from pricing_platform.evaluation.learning_curve.plan import CurveTechnique, PlannedPoint
from pricing_platform.evaluation.learning_curve.subsets import nested_subset
from pricing_platform.evaluation.pricer import PartOf
from pricing_platform.progress import Progress, silent
from pricing_platform.resampling import Floats
from pricing_platform.resource_use import KeptMeter
from pricing_platform.stores.warehouse import fingerprint, make_folder

_POINTS_VERSION = "2"

POINTS_BYTES = 100 * MEBIBYTE
"""What points of earlier curves may take, with trainings that were killed and not gone on with."""


class Point(BaseModel, frozen=True):
    """What a technique that learnt from part of the train items says of the test items.

    ``estimates`` are by item id, None where there is none. ``is_all`` says that it is the fit on
    all train items, ``resumed`` that its training went on after a kill; what it took is then of all
    its parts.
    """

    technique: str
    model: str
    size: int
    is_all: bool
    seed: int
    token_budget: int | None
    train_items: int
    train_families: int
    estimates: dict[str, float | None]
    training_seconds: float | None
    training_core_seconds: float | None
    training_joules: float | None
    resumed: bool
    inference_seconds: float | None

    def estimates_of(self, items: ItemSet) -> Floats:
        """In the order of the items, NaN where there is no price above 0; shape (items,)."""
        found = [self.estimates.get(at) for at in items.frame["item_id"]]
        values = np.array([np.nan if at is None else at for at in found], np.float64)
        return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def measured_points(
    plan: Sequence[PlannedPoint],
    techniques: Sequence[CurveTechnique],
    items: ItemSet,
    *,
    seed: int,
    folder: Path,
    progress: Progress = silent,
) -> list[Point]:
    """The points that the plan does not leave out, and the existing ones; made now or kept.

    Args:
        plan: see :func:`plan_points`.
        techniques: those of the plan.
        items: of all splits; what is learnt from are train items, validation may choose settings.
        seed: of the existing fits.
        folder: keeps finished points, and the state of one that is under way; what was used longest
            ago is deleted where it takes more than ``POINTS_BYTES``.
        progress: told while a technique learns and prices.
    """
    started = time.time()
    train, validation = items.split("train"), items.split("validation")
    points = []
    for technique in techniques:
        for planned in plan:
            if planned.technique != technique.name or planned.left_out is not None:
                continue
            points.append(_kept_or_made(planned, technique, train, validation, folder, progress))
        if not isinstance(technique.existing, str):
            points.append(_existing(technique, train, seed))
    prune_cache(folder, POINTS_BYTES, used_since=started)
    return points


def _kept_or_made(
    planned: PlannedPoint,
    technique: CurveTechnique,
    train: ItemSet,
    validation: ItemSet,
    folder: Path,
    progress: Progress,
) -> Point:
    identity = fingerprint(
        _POINTS_VERSION,
        technique.identity,
        planned.size,
        planned.seed,
        planned.token_budget,
        technique.asked.frame["item_id"].to_list(),
    )[:32]
    path = folder / f"{technique.name}-{identity}.json"
    kept = _kept(path)
    if kept is not None:
        mark_used(path)
        return kept
    work_folder = folder / f"{technique.name}-{identity}.unfinished"
    point = _made(planned, technique, train, validation, work_folder, progress)
    partial = path.with_suffix(".partial")
    partial.write_text(point.model_dump_json(), encoding="utf-8")
    partial.replace(path)
    shutil.rmtree(work_folder)
    return point


def _kept(path: Path) -> Point | None:
    """The point of a file; None where there is none, or it can't be read any more."""
    try:
        return Point.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError, json.JSONDecodeError):
        return None


def _made(
    planned: PlannedPoint,
    technique: CurveTechnique,
    train: ItemSet,
    validation: ItemSet,
    work_folder: Path,
    progress: Progress,
) -> Point:
    subset = nested_subset(train, planned.size, seed=planned.seed)
    told = PartOf(progress, f"{technique.name} on {len(subset):,} items")
    make_folder(work_folder)
    assert technique.fit_on is not None  # noqa: S101
    meter = KeptMeter.start(work_folder)
    fitted = technique.fit_on(
        subset,
        validation,
        seed=planned.seed,
        token_budget=planned.token_budget,
        work_folder=work_folder,
        progress=meter.noting(told),
    )
    used = meter.used()
    answers = fitted.price(technique.asked, progress=told)
    return Point(
        technique=technique.name,
        model=str(getattr(fitted, "model", technique.name)),
        size=planned.size,
        is_all=False,
        seed=planned.seed,
        token_budget=planned.token_budget,
        train_items=len(subset),
        train_families=len(set(family_names(subset))),
        estimates=_estimates(answers),
        training_seconds=used.seconds,
        training_core_seconds=used.core_seconds,
        training_joules=used.joules,
        resumed=meter.is_resumed,
        inference_seconds=_inference_seconds(answers),
    )


def _existing(technique: CurveTechnique, train: ItemSet, seed: int) -> Point:
    """The fit on all train items, of which nothing is computed."""
    found = technique.existing
    assert not isinstance(found, str)  # noqa: S101
    asked = found.answers.join(technique.asked.frame.select("item_id"), on="item_id", how="semi")
    return Point(
        technique=technique.name,
        model=found.model,
        size=len(train),
        is_all=True,
        seed=seed,
        token_budget=technique.token_budget,
        train_items=len(train),
        train_families=len(set(family_names(train))),
        estimates=_estimates(asked),
        training_seconds=found.training_seconds,
        training_core_seconds=found.training_core_seconds,
        training_joules=found.training_joules,
        resumed=False,
        inference_seconds=_inference_seconds(asked),
    )


def _estimates(answers: pl.DataFrame) -> dict[str, float | None]:
    return dict(answers.select("item_id", "estimate").iter_rows())


def _inference_seconds(answers: pl.DataFrame) -> float | None:
    """Of all answers together: each has its share of its batch's time."""
    total = answers.select(pl.col("latency_ms").cast(pl.Float64).sum() / 1000).item()
    return None if answers["latency_ms"].null_count() == len(answers) else float(total)
