"""In which number format a network computes: the fastest, measured when a model is first used.

Here belongs the choice. Loading weights in the format that was chosen belongs to ``network``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import JsonValue

from pricing_platform.model_files import BF16_FLAGS, measured_once, processor

Precision = Literal["float32", "bfloat16", "mixed"]
"""``mixed`` has the weights of linear layers in bfloat16 and computes the rest in float32."""

SMALL_MODEL = 10_000_000
"""Parameters below which a model computes in float32: too fast for the choice to matter."""

_FASTER = 1.1  # less than this is noise, and the choice must not change with it
_ROWS, _TOKENS = 16, 96
_ROUNDS = 2

Forward = Callable[[Any], Any]
"""One pass over token ids of shape (rows, tokens)."""


def computes_bfloat16(device: str) -> bool:
    """Whether the device has instructions for it."""
    return device.startswith("cuda") or bool(BF16_FLAGS & processor()[1])


def fastest_precision(
    content: str, load: Callable[[Precision], tuple[Any, Forward]], cache_folder: Path | None
) -> Precision:
    """The precision to compute in on this processor, which has instructions for bfloat16.

    Args:
        content: the sha256 of the model's files.
        load: the module of ``transformers`` in a precision, and how it computes.
        cache_folder: where the measurement is remembered; None measures anew.
    """
    measured = measured_once(cache_folder, "precision", content, lambda: measure_precisions(load))
    return next(at for at in get_args(Precision) if at == measured["chosen"])


def measure_precisions(
    load: Callable[[Precision], tuple[Any, Forward]],
) -> dict[str, JsonValue]:
    """Tokens a second in each precision, the better of two, and the precision that is chosen."""
    module, forward = load("float32")
    if module.num_parameters() < SMALL_MODEL:
        return {"chosen": "float32", "parameters": module.num_parameters()}
    vocabulary = module.get_input_embeddings().num_embeddings
    speeds: dict[Precision, float] = {"float32": _tokens_a_second(forward, vocabulary)}
    del module, forward  # one model at a time in memory
    for precision in _ROUNDED:
        speeds[precision] = _tokens_a_second(load(precision)[1], vocabulary)
    told: dict[str, JsonValue] = {name: round(speed) for name, speed in speeds.items()}
    return {"chosen": chosen_precision(speeds), **told}


def chosen_precision(speeds: dict[Precision, float]) -> Precision:
    """``mixed``, or the fastest where that is at least 10 % faster."""
    fastest = max(speeds, key=lambda at: speeds[at])
    return fastest if speeds[fastest] >= _FASTER * speeds["mixed"] else "mixed"


_ROUNDED: tuple[Precision, ...] = ("mixed", "bfloat16")


def _tokens_a_second(forward: Forward, vocabulary: int) -> float:
    import torch

    ids = torch.arange(_ROWS * _TOKENS).reshape(_ROWS, _TOKENS) % vocabulary
    seconds = []
    with torch.inference_mode():
        for _ in range(1 + _ROUNDS):
            started = time.perf_counter()
            forward(ids)
            seconds.append(time.perf_counter() - started)
    return _ROWS * _TOKENS / min(seconds[1:])
