"""Which language model the techniques ask, and what they are told besides the items.

Here belongs the choice between an endpoint and a model on this machine, and opening it. What is
asked belongs to the techniques.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from pricing_platform.catalog.items import catalogue_currency
from pricing_platform.errors import told_as_not_asked
from pricing_platform.language.calls import CallLedger
from pricing_platform.language.endpoint import EndpointLanguageModel
from pricing_platform.language.local.local_model import LocalLanguageModel
from pricing_platform.language.model import LanguageModel
from pricing_platform.language.pretrained import language_model_folder, language_model_name
from pricing_platform.language.prompts import Currency
from pricing_platform.language.response_cache import (
    READING_VERSION,
    CachedLanguageModel,
    ResponseCache,
)
from pricing_platform.pricing.prompting.language_technique import LanguageContext
from pricing_platform.pricing.prompting.prompt_knowledge import (
    brand_facts,
    facts_version,
    price_history,
    price_history_version,
)
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
    currency: Currency

    @property
    def is_endpoint(self) -> bool:
        """Whether calls leave this process, and may cost money."""
        return self.settings.llm_base_url is not None

    @property
    def identity(self) -> str:
        """Equal where the same prompts get the same answers; known before anything is asked.

        Raises:
            ModelNotAskedError: when the model is not there.
        """
        with told_as_not_asked():
            if self.is_endpoint:
                return _endpoint(self.settings, self.currency).identity
            return fingerprint("local", READING_VERSION, _local(self.settings).identity)

    def open(self, report: Report = silent_report) -> LanguageModel:
        """The model, asked each question once.

        Args:
            report: is told, in words, what a run of calls to an endpoint will cost at most.

        Raises:
            ModelNotAskedError: when the model is not there, or the settings of the endpoint are
                wrong.
        """
        with told_as_not_asked():
            return open_language_model(self.settings, self.currency, report)


def open_language_model(
    settings: Settings, currency: Currency, report: Report = silent_report
) -> LanguageModel:
    """The endpoint that the settings name, or else the model on this machine.

    Raises:
        PlatformError: when the model is not there, or the settings of the endpoint are wrong.
    """
    if settings.llm_base_url is not None:
        return _endpoint(settings, currency, report)
    return CachedLanguageModel(_local(settings), ResponseCache.from_settings(settings))


def _endpoint(
    settings: Settings, currency: Currency, report: Report = silent_report
) -> EndpointLanguageModel:
    return EndpointLanguageModel.from_settings(
        settings,
        ResponseCache.from_settings(settings),
        currency,
        report=lambda estimate: report(estimate.told()),
    )


def _local(settings: Settings) -> LocalLanguageModel:
    return LocalLanguageModel.open(
        language_model_name(settings),
        language_model_folder(settings),
        highest_price=math.ceil(settings.price_maximum),
        quantization=settings.quantization,
        cache_folder=settings.cache_folder,
    )


def current_asked_model(warehouse: Warehouse, settings: Settings) -> AskedModel:
    """The model that is asked about the items that now stand in the warehouse."""
    return AskedModel(settings, Currency(catalogue_currency(warehouse)))


def current_brand_facts(warehouse: Warehouse, postgres: Postgres) -> pl.DataFrame:
    """What is known now of the brands of the items; see :class:`LanguageContext`."""
    brands = warehouse.frame("SELECT DISTINCT brand FROM curated.items")["brand"]
    return brand_facts(postgres, brands)


def told_version(warehouse: Warehouse, facts: pl.DataFrame) -> str:
    """Of what the techniques are told besides the items: prices over time, facts of brands."""
    return fingerprint(price_history_version(warehouse), facts_version(facts))


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
        currency=asked.currency,
        brand_facts=facts,
        price_history=price_history(warehouse),
        ledger=CallLedger("", model.name),
    )
