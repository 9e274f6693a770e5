"""What can be told of a language model before it computes anything.

Here belongs reading it off the files of its folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pricing_platform.language.local.folder import (
    content_sha256,
    context_window,
    model_configuration,
    read_configuration,
)
from pricing_platform.language.local.weights import weight_sizes
from pricing_platform.language.pretrained.card import licence_of
from pricing_platform.language.pretrained.named_models import NamedModel


@dataclass(frozen=True)
class ModelDescription:
    """A model's figures. ``precision`` is the number format of its files, ``size`` their bytes."""

    name: str
    licence: str
    architecture: str
    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    context_window: int
    precision: str
    size: int
    has_chat_template: bool
    source_sha256: str
    content_sha256: str
    folder: Path

    @classmethod
    def of(cls, model: NamedModel) -> ModelDescription:
        """Of a model whose folder is ready.

        Raises:
            PlatformError: when its files can't be read.
        """
        folder = model.folder
        config = model_configuration(folder)
        sizes = weight_sizes(folder)
        return cls(
            name=model.name,
            licence=licence_of(folder),
            architecture=str(config.get("model_type", "")),
            parameters=sizes.parameters,
            layers=_number(config, "num_hidden_layers", "n_layer"),
            hidden=_number(config, "hidden_size", "n_embd"),
            vocabulary=_number(config, "vocab_size"),
            context_window=context_window(folder),
            precision=sizes.precision,
            size=sizes.size,
            has_chat_template=_has_chat_template(folder),
            source_sha256=model.source_sha256,
            content_sha256=content_sha256(folder),
            folder=folder,
        )

    def card(self) -> str:
        """A short model card as Markdown."""
        template = "with a chat template" if self.has_chat_template else "without a chat template"
        return (
            f"### {self.name}\n\n"
            f"{self.parameters:,} parameters ({self.architecture}): {self.layers} layers of"
            f" {self.hidden:,}, vocabulary of {self.vocabulary:,}, window of"
            f" {self.context_window:,} tokens, {template}.\n\n"
            f"Licence: {self.licence}. Weights in {self.precision}, {self.size / 1e6:,.0f} MB, as"
            " safetensors.\n"
        )


def _number(config: dict[str, Any], *names: str) -> int:
    """The first of these that is a number, 0 where none is."""
    found = (config.get(name) for name in names)
    return next((int(at) for at in found if isinstance(at, int | float)), 0)


def _has_chat_template(folder: Path) -> bool:
    if any(folder.glob("chat_template*")):
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(read_configuration(path).get("chat_template"))
