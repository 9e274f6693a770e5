"""A LoRA adapter taken in part: between the base model at 0 and the fine-tuned one at 1.

A step along the line between the weights of both often keeps most of what was learnt and loses
little of what was known (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022, WiSE-FT).
For LoRA that is its scaling, so it costs no training. Here belongs setting it; which scale is taken
belongs to ``gate``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCALES = (0.25, 0.5, 0.75, 1.0)


@contextmanager
def scaled_adapter(model: Any, scale: float) -> Iterator[None]:
    """The model with its LoRA adapters at a part of their strength; as it was afterwards.

    Args:
        model: a ``PeftModel`` whose adapters are not merged.
        scale: 0 for the base model to 1 for the adapter as trained.

    Raises:
        ValueError: when the scale is not within 0 to 1, the model has no LoRA adapter, or one is
            merged into the weights and can't be scaled any more.
    """
    from peft.helpers import rescale_adapter_scale
    from peft.tuners.lora import LoraLayer

    _check(scale)
    if any(layer.merged for layer in model.modules() if isinstance(layer, LoraLayer)):
        raise ValueError("a merged adapter can't be scaled")
    with rescale_adapter_scale(model, float(scale)):
        yield


def scale_saved_adapter(folder: Path, scale: float) -> None:
    """Makes a saved adapter one that ``PeftModel.from_pretrained`` loads at this scale.

    Only ``adapter_config.json`` changes: the alphas, of which LoRA's scaling is a multiple.

    Args:
        folder: holds the adapter as trained; call this once, before it becomes a checkpoint.
        scale: above 0, at most 1.

    Raises:
        ValueError: when the scale is not within 0 to 1, or is 0.
    """
    _check(scale)
    if scale == 0:
        raise ValueError("an adapter of scale 0 is the base model")
    path = folder / "adapter_config.json"
    configuration = json.loads(path.read_text(encoding="utf-8"))
    configuration["lora_alpha"] = configuration["lora_alpha"] * scale
    patterns = configuration.get("alpha_pattern") or {}
    configuration["alpha_pattern"] = {name: alpha * scale for name, alpha in patterns.items()}
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(configuration, indent=2, sort_keys=True), encoding="utf-8")
    partial.replace(path)


def _check(scale: float) -> None:
    if not (math.isfinite(scale) and 0 <= scale <= 1):
        raise ValueError(f"an adapter's scale is within 0 to 1, not {scale}")
