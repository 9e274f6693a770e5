"""The techniques of the learning curve: how each is fitted on part of the train items.

Here belong the budget that a part gets, what a fit is expected to take, and what stands of the fit
on all items. Which points are measured and what they say belongs to ``evaluation.learning_curve``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pricing_platform.catalog.item_samples import stratified_sample
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError, PlatformError
from pricing_platform.evaluation.learning_curve.plan import (
    CurveTechnique,
    Existing,
    FitOn,
    PointCost,
)
from pricing_platform.evaluation.pricer import Pricer
from pricing_platform.finetuning.checkpoints import checkpoint_label
from pricing_platform.finetuning.training_loop import TrainingConfiguration
from pricing_platform.pricing.finetuned.context import FineTuningContext
from pricing_platform.pricing.finetuned.fine_tuned_technique import (
    CALIBRATION_ITEMS,
    FineTunedTechnique,
    Reading,
    rounded_speed,
)
from pricing_platform.pricing.fitting import (
    FINE_TUNED,
    EvaluationSample,
    Fitting,
    evaluated_items,
)
from pricing_platform.pricing.registry import FINE_TUNED_LANGUAGE, technique_class
from pricing_platform.progress import Progress
from pricing_platform.stores.warehouse import Warehouse, fingerprint

CURVE_TECHNIQUES = ("tfidf_ridge", "stack", "encoder_finetuned", "language_finetuned")
_SEEDS = {"tfidf_ridge": 3, "stack": 3}
_CALIBRATION_ITEMS = 16
"""Validation items for a fine-tuned language model whose read-out and strength are given: only its
interval, of no interest here, reads them, and each takes a pass through the model."""

_COSTS = {
    "tfidf_ridge": PointCost(fixed=0.2, train_item=0.0007, priced_item=0.0005),
    "stack": PointCost(fixed=0.6, train_item=0.0036, priced_item=0.0007),
}
"""Seconds on two cores for items of a hundred tokens: what the choice of points goes by."""

_ENCODER_FIXED_SECONDS = 7.0
_ENCODER_SECONDS_A_TRAINED_TOKEN, _ENCODER_SECONDS_A_READ_TOKEN = 2e-4, 4e-5
"""On two cores as well."""

_LANGUAGE_FIXED_SECONDS = 5.0
"""For reading a model's weights, twice."""

_ANSWERS = """
SELECT item_id, estimate, latency_ms, model, checkpoint
FROM evaluation.predictions
WHERE technique = ? AND split = 'test'
"""


