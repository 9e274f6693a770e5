"""Weights rounded once, where every pass would round them again.

Here belongs rounding them. In which number format a model computes belongs to ``precision``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def round_linear_weights(module: torch.nn.Module) -> None:
    """Rounds to bfloat16 the linear layers' weights that are not trained, as autocast would.

    An output layer that shares its weights with the embedding gets weights of its own. What is not
    rounded is copied out of the file that it is mapped from, which is then let go. Layers whose
    weights are held in fewer bits stay as they are.
    """
    import torch

    for part in module.modules():
        if is_quantized(part):
            continue
        rounds = isinstance(part, torch.nn.Linear)
        for name, weight in list(part.named_parameters(recurse=False)):
            if not weight.requires_grad:
                kept = weight.data.to(torch.bfloat16) if rounds else weight.data.clone()
                setattr(part, name, torch.nn.Parameter(kept, requires_grad=False))


def is_quantized(part: torch.nn.Module) -> bool:
    """Whether the weights are held in fewer bits, by a layer of a class of its own."""
    return type(part).__module__.startswith("bitsandbytes.")
