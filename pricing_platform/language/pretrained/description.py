"""What can be told of a language model before it computes anything.

Here belongs reading it off the files of its folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pricing_platform.language.local.folder import content_sha256, context_window
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
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config |= config.get("text_config", {})
        sizes = weight_sizes(folder)
        return cls(
            name=model.name,
            licence=licence_of(folder),
            architecture=str(config.get("model_type", "")),
            parameters=sizes.parameters,
            layers=int(config.get("num_hidden_layers") or config.get("n_layer") or 0),
            hidden=int(config.get("hidden_size") or config.get("n_embd") or 0),
            vocabulary=int(config.get("vocab_size") or 0),
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


def _has_chat_template(folder: Path) -> bool:
    if any(folder.glob("chat_template*")):
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(
        json.loads(path.read_text(encoding="utf-8")).get("chat_template")
    )
