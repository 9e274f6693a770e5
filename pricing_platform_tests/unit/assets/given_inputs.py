"""What assets work on, without a home: items and a language model that a test gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pricing_platform.assets.technique_inputs import TechniqueInputs
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.language.model import LanguageModel
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.fitting import Fitting
from pricing_platform.pricing.prompting.asked_model import AskedModel
from pricing_platform.pricing.prompting.language_technique import LanguageContext
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.language.scripted_model import ScriptedModel
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import bound_to, observed


@dataclass(frozen=True, eq=False)
class GivenInputs(TechniqueInputs):
    """Inputs whose items and model are given; what was asked goes into a warehouse."""

    given: ItemSet
    model: LanguageModel

    @property
    def _items(self) -> ItemSet:  # type: ignore[override]
        return self.given

    @property
    def _language(self) -> LanguageContext:  # type: ignore[override]
        return bound_to(self.model)

    def told_version(self) -> str:
        return "told nothing else"


def given_inputs(folder: Path, model: LanguageModel | None = None, **settings: Any) -> GivenInputs:
    """A small generated catalogue and a scripted model, or the given one."""
    seen = observed(generated_items())
    store = Warehouse(folder / "warehouse.duckdb")
    store.create_schema()
    named = Settings(home=folder, **settings)
    unused: Any = None
    asked = AskedModel(named, Currency("USD"))
    return GivenInputs(
        store,
        named,
        asked,
        Fitting(
            "1",
            "encoder",
            lambda: "a model",
            lambda: "a base",
            named.seed,
            1,
            named.checkpoints_folder,
        ),
        unused,
        print,
        ItemSet(seen.frame.with_columns(content_hash="text"), seen.embeddings),
        model or ScriptedModel(),
    )
