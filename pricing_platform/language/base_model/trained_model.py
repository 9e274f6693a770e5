"""A trained model of the platform's own, and the folder that ``transformers`` reads it from.

Here belong what is known of a finished training, and writing it. Using the model belongs to
``language.local``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pricing_platform.language import prompts
from pricing_platform.language.base_model.configuration import BaseModelConfiguration
from pricing_platform.language.base_model.model_card import model_card
from pricing_platform.language.base_model.reading import Reading
from pricing_platform.model_files import quiet_transformers

HELD_OUT = "held_out_families.json"
LOSS_CURVE = "loss_curve.json"
MODEL_CARD = "README.md"


@dataclass(frozen=True, eq=False)
class TrainedBaseModel:
    """The network and its tokenizer, as ``transformers`` has them, and what is known of them.

    ``loss_curve``: tokens read, price loss, text loss and learning rate, some steps apart.
    """

    network: Any
    tokenizer: Any
    configuration: BaseModelConfiguration
    currency: prompts.Currency
    seed: int
    fingerprint: str
    reading: Reading
    metrics: dict[str, float]
    loss_curve: list[dict[str, float]]

    @property
    def parameters(self) -> int:
        """How many numbers the network consists of."""
        return sum(p.numel() for p in self.network.parameters())

    def model_card(self) -> str:
        """The model card, in Markdown."""
        return model_card(
            self.configuration,
            self.reading,
            self.metrics,
            parameters=self.parameters,
            vocabulary=len(self.tokenizer),
            currency=self.currency.code,
            seed=self.seed,
            fingerprint=self.fingerprint,
        )

    def save(self, folder: Path) -> None:
        """Writes the model, its tokenizer, its card, its loss curve and the held-out families."""
        folder.mkdir(parents=True, exist_ok=True)
        self.network.config.single_token_prices = True  # as local.folder reads it
        with quiet_transformers():
            self.network.save_pretrained(folder, safe_serialization=True)
            self.tokenizer.save_pretrained(folder)
        (folder / MODEL_CARD).write_text(self.model_card(), encoding="utf-8")
        (folder / LOSS_CURVE).write_text(json.dumps(self.loss_curve), encoding="utf-8")
        families = {
            "left_out": self.reading.left_out_families,
            "measured": self.reading.measured_families,
        }
        (folder / HELD_OUT).write_text(json.dumps(families, indent=1), encoding="utf-8")
