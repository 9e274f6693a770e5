"""Measures and curve points with numbers that a test chooses, for what follows from measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pricing_platform.finetuning.forgetting.curve import (
    CurvePoint,
    ForgettingCurve,
    forgetting_curve,
)
from pricing_platform.finetuning.forgetting.measuring import ForgettingMeasure
from pricing_platform.finetuning.forgetting.probes import Probe

QUESTIONS = 200
CHUNKS = 40
TOKENS = 100
ITEMS = 60


def probes() -> list[Probe]:
    return [
        Probe(
            question=f"Question {at}?",
            choices=("yes", "no"),
            answer=0,
            kind="knowledge" if at % 2 else "arithmetic",
        )
        for at in range(QUESTIONS)
    ]


def measure(correct: int, perplexity: float, *, kl: float = 0.0) -> ForgettingMeasure:
    """The first questions are answered; every chunk has about the perplexity."""
    wobble = np.sin(np.arange(CHUNKS)) * 5
    return ForgettingMeasure(
        is_correct=np.arange(QUESTIONS) < correct,
        nll=TOKENS * np.log(perplexity) + wobble - wobble.mean(),
        divergence=np.full(CHUNKS, kl * TOKENS),
        tokens=np.full(CHUNKS, float(TOKENS)),
        seconds=4.0,
    )


BASE = measure(120, 20.0)


def errors(mae: float) -> np.ndarray:
    """Absolute errors of the items, one of them without an estimate."""
    found = mae * np.random.default_rng(5).uniform(0.2, 1.8, ITEMS)
    found *= mae / found[1:].mean()
    found[0] = np.nan
    return found


def point(
    mitigation: str,
    scale: float,
    correct: int,
    perplexity: float,
    mae: float,
    *,
    share: float = 1.0,
    technique: str = "language_finetuned",
) -> CurvePoint:
    return CurvePoint(
        technique=technique,
        mitigation=mitigation,
        adapter_scale=scale,
        step=round(200 * share),
        share_trained=share,
        measure=measure(correct, perplexity, kl=perplexity / 20 - 1),
        price_errors=errors(mae),
        training_seconds=240 * share,
    )


POINTS = (
    point("none", 1.0, 116, 20.5, 32.0, share=0.5),
    point("none", 1.0, 100, 30.0, 25.0),
    point("scaled", 0.75, 111, 24.0, 27.0),
    point("scaled", 0.5, 118, 20.6, 30.0),
    point("scaled", 0.25, 120, 20.1, 36.0),
    point("replay", 1.0, 117, 20.4, 26.0),
    point("kl", 1.0, 119, 20.3, 26.5),
    point("lower_rank", 1.0, 112, 22.0, 28.0),
)


def curve(points: Sequence[CurvePoint] = POINTS, *, limit: float = 0.05) -> ForgettingCurve:
    families = [f"family-{at // 2}" for at in range(ITEMS)]
    return forgetting_curve(probes(), BASE, points, families, limit=limit, seed=3)
