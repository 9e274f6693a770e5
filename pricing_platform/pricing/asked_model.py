"""Which language model the techniques ask, and what they are told besides the items.

Here belongs the choice between an endpoint, a named model on this machine and the one that the
platform trains itself, and opening it. What is asked belongs to the techniques.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pricing_platform.errors import told_as_not_asked
from pricing_platform.language.calls import CallLedger
from pricing_platform.language.endpoint import EndpointLanguageModel
from pricing_platform.language.local.folder import content_sha256, model_folder
from pricing_platform.language.local.local_model import LocalLanguageModel, answering_identity
from pricing_platform.language.local.quantization import Quantization
from pricing_platform.language.model import LanguageModel
from pricing_platform.language.prompts import Currency
from pricing_platform.language.response_cache import (
    READING_VERSION,
    CachedLanguageModel,
    ResponseCache,
)
from pricing_platform.pricing.base_model import BASE_MODEL, BaseModelFitting
from pricing_platform.pricing.language_technique import LanguageContext
from pricing_platform.pricing.reference_data import brand_facts, facts_version, price_history
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse, fingerprint

Report = Callable[[str], None]


def silent_report(_told: str) -> None:
    """Of whom nobody wants to know what calls will cost."""


@dataclass(frozen=True)
class AskedModel:
    """The language model that the settings name."""

    settings: Settings
    base_model: BaseModelFitting

    @property
    def is_endpoint(self) -> bool:
        """Whether calls leave this process, and may cost money."""
        return self.settings.llm_base_url is not None

    @property
    def is_own(self) -> bool:
        """Whether it is the model that the platform trains itself."""
        return not self.is_endpoint and self.settings.base_model is None

    @property
    def identity(self) -> str:
        """Equal where the same prompts get the same answers; known before anything is trained.

        Raises:
            ModelNotAskedError: when the model that is named is not there.
        """
        with told_as_not_asked():
            if self.is_endpoint:
                return _endpoint(self.settings, self.base_model.currency).identity
            if self.settings.base_model is not None:
                content = content_sha256(model_folder(self.settings.base_model))
                return _local_identity(self.settings, content, self.settings.quantization)
        return _local_identity(self.settings, self.base_model.fingerprint, "none")

    def open(self, report: Report = silent_report) -> LanguageModel:
        """The model, asked each question once.

        Args:
            report: is told, in words, what a run of calls to an endpoint will cost at most.

        Raises:
            ModelNotAskedError: when the model that is named is not there, or the settings of the
                endpoint are wrong.
            PlatformError: when none is named and the platform has not trained its own.
        """
        with told_as_not_asked():
            named = named_model(self.settings, self.base_model.currency, report)
        if named is not None:
            return named
        return _local(self.settings, BASE_MODEL, self.base_model.require().path, "none")


def named_model(
    settings: Settings, currency: Currency, report: Report = silent_report
) -> LanguageModel | None:
    """The model that the settings name; None where they name none."""
    if settings.llm_base_url is not None:
        return _endpoint(settings, currency, report)
    if settings.base_model is not None:
        folder = model_folder(settings.base_model)
        return _local(settings, settings.base_model, folder, settings.quantization)
    return None


def _endpoint(
    settings: Settings, currency: Currency, report: Report = silent_report
) -> EndpointLanguageModel:
    return EndpointLanguageModel.from_settings(
        settings,
        ResponseCache.from_settings(settings),
        currency,
        report=lambda estimate: report(estimate.told()),
    )


def _local(
    settings: Settings, name: str, folder: Path, quantization: Quantization
) -> LanguageModel:
    model = LocalLanguageModel.open(
        name, folder, highest_price=_highest_price(settings), quantization=quantization
    )
    return CachedLanguageModel(model, ResponseCache.from_settings(settings))


def _local_identity(settings: Settings, content: str, quantization: Quantization) -> str:
    """Of the model that :func:`_local` opens, and of how what it answers is read."""
    highest = _highest_price(settings)
    answering = answering_identity(content, highest_price=highest, quantization=quantization)
    return fingerprint("local", READING_VERSION, answering)


def _highest_price(settings: Settings) -> int:
    return math.ceil(settings.price_maximum)


def current_asked_model(
    warehouse: Warehouse, postgres: Postgres, encoder: str, settings: Settings
) -> AskedModel:
    """The model that is asked about the items that now stand in the stores."""
    return AskedModel(settings, BaseModelFitting.current(warehouse, postgres, encoder, settings))


def current_brand_facts(warehouse: Warehouse, postgres: Postgres) -> pl.DataFrame:
    """What is known now of the brands of the items; see :class:`LanguageContext`."""
    brands = warehouse.frame("SELECT DISTINCT brand FROM curated.items")["brand"]
    return brand_facts(postgres, brands)


def told_version(warehouse: Warehouse, facts: pl.DataFrame) -> str:
    """Of what the techniques are told besides the items: prices over time, facts of brands."""
    return fingerprint(warehouse.data_version("curated.listings"), facts_version(facts))


def language_context(
    asked: AskedModel,
    warehouse: Warehouse,
    facts: pl.DataFrame,
    report: Report = silent_report,
) -> LanguageContext:
    """All that a technique with a language model needs besides the items.

    Args:
        asked: the model that it asks.
        warehouse: where the prices of train items over time are.
        facts: of brands; see :func:`current_brand_facts`.
        report: is told, in words, what a run of calls to an endpoint will cost at most.
    """
    model = asked.open(report)
    return LanguageContext(
        model=model,
        currency=asked.base_model.currency,
        brand_facts=facts,
        price_history=price_history(warehouse),
        ledger=CallLedger("", model.name),
    )
