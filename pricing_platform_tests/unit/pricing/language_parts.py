"""What techniques with a language model are bound to in tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.language.calls import CallLedger
from pricing_platform.language.model import LanguageModel
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.prompting.language_technique import LanguageContext

NOON = datetime(2025, 3, 31, 12, tzinfo=UTC)
_TIME = pl.Datetime("us", "UTC")
_FACTS: dict[str, Any] = {
    **dict.fromkeys(("subject", "attribute", "value", "source"), pl.String),
    "verified_at": _TIME,
    "freshness": pl.String,
}
_HISTORY: dict[str, Any] = {"item_id": pl.String, "price": pl.Float64, "observed_at": _TIME}


def bound_to(
    model: LanguageModel,
    *,
    facts: list[tuple[Any, ...]] | None = None,
    history: list[tuple[Any, ...]] | None = None,
    technique: str = "a technique",
) -> LanguageContext:
    return LanguageContext(
        model=model,
        currency=Currency("USD"),
        brand_facts=pl.DataFrame(facts or [], schema=_FACTS, orient="row"),
        price_history=pl.DataFrame(history or [], schema=_HISTORY, orient="row"),
        ledger=CallLedger(technique, model.name),
    )


def observed(items: ItemSet, days_before_noon: float = 0) -> ItemSet:
    """The items, all observed at one time."""
    moment = NOON - timedelta(days=days_before_noon)
    return ItemSet(
        items.frame.with_columns(price_observed_at=pl.lit(moment, dtype=_TIME)), items.embeddings
    )


def first(items: ItemSet, count: int) -> ItemSet:
    return ItemSet(items.frame[:count], items.embeddings[:count])
