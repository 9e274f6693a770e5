"""What a technique that fine-tunes a language model needs besides the items.

Here belong the base model's place and the budget. Which model it is, the settings say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pricing_platform.errors import told_as_not_asked
from pricing_platform.finetuning.forgetting.configuration import (
    ForgettingFiles,
    configured_forgetting,
)
from pricing_platform.finetuning.language.price_model import PriceModelBase
from pricing_platform.finetuning.language.speed import tokens_per_second
from pricing_platform.language.local.folder import content_sha256
from pricing_platform.language.local.quantization import Quantization
from pricing_platform.language.pretrained import language_model_folder, language_model_name
from pricing_platform.language.prompts import Currency
from pricing_platform.model_files import file_sha256
from pricing_platform.pricing.prompting.prompt_knowledge import price_history
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse, fingerprint


@dataclass(frozen=True)
class LanguageBase:
    """A language model that is fine-tuned: its name, folder, and the sha256 over its content.

    ``tokens_per_second`` is what a forward pass reads on this machine; ``cache_folder`` may be
    deleted at any time; ``quantization`` is how its weights are held.
    """

    name: str
    folder: Path
    content_sha256: str
    tokens_per_second: float
    cache_folder: Path
    quantization: Quantization = "none"

    @property
    def adapted(self) -> PriceModelBase:
        """What of it a price model is fitted on."""
        return PriceModelBase(self.folder, self.content_sha256, self.quantization)

    @property
    def pooled_folder(self) -> Path:
        """Where pooled states are kept for other fits on it."""
        return self.cache_folder / "pooled_states"


@dataclass(frozen=True)
class FineTuningContext:
    """The base model, the budget of one training in seconds, and what prices were over time.

    ``highest_price`` is the last whole number that a written price is looked for among.

    ``price_history`` has item_id, price and observed_at (UTC), every observation of every training
    item; see ``references.PriceHistory``. ``general`` are the probes and texts that forgetting is
    measured on, of which no more than ``forgetting_limit`` may be lost; None where it is not.
    """

    base: LanguageBase
    currency: Currency
    seconds: float
    price_history: pl.DataFrame
    general: ForgettingFiles | None = None
    forgetting_limit: float = 1.0
    highest_price: int = 1_000


def fine_tuning_identity(settings: Settings, currency: Currency) -> str:
    """Equal where the same items give the same checkpoint; no weights are read for it.

    Raises:
        ModelNotAskedError: when the base model is not there.
    """
    general = configured_forgetting(settings)
    with told_as_not_asked():
        content = content_sha256(language_model_folder(settings))
    return fingerprint(
        content,
        currency.code,
        settings.fine_tuning_seconds,
        settings.language_tokens_per_second,
        settings.forgetting_limit,
        settings.price_maximum,
        settings.quantization,
        [file_sha256(path) for path in (*general.probes, *general.text)],
        (general.probes_limit, general.text_tokens),
    )


def fine_tuning_context(
    settings: Settings, currency: Currency, warehouse: Warehouse
) -> FineTuningContext:
    """That of the base model which the settings name, and of the prices in the warehouse.

    Raises:
        ModelNotAskedError: when the base model is not there.
    """
    with told_as_not_asked():
        folder = language_model_folder(settings)
        content = content_sha256(folder)
        speed = settings.language_tokens_per_second or tokens_per_second(
            folder, content, settings.cache_folder, settings.quantization
        )
    base = LanguageBase(
        language_model_name(settings),
        folder,
        content,
        speed,
        settings.cache_folder,
        settings.quantization,
    )
    return FineTuningContext(
        base,
        currency,
        settings.fine_tuning_seconds,
        price_history(warehouse),
        configured_forgetting(settings),
        settings.forgetting_limit,
        math.ceil(settings.price_maximum),
    )
