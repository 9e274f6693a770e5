"""What fitted techniques write and read: arrays as safetensors, everything else as JSON.

Here belongs the way between memory and such files. Which arrays and values a technique keeps
belongs to the technique. Nothing is pickled, so reading a file never runs code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes named arrays as one safetensors file."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def read_arrays(path: Path) -> Arrays:
    """The arrays that :func:`write_arrays` wrote, bit for bit."""
    from safetensors.numpy import load_file

    return dict(load_file(path))


def write_json(path: Path, value: object) -> None:
    """Writes a value of lists, dicts, strings, numbers and null; numbers and order survive."""
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def read_json(path: Path) -> Any:
    """The value that :func:`write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
