"""What an asset works on that fits, asks or measures techniques.

Here belongs opening the stores for it, each part when it is first needed, so that a run with
nothing to do reads nothing. What is done with it belongs to the asset.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import dagster as dg
import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.pricing.finetuned.context import (
    FineTuningContext,
    fine_tuning_context,
    fine_tuning_identity,
)
from pricing_platform.pricing.fitting import Fitting
from pricing_platform.pricing.predictions import record_calls, taken_by_purpose
from pricing_platform.pricing.prompting.asked_model import (
    AskedModel,
    current_asked_model,
    current_brand_facts,
    language_context,
    told_version,
)
from pricing_platform.pricing.prompting.language_technique import LanguageContext
from pricing_platform.resources import ModelsResource, PostgresResource, WarehouseResource
from pricing_platform.retrieval.item_embeddings import load_item_set
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse


@dataclass(frozen=True, eq=False)
class TechniqueInputs:
    """The current items, what checkpoints fitted on them are named by, and the model to ask."""

    store: Warehouse
    settings: Settings
    asked: AskedModel
    fitting: Fitting
    _postgres: PostgresResource
    _report: Callable[[str], None]

    @classmethod
    def current(
        cls,
        context: dg.AssetExecutionContext,
        warehouse: WarehouseResource,
        postgres: PostgresResource,
        models: ModelsResource,
    ) -> Self:
        """Those of the items that now stand in the stores."""
        store, settings = warehouse.open(), models.settings()
        encoder = models.cached_encoder().identity
        asked = current_asked_model(store, settings)
        fitting = Fitting.current(
            store,
            encoder,
            lambda: asked.identity,
            lambda: fine_tuning_identity(settings, asked.currency),
            settings,
        )
        return cls(store, settings, asked, fitting, postgres, context.log.info)

    def items(self) -> ItemSet:
        """All items, read once.

        Raises:
            PlatformError: when another run has replaced them since.
        """
        return self._items

    def language(self) -> LanguageContext:
        """What techniques with a language model need besides the items, opened once."""
        return self._language

    def fine_tuning(self) -> FineTuningContext:
        """What techniques need that fine-tune a language model, opened once."""
        return self._fine_tuning

    def told_version(self) -> str:
        """Of what techniques with a language model are told besides the items."""
        return told_version(self.store, self._brand_facts)

    @contextmanager
    def kept_calls(self, purpose: str) -> Iterator[Callable[[], LanguageContext]]:
        """Opens the context with a ledger of its own, which is recorded in the end, come what may.

        Where nothing was asked, what was recorded before stands.
        """
        opened: list[LanguageContext] = []

        def context() -> LanguageContext:
            if not opened:
                opened.append(self._language.of(purpose))
            return opened[0]

        try:
            yield context
        finally:
            if opened and not opened[0].ledger.frame().is_empty():
                record_calls(self.store, opened[0].ledger)

    @cached_property
    def _items(self) -> ItemSet:
        with self._postgres.open() as server:
            found = load_item_set(self.store, server, self.fitting.encoder)
        if self.store.data_version("curated.items") != self.fitting.items_version:
            raise PlatformError(
                "The items were replaced while they were about to be learnt from.",
                "Run again when the run that replaced them has ended.",
            )
        return found

    @cached_property
    def _brand_facts(self) -> pl.DataFrame:
        with self._postgres.open() as server:
            return current_brand_facts(self.store, server)

    @cached_property
    def _fine_tuning(self) -> FineTuningContext:
        return fine_tuning_context(self.settings, self.asked.currency, self.store)

    @cached_property
    def _language(self) -> LanguageContext:
        return language_context(self.asked, self.store, self._brand_facts, self._report)


def calls_taken(store: Warehouse, purposes: str) -> dict[str, float]:
    """Calls, tokens and USD by what they were made for: numbers that plot over time."""
    return {
        f"{purpose}/{name}": float(value or 0)
        for row in taken_by_purpose(store, purposes).iter_rows(named=True)
        for purpose in [row.pop("technique")]
        for name, value in row.items()
    }
