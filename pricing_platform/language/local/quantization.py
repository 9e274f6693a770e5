"""Weights held in fewer bits: what is asked for, and whether it is possible here.

Here belongs the choice of a library for it. Loading belongs to ``network``.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any, Literal

from pricing_platform.errors import PlatformError

Quantization = Literal["none", "8bit", "4bit"]


def quantization_options(quantization: Quantization, device: str) -> dict[str, Any]:
    """What ``from_pretrained`` is told besides, so that it holds the weights as asked.

    bitsandbytes does it, on a GPU and on a processor: LLM.int8 (Dettmers et al., 2022), or NF4 with
    doubly quantized constants (Dettmers et al., "QLoRA", 2023).

    Raises:
        PlatformError: when it is not installed.
    """
    if quantization == "none":
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise PlatformError(
            f"Weights can't be held in {quantization}: the package bitsandbytes is not installed.",
            "Install it (pip install bitsandbytes), or unset PRICING_QUANTIZATION.",
        )
    import torch
    from transformers import BitsAndBytesConfig

    # It warns at every layer of every batch that it casts to float16.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    if quantization == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return {"quantization_config": config, "device_map": {"": device}}
