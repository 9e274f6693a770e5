"""A fitted price model in the forms that other programs load: an adapter, a whole model, a GGUF.

Here belongs what is in each form and the files of it, apart from the card. That a folder is whole
belongs to ``new_folder``.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pricing_platform.finetuning.language.adapters import load_base, merged, with_adapters_of
from pricing_platform.finetuning.language.configuration import AdapterConfiguration
from pricing_platform.finetuning.language.price_head import HEAD_FOLDER, PriceHead
from pricing_platform.finetuning.language.price_model import FittedPriceModel
from pricing_platform.language.local.folder import copy_files
from pricing_platform.language.local.weights import require_memory, weight_sizes
from pricing_platform.model_files import quiet_transformers

_CONFIGURATION = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_ADAPTED = "adapters.json"


@dataclass(frozen=True)
class BaseReference:
    """A base model as others are told of it.

    ``name`` is what ``PRICING_BASE_MODEL`` or a program would name it: a folder, a file, a hub id;
    ``revision`` is that of a hub id; ``gguf`` the GGUF file that it came from, if it did.
    """

    name: str
    revision: str | None = None
    gguf: Path | None = None

    @property
    def short_name(self) -> str:
        """The last part alone, as files are named and people speak of it."""
        return self.name.rpartition("/")[2].removesuffix(".gguf")


def write_adapter(fitted: FittedPriceModel, base: BaseReference, folder: Path) -> None:
    """Writes what plain ``PeftModel.from_pretrained`` loads, and the price head beside it.

    How strongly the adapters may act is part of their ``lora_alpha``, since nobody else knows of
    it.
    """
    shutil.copy(fitted.adapters / _WEIGHTS, folder / _WEIGHTS)
    told = json.loads((fitted.adapters / _CONFIGURATION).read_text(encoding="utf-8"))
    told |= {
        "base_model_name_or_path": base.name,
        "revision": base.revision,
        "lora_alpha": _scaled(told["lora_alpha"], fitted.scale),
        "alpha_pattern": {
            name: _scaled(alpha, fitted.scale)
            for name, alpha in (told.get("alpha_pattern") or {}).items()
        },
    }
    if isinstance(told["target_modules"], list):  # a set, which peft writes in any order
        told["target_modules"].sort()
    (folder / _CONFIGURATION).write_text(json.dumps(told, indent=2), encoding="utf-8")
    head = folder / HEAD_FOLDER
    fitted.head.save(head)
    (head / _ADAPTED).write_text(fitted.configuration.model_dump_json(indent=2), encoding="utf-8")


def read_adapter(folder: Path, base: Path) -> FittedPriceModel:
    """The price model of what :func:`write_adapter` wrote, on its base model's folder."""
    head = folder / HEAD_FOLDER
    configuration = AdapterConfiguration.model_validate_json((head / _ADAPTED).read_bytes())
    return FittedPriceModel(base, folder, PriceHead.load(head), configuration)


def write_merged(fitted: FittedPriceModel, folder: Path) -> None:
    """Writes the base with the adapters added to its weights, in float32, and its tokenizer.

    Raises:
        PlatformError: when memory is too small.
    """
    require_memory(f"in {fitted.base}", 2 * weight_sizes(fitted.base).float32_bytes)
    adapted = with_adapters_of(load_base(fitted.base), fitted.adapters)
    with quiet_transformers():
        merged(adapted, fitted.scale).save_pretrained(folder)
    copy_files(fitted.base, folder)


def _scaled(alpha: float, scale: float) -> Any:
    return alpha if scale == 1 else alpha * scale
