"""What fine-tuned price models have forgotten along their training, and what helps against it.

Here belongs which points of which models are measured. How forgetting is measured and decided
belongs to ``finetuning.forgetting``; the table's rows are made there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pricing_platform.catalog.item_set import ItemSet, family_names
from pricing_platform.finetuning.forgetting.curve import (
    CurvePoint,
    ForgettingCurve,
    forgetting_curve,
)
from pricing_platform.finetuning.forgetting.gate import NONE, SCALED
from pricing_platform.finetuning.language.price_model import FittedPriceModel
from pricing_platform.pricing.finetuned.fine_tuned_technique import FineTunedTechnique
from pricing_platform.pricing.finetuned.forgetting.forgetting_gate import (
    SCALES,
    GeneralAbility,
    PricedSample,
    priced_sample,
)
from pricing_platform.pricing.finetuned.forgetting.mitigations import MITIGATIONS, MitigatedTraining
from pricing_platform.progress import Progress, silent

FORGETTING_VERSION = "3"
SHORT = "language_finetuned, short"
"""The trainings that mitigations are compared on: few items, the same for all."""


def measure_forgetting(
    techniques: Mapping[str, FineTunedTechnique],
    checkpoints: Mapping[str, str],
    train: ItemSet,
    validation: ItemSet,
    work_folder: Path,
    *,
    limit: float,
    seed: int,
    progress: Progress = silent,
) -> ForgettingCurve:
    """Snapshots of each technique, strengths of one, and short trainings with each mitigation.

    Args:
        techniques: bound to their base model, by name; at least one.
        checkpoints: of which each is, as predictions name them.
        train: what the short trainings learn from.
        validation: of which a sample is priced at every point.
        work_folder: for the short trainings; the caller removes it.
        limit: the share that may be forgotten.
        seed: of samples, trainings and resamples.
        progress: is told how far it is.
    """
    first = next(iter(techniques.values()))
    context = first.known_context
    assert context.general is not None  # noqa: S101
    ability = GeneralAbility.of_base(
        context.base.folder,
        context.general,
        first.configuration_of_adapters,
        context.base.quantization,
    )
    sample = priced_sample(validation, seed=seed)
    alone = techniques.get("language_finetuned", first)
    points, read = [], {}
    for name, technique in techniques.items():
        read[name] = priced = PricedSample.read(
            ability, technique.examples(sample), sample.prices(), work_folder / "priced" / name
        )
        scales = SCALES if technique is alone else (technique.fitted.scale,)
        points += _points(name, technique, checkpoints[name], ability, priced, scales)
        progress("measuring what was forgotten", len(read), len(techniques) + len(MITIGATIONS))
    training = MitigatedTraining(
        train, context, alone.configuration_of_adapters, seed, work_folder, progress
    )
    for mitigation in MITIGATIONS:
        fitted, metrics = training.fit(mitigation)
        steps, seconds = int(metrics["steps"]), metrics["adapter_seconds"]
        with ability.adapted(fitted.adapters) as adapted:
            measure = ability.measure(adapted, 1.0)
            errors = read[alone.name].errors(adapted, fitted.head, 1.0)
        points.append(CurvePoint(SHORT, mitigation, 1.0, steps, 1.0, measure, errors, seconds))
    return forgetting_curve(
        ability.tests.probes,
        ability.base.measure,
        points,
        family_names(sample),
        limit=limit,
        seed=seed,
    )


def _points(
    name: str,
    technique: FineTunedTechnique,
    checkpoint: str,
    ability: GeneralAbility,
    priced: PricedSample,
    scales: Sequence[float],
) -> list[CurvePoint]:
    """The technique at its snapshots, and at its end with its adapters at several strengths."""
    steps = int(technique.metrics.get("steps", 0))
    seconds = technique.metrics.get("adapter_seconds", 0.0)

    def points(fitted: FittedPriceModel, share: float, at: Sequence[float]) -> list[CurvePoint]:
        with ability.adapted(fitted.adapters) as adapted:
            return [
                CurvePoint(
                    name,
                    NONE if scale == 1 else SCALED,
                    scale,
                    round(share * steps),
                    share,
                    ability.measure(adapted, scale),
                    priced.errors(adapted, fitted.head, scale),
                    share * seconds,
                    checkpoint,
                )
                for scale in at
            ]

    found = []
    for share in technique.fitted.snapshots:
        found += points(technique.fitted.at(share), share, (1.0,))
    return found + points(technique.fitted, 1.0, scales)
