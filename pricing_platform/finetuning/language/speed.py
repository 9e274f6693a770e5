"""How many tokens a second a model reads on this machine: measured once and remembered.

Here belongs the measurement. What follows from it for a training belongs to ``plan``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pricing_platform.finetuning.language.adapters import block_owner, load_base
from pricing_platform.finetuning.language.adapters import round_frozen_weights as round_weights
from pricing_platform.finetuning.price_network import mixed_precision
from pricing_platform.language.local.quantization import Quantization
from pricing_platform.model_files import machine
from pricing_platform.stores.warehouse import fingerprint, make_folder

_TEXTS, _TOKENS = 16, 128
_PASSES = 3


def tokens_per_second(
    base: Path,
    content_sha256: str,
    cache_folder: Path,
    quantization: Quantization = "none",
) -> float:
    """Tokens of a forward pass through the whole model; the fastest of a few passes counts.

    Args:
        base: the folder of the model.
        content_sha256: of it; another content is measured anew, and so is another processor or GPU.
        cache_folder: where the figure is remembered.
        quantization: how its weights are held.
    """
    import torch

    name_of_processor, *gpu = machine()
    name = fingerprint(
        content_sha256,
        quantization,
        name_of_processor,
        torch.__version__,
        torch.get_num_threads(),
        *gpu,
    )
    path = cache_folder / "speeds" / f"{name[:32]}.json"
    if path.exists():
        return float(json.loads(path.read_text(encoding="utf-8"))["tokens_per_second"])
    measured = _measured(base, quantization)
    make_folder(path.parent)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"tokens_per_second": measured}), encoding="utf-8")
    partial.replace(path)
    return measured


def _measured(base: Path, quantization: Quantization) -> float:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model: Any = load_base(base, quantization=quantization).requires_grad_(False)
    round_weights(model)
    ids = torch.arange(_TEXTS * _TOKENS, device=device).reshape(_TEXTS, _TOKENS)
    ids = ids.remainder(model.config.get_text_config().vocab_size)
    seconds = []
    with torch.inference_mode(), mixed_precision(device):
        for _ in range(_PASSES):
            started = time.perf_counter()
            block_owner(model)(input_ids=ids, use_cache=False)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    return _TEXTS * _TOKENS / min(seconds)
