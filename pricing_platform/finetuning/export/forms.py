"""The forms that a fine-tuned language model is given away in, by name.

Here belong the names, which the command line shows. What is written belongs to ``model_folders``
and ``gguf_model``.
"""

from __future__ import annotations

from typing import Literal

ExportForm = Literal["adapter", "merged", "gguf"]
GgufType = Literal["f32", "f16", "q8_0"]
"""How a GGUF file holds matrices, as llama.cpp names it."""
