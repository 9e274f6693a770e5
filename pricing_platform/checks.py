"""The checks that stop what follows when the data is wrong, and those that only tell.

Here belongs which check watches which asset. What is checked belongs to the domain.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl

from pricing_platform.assets.reporting import markdown_table
from pricing_platform.catalog.curation import unaccounted_rows
from pricing_platform.catalog.items import (
    duplicate_items,
    items_without_one_family,
    unmatched_products,
)
from pricing_platform.catalog.price_leaks import remaining_price_leaks
from pricing_platform.catalog.splits import split_shares, two_sided
from pricing_platform.pricing.fitting import unpriced_items
from pricing_platform.resources import PostgresResource, WarehouseResource
from pricing_platform.retrieval.comparables import measure_recall
from pricing_platform.retrieval.item_embeddings import items_without_embedding
from pricing_platform.stores.warehouse import Warehouse

_SHOWN = 10
RECALL_MINIMUM = 0.99
FILTERED_RECALL_MINIMUM = 0.95


def _none_found(
    asset: str, name: str, find: Callable[[Warehouse], pl.DataFrame], description: str
) -> dg.AssetChecksDefinition:
    """A blocking check that passes when ``find`` finds nothing."""

    @dg.asset_check(asset=asset, name=name, description=description, blocking=True)
    def check(warehouse: WarehouseResource) -> dg.AssetCheckResult:
        return _verdict(find(warehouse.open()))

    return check


def _verdict(found: pl.DataFrame, **metadata: Any) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=found.is_empty(),
        metadata={
            "found": found.height,
            "first": dg.MetadataValue.md(markdown_table(found.head(_SHOWN))),
            **metadata,
        },
    )


rows_are_accounted_for = _none_found(
    "listings",
    "rows_are_accounted_for",
    unaccounted_rows,
    "Rows in = rows kept + rows rejected, for every source and snapshot.",
)
items_are_unique = _none_found(
    "items", "items_are_unique", duplicate_items, "No product stands in the items twice."
)
items_have_one_family = _none_found(
    "items",
    "items_have_one_family",
    items_without_one_family,
    "Every item has exactly one family and one split.",
)
products_are_items = _none_found(
    "items",
    "products_are_items",
    unmatched_products,
    "Every kept product is an item and every item is a kept product.",
)
splits_are_separate = _none_found(
    "items",
    "splits_are_separate",
    two_sided,
    "No family, product or text stands in two splits.",
)
prices_do_not_leak = _none_found(
    "items",
    "prices_do_not_leak",
    remaining_price_leaks,
    "No attribute, product or quotient of two gives the price away.",
)
items_are_priced = _none_found(
    "predictions",
    "items_are_priced",
    unpriced_items,
    "Every technique has one row for every item of validation and test.",
)


@dg.asset_check(asset="items", description="The splits hold about 80, 10 and 10 % of the families.")
def split_shares_are_as_planned(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Warns; a small catalogue may miss the shares by chance."""
    shares = split_shares(warehouse.open())
    return dg.AssetCheckResult(
        passed=bool(shares["within"].all()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"shares": dg.MetadataValue.md(markdown_table(shares))},
    )


@dg.asset_check(
    asset="item_embeddings", blocking=True, description="Every item has exactly one embedding."
)
def items_are_embedded(
    warehouse: WarehouseResource, postgres: PostgresResource
) -> dg.AssetCheckResult:
    """Compares the items in DuckDB with the embeddings in Postgres."""
    with postgres.open() as server:
        return _verdict(items_without_embedding(warehouse.open(), server))


@dg.asset_check(
    asset="item_embeddings",
    description="The index finds what an exact search finds, also under a narrow filter.",
)
def index_recall(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Recall at 10 of the HNSW index against exact search."""
    with postgres.open() as server:
        recall = measure_recall(server, seed=postgres.settings().seed)
    return dg.AssetCheckResult(
        passed=recall.overall >= RECALL_MINIMUM and recall.filtered >= FILTERED_RECALL_MINIMUM,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "recall_at_10": recall.overall,
            "filtered_recall_at_10": recall.filtered,
            "by_index": recall.by_index,
        },
    )


CHECKS = [
    rows_are_accounted_for,
    items_are_unique,
    items_have_one_family,
    products_are_items,
    splits_are_separate,
    prices_do_not_leak,
    items_are_priced,
    split_shares_are_as_planned,
    items_are_embedded,
    index_recall,
]
