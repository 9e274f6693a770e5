"""Schedules of the learning rate, as shares of its peak."""

from __future__ import annotations

import math


def cosine_with_warm_up(step: int, steps: int, warm_up_share: float) -> float:
    """The learning rate's share of its peak: a linear warm-up, then a cosine down to 0.

    Args:
        step: from 0 to ``steps - 1``.
        steps: of the whole training.
        warm_up_share: of the steps, the share in which the rate rises.
    """
    warm_up = math.ceil(warm_up_share * steps)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))
