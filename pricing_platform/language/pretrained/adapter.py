"""A PEFT adapter's folder: the base that it names, and both of them merged into one model.

Here belongs reading and merging. Training adapters belongs to ``finetuning``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pricing_platform.errors import PlatformError
from pricing_platform.language.local.folder import (
    TOKENIZER_FILES,
    copy_files,
    read_configuration,
    told_as_not_loadable,
)
from pricing_platform.language.local.weights import require_memory, weight_sizes
from pricing_platform.language.pretrained.card import licence_of, write_card
from pricing_platform.model_files import files_sha256, quiet_transformers

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Adapter:
    """A folder as PEFT saves it. ``base`` names what it adapts, as PRICING_BASE_MODEL would."""

    folder: Path
    base: str

    @classmethod
    def in_folder(cls, folder: Path) -> Adapter | None:
        """The adapter in a folder; None where a whole model or nothing of the kind is there.

        Raises:
            PlatformError: when its configuration can't be read or names no base, or its weights
                are not there as safetensors.
        """
        path = folder / _CONFIG
        if not path.is_file() or (folder / "config.json").is_file():
            return None
        if not (folder / _WEIGHTS).is_file():
            raise PlatformError(
                f"The adapter in {folder} has no {_WEIGHTS}.",
                "Save it with safetensors: other formats can run code and are not read.",
            )
        told = read_configuration(path)
        base, revision = told.get("base_model_name_or_path"), told.get("revision")
        if not isinstance(base, str) or not base:
            raise PlatformError(
                f"{path} names no base model (base_model_name_or_path).",
                "Set PRICING_BASE_MODEL to a folder that PEFT has saved an adapter to.",
            )
        at_revision = revision and not Path(base).expanduser().is_dir()
        return cls(folder, f"{base}@{revision}" if at_revision else base)

    @property
    def sha256(self) -> str:
        """Over all that decides what it makes of its base."""
        paths = {path for pattern in TOKENIZER_FILES for path in self.folder.glob(pattern)}
        return files_sha256({self.folder / _CONFIG, self.folder / _WEIGHTS, *paths})

    def merge(self, base: Path, folder: Path, *, name: str) -> None:
        """Writes the base with the adapter added to its weights, as float32.

        The adapter's own tokenizer is used where it has one, the base's otherwise.

        Raises:
            PlatformError: when the adapter does not fit the base, or memory is too small.
        """
        import torch
        from peft import PeftModel
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM

        require_memory(name, 2 * weight_sizes(base).float32_bytes)
        with quiet_transformers():
            with told_as_not_loadable(base):
                module = AutoModelForCausalLM.from_pretrained(
                    base,
                    dtype=torch.float32,
                    local_files_only=True,
                    use_safetensors=True,
                    trust_remote_code=False,
                )
            try:
                merged = PeftModel.from_pretrained(module, self.folder).merge_and_unload()
            except (
                OSError,
                ValueError,
                KeyError,
                RuntimeError,
                TypeError,
                AttributeError,  # of a kind that has no weights to merge, as prompt tuning
                SafetensorError,
            ) as error:
                raise PlatformError(
                    f"The adapter in {self.folder} can't be merged into {self.base}: {error}",
                    f"Name the base that it was trained on in its {_CONFIG}.",
                ) from error
            merged.save_pretrained(folder)
        has_tokenizer = (self.folder / "tokenizer.json").is_file()
        copy_files(self.folder if has_tokenizer else base, folder, TOKENIZER_FILES)
        write_card(
            folder,
            name=name,
            licence=licence_of(base),
            source=f"the adapter {self.folder.name} and {self.base}",
        )