@dataclass(frozen=True, eq=False)
class CurveInputs:
    """What the techniques are fitted with; ``fine_tuning`` opens a language model when needed."""

    warehouse: Warehouse
    fitting: Fitting
    sample: EvaluationSample
    fine_tuning: Callable[[], FineTuningContext]

    def identity(self, technique: str) -> str:
        """Equal where the technique's fits are; why, where it can't be fitted."""
        try:
            identity = self.fitting.fingerprint(technique)
        except ModelNotAskedError as error:
            return f"not fitted: {error.problem}"
        if technique not in FINE_TUNED_LANGUAGE:
            return identity
        return fingerprint(identity, self._reading(technique))

    def predictions_identity(self, technique: str) -> str | None:
        """Of what its rows in ``evaluation.predictions`` were made from."""
        state = self.warehouse.state("evaluation.predictions", technique)
        return None if state is None else state.fingerprint

    def techniques(self, items: ItemSet) -> list[CurveTechnique]:
        """Those of the curve, over these items of all splits."""
        return [self._technique(name, items) for name in CURVE_TECHNIQUES]

    def _technique(self, name: str, items: ItemSet) -> CurveTechnique:
        train = items.split("train")
        asked = evaluated_items(name, items, self.sample).split("test")
        fit_on, budget, cost = self._fitted_how(name, train)
        return CurveTechnique(
            name=name,
            identity=self.identity(name),
            fit_on=fit_on,
            cost=cost,
            seeds=_SEEDS.get(name, 1),
            token_budget=budget,
            asked=asked,
            existing=self._existing(name),
        )

    def _fitted_how(self, name: str, train: ItemSet) -> tuple[FitOn | None, int | None, PointCost]:
        """How it is fitted on a part, the tokens of a training on all items, and its cost."""
        if name in FINE_TUNED_LANGUAGE:
            return self._language(train, self._reading(name))
        if name not in FINE_TUNED:
            return self._fit_on(name), None, _COSTS[name]
        configuration = self.fitting.options(name)["training"]
        tokens = int(train.frame["token_count"].sum())
        budget = min(tokens * configuration.epochs(tokens), configuration.token_budget)
        cost = PointCost(
            fixed=_ENCODER_FIXED_SECONDS,
            train_item=_ENCODER_SECONDS_A_TRAINED_TOKEN * budget / max(len(train), 1),
            priced_item=_ENCODER_SECONDS_A_READ_TOKEN * _tokens_an_item(train),
        )
        return self._fit_on(name), budget, cost

    def _existing(self, name: str) -> Existing | str:
        """What the fit on all items answered; it stands in the predictions."""
        try:
            checkpoint = self.fitting.require(name)
        except PlatformError as error:
            return error.problem
        answers = self.warehouse.frame(_ANSWERS, [name])
        label = checkpoint_label(name, checkpoint)
        if set(answers["checkpoint"]) != {label}:
            return f"the predictions are not of the checkpoint {label}"
        metrics = checkpoint.manifest.metrics
        return Existing(
            answers,
            str(answers["model"][0]),
            metrics.get("training_seconds"),
            metrics.get("training_core_seconds"),
            metrics.get("training_joules"),
        )

    def _fit_on(self, name: str) -> FitOn:
        def fit_on(
            train: ItemSet,
            validation: ItemSet,
            *,
            seed: int,
            token_budget: int | None,
            work_folder: Path,
            progress: Progress,
        ) -> Pricer:
            options: dict[str, Any] = {}
            if token_budget is not None:
                options["training"] = TrainingConfiguration(token_budget=token_budget)
            return technique_class(name).fit(
                train,
                validation,
                seed=seed,
                work_folder=work_folder,
                progress=progress,
                **options,
            )

        return fit_on

    def _reading(self, name: str) -> Reading | None:
        """How the fit on all items is read, which its parts are read like; None without one.

        So all points of the curve differ by what they learnt from alone, and none of the budget
        goes into deciding it again.
        """
        try:
            told = self.fitting.require(name).manifest.configuration
        except PlatformError:
            return None
        return Reading.model_validate({at: told[at] for at in Reading.model_fields})

    def _language(
        self, train: ItemSet, reading: Reading | None
    ) -> tuple[FitOn | None, int | None, PointCost]:
        """Of a fine-tuned language model: it reads in proportion to its seconds."""
        try:
            context = self.fine_tuning()
        except ModelNotAskedError:
            return None, None, PointCost(0.0, 0.0, 0.0)
        speed = rounded_speed(context.base.tokens_per_second)
        tokens_an_item = _tokens_an_item(train)
        fit = technique_class("language_finetuned").fit

        def fit_on(
            train: ItemSet,
            validation: ItemSet,
            *,
            seed: int,
            token_budget: int | None,
            work_folder: Path,
            progress: Progress,
        ) -> Pricer:
            seconds = context.seconds if token_budget is None else token_budget / speed
            budget = replace(context, seconds=seconds)
            if reading is not None:
                # What a part makes it forget is not asked: that costs as much as to train.
                budget = replace(budget, general=None)
                validation = stratified_sample(validation, _CALIBRATION_ITEMS, seed=seed)
            options: dict[str, Any] = {"fine_tuning": budget}
            fitted = fit(
                train,
                validation,
                seed=seed,
                work_folder=work_folder,
                progress=progress,
                **options,
            )
            assert isinstance(fitted, FineTunedTechnique)  # noqa: S101
            return fitted if reading is None else fitted.read_as(reading)

        calibrated = CALIBRATION_ITEMS if reading is None else _CALIBRATION_ITEMS
        cost = PointCost(
            fixed=_LANGUAGE_FIXED_SECONDS + calibrated * tokens_an_item / speed,
            train_item=context.seconds / max(len(train), 1),
            priced_item=tokens_an_item / speed,
        )
        return fit_on, round(context.seconds * speed), cost


def _tokens_an_item(items: ItemSet) -> float:
    return float(items.frame["token_count"].sum()) / max(len(items), 1)


def import_libraries() -> None:
    """Imports what the techniques compute with, so that no point's seconds are those of imports."""
    from importlib import import_module

    for library in ("scipy.sparse", "sklearn.linear_model", "lightgbm", "torch", "transformers"):
        import_module(library)
