"""A language model's folder: found by its name, checked, and what its content hashes to.

Here belongs what is known of a model before anything of it is loaded. Loading belongs to
``network`` and ``prompt_tokens``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pricing_platform.errors import PlatformError
from pricing_platform.model_files import files_sha256, hub_folder

_SETTING = "PRICING_BASE_MODEL"
_HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "tokenizer.model", "README.md")
_WEIGHTS = "*.safetensors"
_IDENTIFYING = (_WEIGHTS, "*config.json", "tokenizer*", "*.jinja", "special_tokens_map.json")


def found_folder(name: str) -> Path:
    """The folder that a name means: a local one, or that of a hub id ``name@revision`` fetched.

    Raises:
        PlatformError: when there is no such folder or hub model, or the hub id has no revision.
    """
    local = Path(name).expanduser()
    if name and local.is_dir():
        return local.resolve()
    alternative = "a folder or a .gguf file that is there"
    return hub_folder(name, setting=_SETTING, alternative=alternative, files=_HUB_FILES)


def check_folder(folder: Path) -> None:
    """Refuses a folder that no causal language model can be loaded from.

    Raises:
        PlatformError: naming what is missing.
    """
    missing = [
        described
        for described, patterns in (
            ("weights as *.safetensors", (_WEIGHTS,)),
            ("config.json", ("config.json",)),
            ("tokenizer.json", ("tokenizer.json", "tokenizer.model")),
        )
        if not any(path for pattern in patterns for path in folder.glob(pattern))
    ]
    if missing:
        raise PlatformError(
            f"The language model in {folder} has no {' and no '.join(missing)}.",
            f"Set {_SETTING} to a folder that transformers can load a causal language model from,"
            " with its weights as safetensors, or unset it to use the embedded model.",
        )


def content_sha256(folder: Path) -> str:
    """The sha256 over all that decides the model's answers: weights, configuration, tokenizer."""
    paths = {path for pattern in _IDENTIFYING for path in folder.glob(pattern)}
    return files_sha256(path for path in paths if path.is_file())


def context_window(folder: Path) -> int:
    """Tokens that fit, from the configuration.

    A model that sees only part of a longer text in some of its layers has the window of those.

    Raises:
        PlatformError: when the configuration tells none.
    """
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= config.get("text_config", {})
    limits = [config.get(key) for key in ("max_position_embeddings", "n_positions")]
    if config.get("use_sliding_window", True):
        limits.append(config.get("sliding_window"))
    found = [int(limit) for limit in limits if limit]
    if not found:
        raise PlatformError(
            f"The configuration in {folder} does not tell how many tokens the model takes.",
            "Put max_position_embeddings into its config.json.",
        )
    return min(found)
