"""A learning curve in small: generated items, and techniques that really learn from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.evaluation.learning_curve.plan import (
    CurveTechnique,
    Existing,
    FitOn,
    PointCost,
)
from pricing_platform.evaluation.pricer import Pricer
from pricing_platform.pricing.tabular.category_median import CategoryMedian
from pricing_platform.pricing.tabular.tfidf_ridge import TfidfRidge
from pricing_platform.progress import Progress, silent

SIZES = (40, 80, 160)
COST = PointCost(fixed=1.0, train_item=0.01, priced_item=0.0)
Learner = type[TfidfRidge] | type[CategoryMedian]


def fit_of(learner: Learner, before: Callable[[int, Path], None] | None = None) -> FitOn:
    """Fits for real; ``before`` is called with the number of items and the work folder."""

    def fit_on(
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        token_budget: int | None,
        work_folder: Path,
        progress: Progress,
    ) -> Pricer:
        del token_budget
        if before is not None:
            before(len(train), work_folder)
        return learner.fit(train, validation, seed=seed, progress=progress)

    return fit_on


def technique_of(
    learner: Learner,
    items: ItemSet,
    *,
    fit_on: FitOn | None = None,
    asked: ItemSet | None = None,
    seeds: int = 2,
    cost: PointCost = COST,
    existing: Existing | str | None = None,
) -> CurveTechnique:
    """The technique, with its fit on all items unless another is given."""
    return CurveTechnique(
        name=learner.name,
        identity=learner.version,
        fit_on=fit_on or fit_of(learner),
        cost=cost,
        seeds=seeds,
        token_budget=10_000,
        asked=asked or items.split("test"),
        existing=existing or existing_of(learner, items),
    )


def existing_of(learner: Learner, items: ItemSet) -> Existing:
    """What stands of the fit on all items, as predictions hold it."""
    fitted = learner.fit(items.split("train"), items.split("validation"), seed=1)
    answers = fitted.price(items.split("test"), progress=silent)
    return Existing(
        answers.select("item_id", "estimate", pl.col("latency_ms")),
        fitted.model,
        training_seconds=2.0,
    )
