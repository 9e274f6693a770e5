"""Forgetting against price error, over training and over what was done against it.

Here belong the rows of ``evaluation.forgetting`` and ``evaluation.probe_answers``. Training and
pricing belong to whoever makes the points, the decision to ``gate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.finetuning.forgetting.comparison import Forgetting, Interval, compare
from pricing_platform.finetuning.forgetting.gate import NONE, Candidate, GateDecision, decide
from pricing_platform.finetuning.forgetting.measuring import ForgettingMeasure
from pricing_platform.finetuning.forgetting.probes import Probe
from pricing_platform.resampling import FamilyResampling

FORGETTING_TABLES = ("evaluation.forgetting", "evaluation.probe_answers")

Floats = npt.NDArray[np.float64]

_KEY: dict[str, type[pl.DataType]] = {
    "technique": pl.String,
    "mitigation": pl.String,
    "adapter_scale": pl.Float64,
    "step": pl.Int64,
}


def _with_interval(*names: str) -> dict[str, type[pl.DataType]]:
    ends = ("", "_low", "_high")
    return {f"{name}{end}": pl.Float64 for name in names for end in ends}


_FORGETTING_COLUMNS: dict[str, type[pl.DataType]] = {
    **_KEY,
    "checkpoint": pl.String,
    "share_trained": pl.Float64,
    "questions": pl.Int64,
    **_with_interval("probe_accuracy"),
    "base_probe_accuracy": pl.Float64,
    "chance_accuracy": pl.Float64,
    **_with_interval("accuracy_lost"),
    "text_tokens": pl.Int64,
    **_with_interval("perplexity"),
    "base_perplexity": pl.Float64,
    **_with_interval("perplexity_gained", "kl_divergence"),
    "price_items": pl.Int64,
    **_with_interval("price_mae", "price_mae_change"),
    "is_within_limit": pl.Boolean,
    "is_promoted": pl.Boolean,
    "training_seconds": pl.Float64,
    "measuring_seconds": pl.Float64,
}
_ANSWER_COLUMNS: dict[str, type[pl.DataType]] = {
    **_KEY,
    "place": pl.Int64,
    "kind": pl.String,
    "question": pl.String,
    "base_is_correct": pl.Boolean,
    "is_correct": pl.Boolean,
}
FORGETTING_SCHEMA = pl.Schema(_FORGETTING_COLUMNS)
PROBE_ANSWERS_SCHEMA = pl.Schema(_ANSWER_COLUMNS)


@dataclass(frozen=True)
class CurvePoint:
    """A fine-tuned model at one point of its training and one strength of its adapter.

    ``mitigation`` and ``adapter_scale`` as in ``gate``; ``step``: updates until then, 0 for before
    the first; ``share_trained``: of all updates. ``price_errors``: absolute, in the currency, of
    the items that prices are compared on, NaN without an estimate, shape (items,); None where
    nothing was priced. ``training_seconds`` until then. ``checkpoint`` names the one that it is of,
    as predictions do; None for a training of its own.
    """

    technique: str
    mitigation: str
    adapter_scale: float
    step: int
    share_trained: float
    measure: ForgettingMeasure
    price_errors: Floats | None
    training_seconds: float
    checkpoint: str | None = None

    @property
    def price_mae(self) -> float | None:
        """Of the items with an estimate."""
        if self.price_errors is None or not np.isfinite(self.price_errors).any():
            return None
        return float(np.nanmean(self.price_errors))


@dataclass(frozen=True)
class ForgettingCurve:
    """The rows of both tables, and what the gate decided for each technique."""

    rows: pl.DataFrame
    answers: pl.DataFrame
    decisions: Mapping[str, GateDecision]

    def tables(self) -> dict[str, pl.DataFrame]:
        """By the names of the tables."""
        return dict(zip(FORGETTING_TABLES, (self.rows, self.answers), strict=True))


def forgetting_curve(
    probes: Sequence[Probe],
    base: ForgettingMeasure,
    points: Sequence[CurvePoint],
    families: Sequence[str],
    *,
    limit: float,
    seed: int,
) -> ForgettingCurve:
    """The tables, with the gate's decision for each technique among its points at the last step.

    Price errors are compared with those of the technique without a mitigation at scale 1 and the
    same share of training, item by item, with intervals clustered by family.

    Args:
        probes: what was asked.
        base: what the base model did; of the same tests as the points.
        points: of one technique or several, each with an unmitigated point at its end.
        families: of the items that prices are compared on, in the order of the errors.
        limit: the share that may be forgotten.
        seed: of the resamples.

    Raises:
        ValueError: when a technique has no unmitigated point at the end of training.
    """
    compared = [compare(base, at.measure, seed=seed) for at in points]
    chosen: dict[str, CurvePoint | None] = {}
    decisions: dict[str, GateDecision] = {}
    for technique in dict.fromkeys(at.technique for at in points):
        ended = [
            (at, Candidate(at.mitigation, at.adapter_scale, forgetting, at.price_mae))
            for at, forgetting in zip(points, compared, strict=True)
            if at.technique == technique and at.share_trained >= 1
        ]
        decision = decide([candidate for _, candidate in ended], limit)
        decisions[technique] = decision
        chosen[technique] = next((at for at, one in ended if one is decision.chosen), None)
    resampling = FamilyResampling.of(families, seed=seed)
    rows = [
        _key(at)
        | _forgotten(probes, base, at, forgetting)
        | _priced(at, _unmitigated(points, at), resampling)
        | {
            "checkpoint": at.checkpoint,
            "is_within_limit": Candidate(at.mitigation, at.adapter_scale, forgetting).is_within(
                limit
            ),
            "is_promoted": chosen[at.technique] is at,
            "training_seconds": at.training_seconds,
            "measuring_seconds": at.measure.seconds,
        }
        for at, forgetting in zip(points, compared, strict=True)
    ]
    order = ["technique", "mitigation", "step", "adapter_scale"]
    answers = [row for at in points for row in _answers(probes, base, at)]
    return ForgettingCurve(
        pl.DataFrame(rows, schema=FORGETTING_SCHEMA).sort(order),
        pl.DataFrame(answers, schema=PROBE_ANSWERS_SCHEMA).sort(*order, "place"),
        decisions,
    )


def _key(point: CurvePoint) -> dict[str, object]:
    return {name: getattr(point, name) for name in _KEY}


def _forgotten(
    probes: Sequence[Probe], base: ForgettingMeasure, point: CurvePoint, forgetting: Forgetting
) -> dict[str, object]:
    return {
        "share_trained": point.share_trained,
        "questions": len(probes),
        **_ends("probe_accuracy", forgetting.probe_accuracy),
        "base_probe_accuracy": base.probe_accuracy,
        "chance_accuracy": sum(probe.chance for probe in probes) / len(probes),
        **_ends("accuracy_lost", forgetting.accuracy_lost),
        "text_tokens": int(point.measure.tokens.sum()),
        **_ends("perplexity", forgetting.perplexity),
        "base_perplexity": base.perplexity,
        **_ends("perplexity_gained", forgetting.perplexity_gained),
        **_ends("kl_divergence", forgetting.kl_divergence),
    }


def _priced(
    point: CurvePoint, unmitigated: CurvePoint | None, resampling: FamilyResampling
) -> dict[str, object]:
    if point.price_errors is None or point.price_mae is None:
        return {}
    known = np.isfinite(point.price_errors)
    found: dict[str, object] = {
        "price_items": int(known.sum()),
        **_ends("price_mae", Interval(point.price_mae, *resampling.interval(point.price_errors))),
    }
    if unmitigated is None or unmitigated is point or unmitigated.price_errors is None:
        return found
    change = point.price_errors - unmitigated.price_errors
    if not np.isfinite(change).any():
        return found
    interval = Interval(float(np.nanmean(change)), *resampling.interval(change))
    return found | _ends("price_mae_change", interval)


def _unmitigated(points: Sequence[CurvePoint], point: CurvePoint) -> CurvePoint | None:
    """What a point is compared with: the same training without a mitigation, in full strength."""
    return next(
        (
            at
            for at in points
            if (at.technique, at.mitigation, at.adapter_scale) == (point.technique, NONE, 1.0)
            and abs(at.share_trained - point.share_trained) < 1e-6
        ),
        None,
    )


def _ends(name: str, interval: Interval) -> dict[str, float | None]:
    return {
        name: interval.value,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
    }


def _answers(
    probes: Sequence[Probe], base: ForgettingMeasure, point: CurvePoint
) -> list[dict[str, object]]:
    pairs = zip(probes, base.is_correct, point.measure.is_correct, strict=True)
    return [
        _key(point)
        | {
            "place": place,
            "kind": probe.kind,
            "question": probe.question,
            "base_is_correct": bool(before),
            "is_correct": bool(after),
        }
        for place, (probe, before, after) in enumerate(pairs)
    ]
