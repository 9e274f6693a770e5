"""What a technique that fine-tunes a language model needs besides the items.

Here belong the base model's place and the budget. Which model it is, the settings say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pricing_platform.language.prompts import Currency
from pricing_platform.stores.warehouse import fingerprint


@dataclass(frozen=True)
class LanguageBase:
    """A language model that is fine-tuned: its name, folder, and the sha256 over its content.

    ``tokens_per_second`` is what a forward pass reads on this machine; ``cache_folder`` may be
    deleted at any time.
    """

    name: str
    folder: Path
    content_sha256: str
    tokens_per_second: float
    cache_folder: Path


@dataclass(frozen=True)
class FineTuningContext:
    """The base model, the budget of one training in seconds, and what prices were over time.

    ``price_history`` has item_id, price and observed_at (UTC), every observation of every training
    item; see ``references.PriceHistory``.
    """

    base: LanguageBase
    currency: Currency
    seconds: float
    price_history: pl.DataFrame

    @property
    def identity(self) -> str:
        """Equal for two contexts that give the same checkpoint of the same items."""
        return fingerprint(self.base.content_sha256, self.currency.code, self.seconds)
