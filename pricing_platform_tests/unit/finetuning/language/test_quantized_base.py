"""A base whose weights are held in fewer bits: gradients go through it as through those weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pricing_platform.finetuning.language.adapters import load_base, with_new_adapters
from pricing_platform.finetuning.language.configuration import AdapterConfiguration
from pricing_platform.language.local.quantization import Quantization
from pricing_platform_tests.unit.finetuning.language.tiny_base import write_tiny_base

ADAPTERS = AdapterConfiguration(rank=4, alpha=8, adapted_share=1.0)


def gradients(base: Any) -> Any:
    """Those of new adapters, for what the model makes of a text, as one vector."""
    import torch

    model = with_new_adapters(base, ADAPTERS, seed=1)
    with torch.no_grad():
        model(torch.arange(20, 30)[None])  # as states are read before a training
    model.train()
    ids = torch.arange(20, 52).reshape(2, 16)
    model(ids, labels=ids).loss.backward()
    return torch.cat([at.grad.flatten() for at in model.parameters() if at.requires_grad])


def with_weights_of(quantized: Any, folder: Path) -> Any:
    """The model in float32, with the weights that the other one has in fewer bits."""
    from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant

    exact = load_base(folder)
    for name, part in quantized.named_modules():
        if type(part).__name__ == "Linear4bit":
            found = dequantize_4bit(part.weight.data, part.weight.quant_state)
        elif type(part).__name__ == "Linear8bitLt":
            found = int8_vectorwise_dequant(part.weight.data, part.weight.SCB)
        else:
            continue
        exact.get_submodule(name).weight.data = found.float()
    return exact


@pytest.mark.parametrize(("quantization", "least"), [("8bit", 0.95), ("4bit", 0.98)])
def test_gradients_go_through_quantized_blocks(
    tmp_path: Path, quantization: Quantization, least: float
) -> None:
    import torch

    folder = write_tiny_base(tmp_path, hidden=128)
    quantized = load_base(folder, quantization=quantization)
    exact, found = gradients(with_weights_of(quantized, folder)), gradients(quantized)
    assert torch.nn.functional.cosine_similarity(exact, found, dim=0) > least
