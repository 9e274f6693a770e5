"""What a training can do in so many seconds: how many items it reads, and how often.

Here belongs the arithmetic, from a speed that was measured once, and keeping to what was planned.
Measuring belongs to ``speed``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pricing_platform.stores.warehouse import make_folder

TRAINED_FACTOR = 2.5
"""Time of a forward and a backward pass through adapted blocks, in forward passes; measured."""

MOST_EPOCHS = 4.0
_READ_SHARE = 0.7
"""Of the time, what reading texts up to the adapters may take: more texts beat more epochs."""


@dataclass(frozen=True)
class TrainingPlan:
    """How many of the items are read, and how often each is trained on."""

    items: int
    epochs: float


def plan_training(
    items: int,
    tokens_an_item: float,
    *,
    seconds: float,
    tokens_per_second: float,
    adapted_share: float,
) -> TrainingPlan:
    """As many items as can be read in 70 % of the time, and as many epochs as the rest is good for.

    Args:
        items: how many there are.
        tokens_an_item: on average.
        seconds: for reading and training together.
        tokens_per_second: of a forward pass through the whole model.
        adapted_share: of the blocks, how many are adapted; the others are read through once.
    """
    tokens = max(tokens_an_item, 1.0)
    read = (1 - adapted_share) * tokens / tokens_per_second
    trained = TRAINED_FACTOR * adapted_share * tokens / tokens_per_second
    affordable = int(_READ_SHARE * seconds / read) if read > 0 else items
    chosen = max(1, min(items, affordable))
    left = max(seconds - chosen * read, 0.0)
    epochs = min(left / (chosen * trained), MOST_EPOCHS)
    return TrainingPlan(chosen, max(epochs, min(1.0, 16 / chosen)))


def kept_plan(path: Path, plan: Callable[[], TrainingPlan]) -> TrainingPlan:
    """The plan that a killed training began with, so that going on ends in the same weights.

    Args:
        path: where it is kept, in the training's work folder.
        plan: makes it where none is kept, or what is kept can't be read.
    """
    adapter: TypeAdapter[TrainingPlan] = TypeAdapter(TrainingPlan)
    try:
        return adapter.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        made = plan()
        make_folder(path.parent)
        partial = path.with_suffix(".partial")
        partial.write_bytes(adapter.dump_json(made))
        partial.replace(path)
        return made
