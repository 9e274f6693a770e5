"""Which language model the techniques ask, and what they are told besides the items.

Here belongs the choice between an endpoint, a named model on this machine and the one that the
platform trains itself, and opening it. What is asked belongs to the techniques.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from pricing_platform.errors import told_as_not_asked
from pricing_platform.language.calls import CallLedger
from pricing_platform.language.endpoint import EndpointLanguageModel
from pricing_platform.language.local.folder import model_folder
from pricing_platform.language.local.local_model import LocalLanguageModel, answering_identity
from pricing_platform.language.local.network import default_device, default_precision
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
                named = _named(self.settings, self.settings.base_model)
                return fingerprint("local", READING_VERSION, named.identity)
        return _own_identity(self.settings, self.base_model.fingerprint)

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
        own = LocalLanguageModel.open(
            BASE_MODEL,
            self.base_model.require().path,
            highest_price=_highest_price(self.settings),
            precision=default_precision(default_device()),
        )
        return CachedLanguageModel(own, ResponseCache.from_settings(self.settings))


def named_model(
    settings: Settings, currency: Currency, report: Report = silent_report
) -> LanguageModel | None:
    """The model that the settings name; None where they name none."""
    if settings.llm_base_url is not None:
        return _endpoint(settings, currency, report)
    if settings.base_model is not None:
        model = _named(settings, settings.base_model)
        return CachedLanguageModel(model, ResponseCache.from_settings(settings))
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


def _named(settings: Settings, name: str) -> LocalLanguageModel:
    return LocalLanguageModel.open(
        name,
        model_folder(name),
        highest_price=_highest_price(settings),
        quantization=settings.quantization,
        cache_folder=settings.cache_folder,
    )


def _own_identity(settings: Settings, content: str) -> str:
    """Of the model that the platform trains, known before it is trained."""
    answering = answering_identity(
        content,
        highest_price=_highest_price(settings),
        precision=default_precision(default_device()),
    )
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
