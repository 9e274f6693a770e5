"""A language model's folder: found by its name, checked, and what its content hashes to.

Here belongs what is known of a model before anything of it is loaded. Loading belongs to
``network`` and ``prompt_tokens``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pricing_platform.errors import PlatformError
from pricing_platform.model_files import files_sha256, hub_folder

_SETTING = "PRICING_BASE_MODEL"
_HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "tokenizer.model", "README.md")
_WEIGHTS = "*.safetensors"
TOKENIZER_FILES = ("tokenizer*", "*.jinja", "special_tokens_map.json")
BESIDE_WEIGHTS = (
    *TOKENIZER_FILES,
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "generation_config.json",
)
"""What a folder needs besides configuration and weights to be used as the one it was made from."""

_IDENTIFYING = (_WEIGHTS, "*config.json", *TOKENIZER_FILES)


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
        PlatformError: naming what is missing, or can't be read.
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
    model_configuration(folder)


def model_configuration(folder: Path) -> dict[str, Any]:
    """What ``config.json`` says of the language model, that of one among others included.

    Raises:
        PlatformError: when it can't be read.
    """
    config = read_configuration(folder / "config.json")
    text = config.get("text_config", {})
    return config | (text if isinstance(text, dict) else {})


def read_configuration(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder.

    Raises:
        PlatformError: when the file can't be read, or is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _broken(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"it is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise _broken(path, "it is no JSON object")
    return found


@contextmanager
def told_as_not_loadable(folder: Path) -> Iterator[None]:
    """Tells what ``transformers`` raises of a folder that it can't load as one message.

    What a wrong value of the configuration raises is of any kind, by where it is first used.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        SafetensorError,
        StrictDataclassError,
        TypeError,
        ValueError,
    ) as error:
        raise PlatformError(
            f"No causal language model can be loaded from {folder}: {' '.join(str(error).split())}",
            f"Set {_SETTING} to a folder with such a model in the layout of transformers, with"
            " weights as safetensors.",
        ) from error


def _broken(path: Path, problem: str) -> PlatformError:
    return PlatformError(
        f"{path} can't be read: {problem}.",
        f"Put the original file back, or set {_SETTING} to another model.",
    )


def copy_files(source: Path, target: Path, patterns: Sequence[str] = BESIDE_WEIGHTS) -> None:
    """Copies the files of one model's folder into another's, by the patterns of their names."""
    for pattern in patterns:
        for path in source.glob(pattern):
            shutil.copy(path, target / path.name)


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
    config = model_configuration(folder)
    limits = [config.get(key) for key in ("max_position_embeddings", "n_positions")]
    if config.get("use_sliding_window", True):
        limits.append(config.get("sliding_window"))
    found = [int(limit) for limit in limits if isinstance(limit, int | float) and limit > 0]
    if not found:
        raise PlatformError(
            f"The configuration in {folder} does not tell how many tokens the model takes.",
            "Put max_position_embeddings into its config.json.",
        )
    return min(found)
