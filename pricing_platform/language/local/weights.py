"""What the weights of a folder amount to, and whether memory takes them.

Here belongs what the headers of the files tell. Reading the weights belongs to ``network``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import psutil
from safetensors import SafetensorError, safe_open

from pricing_platform.errors import PlatformError

_PRECISIONS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_FLOAT32 = 4


@dataclass(frozen=True)
class WeightSizes:
    """Of all safetensors of a folder: parameters, bytes, and the format of most numbers."""

    parameters: int
    size: int
    precision: str

    @property
    def float32_bytes(self) -> int:
        """What they take in memory in float32."""
        return _FLOAT32 * self.parameters


def weight_sizes(folder: Path) -> WeightSizes:
    """The sizes of a folder's weights; nothing but the headers is read.

    Raises:
        PlatformError: when a file is no safetensors file, or cut short.
    """
    numbers: dict[str, int] = {}
    paths = sorted(folder.glob("*.safetensors"))
    for path in paths:
        try:
            with safe_open(path, framework="numpy") as tensors:
                for key in tensors.keys():  # noqa: SIM118 - it is no dictionary
                    tensor = tensors.get_slice(key)
                    kind = tensor.get_dtype()
                    numbers[kind] = numbers.get(kind, 0) + math.prod(tensor.get_shape())
        except (SafetensorError, OSError) as error:
            raise PlatformError(
                f"The weights {path} can't be read: {error}.",
                "Put the original file back, or set PRICING_BASE_MODEL to another model.",
            ) from error
    most = max(numbers, key=numbers.__getitem__, default="")
    size = sum(path.stat().st_size for path in paths)
    return WeightSizes(sum(numbers.values()), size, _PRECISIONS.get(most, most.lower()))


def require_memory(name: str, size: int) -> None:
    """Refuses to load what memory does not take, before the machine begins to swap.

    Args:
        name: of the model.
        size: the bytes that it will take.

    Raises:
        PlatformError: with what is needed and what is free.
    """
    available = psutil.virtual_memory().available
    if size > available:
        raise PlatformError(
            f"The language model {name} needs about {size / 1e9:.1f} GB of memory, and"
            f" {available / 1e9:.1f} GB are free.",
            "Close other programs, hold the weights in fewer bits (PRICING_QUANTIZATION), or name"
            " a smaller model with PRICING_BASE_MODEL.",
        )
