"""The checks that stop what follows when the data is wrong, and those that only tell.

Here belongs which check watches which asset. What is checked belongs to the domain.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
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
from pricing_platform.facts.fact_queries import facts_past_time_to_live, oldest_observation
from pricing_platform.facts.refresh import failed_checks
from pricing_platform.finetuning.forgetting.configuration import configured_forgetting
from pricing_platform.finetuning.forgetting.contamination import texts_with_prices
from pricing_platform.finetuning.forgetting.probes import read_probes, read_texts
from pricing_platform.pricing.fitting import unpriced_items
from pricing_platform.pricing.registry import technique_names
from pricing_platform.resources import PostgresResource, WarehouseResource
from pricing_platform.retrieval.chunk_embeddings import (
    chunks_without_embedding,
    orphaned_embeddings,
)
from pricing_platform.retrieval.comparable_search import measure_recall
from pricing_platform.retrieval.item_embeddings import items_without_embedding
from pricing_platform.stores.warehouse import Warehouse

_SHOWN = 10
RECALL_MINIMUM = 0.99
FILTERED_RECALL_MINIMUM = 0.95
_PROMOTED = """
SELECT technique, max(adapter_scale) FILTER (is_promoted) AS adapter_scale,
    max(accuracy_lost) FILTER (adapter_scale = 1 AND share_trained = 1) AS accuracy_lost,
    max(perplexity_gained) FILTER (adapter_scale = 1 AND share_trained = 1) AS perplexity_gained
FROM evaluation.forgetting
GROUP BY technique
ORDER BY technique
"""


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


@dg.asset_check(
    asset="predictions",
    blocking=True,
    description="Every technique has one row for every item that it was to price.",
)
def items_are_priced(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Looks for items without a row of a technique that is compared under these settings."""
    names = technique_names(warehouse.settings())
    return _verdict(unpriced_items(warehouse.open(), names))


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


@dg.asset_check(
    asset="chunk_embeddings",
    blocking=True,
    description="Every chunk has an embedding of what it is now.",
)
def chunks_are_embedded(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Compares the fingerprints of chunks and embeddings."""
    with postgres.open() as server:
        return _verdict(chunks_without_embedding(server))


@dg.asset_check(
    asset="chunk_embeddings",
    blocking=True,
    description="No embedding is of a chunk that is gone or has become another.",
)
def no_embedding_is_orphaned(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Compares the fingerprints of embeddings and chunks."""
    with postgres.open() as server:
        return _verdict(orphaned_embeddings(server))


@dg.asset_check(
    asset="fact_freshness",
    description="Few facts of each kind are past their time to live.",
)
def facts_are_within_their_time_to_live(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Warns, and fails where more of a kind are past it than the setting allows."""
    limit = postgres.settings().stale_share_limit
    with postgres.open() as server:
        kinds = facts_past_time_to_live(server)
    share = (pl.col("stale") + pl.col("expired")) / pl.col("facts")
    kinds = kinds.with_columns(past_share=pl.when(pl.col("facts") > 0).then(share).otherwise(0.0))
    worst = float(kinds["past_share"].max() or 0.0)  # type: ignore[arg-type]
    return dg.AssetCheckResult(
        passed=worst == 0.0,
        severity=(dg.AssetCheckSeverity.ERROR if worst > limit else dg.AssetCheckSeverity.WARN),
        metadata={
            "largest_share_past_time_to_live": worst,
            "kinds": dg.MetadataValue.md(markdown_table(kinds)),
        },
    )


@dg.asset_check(
    asset="fact_freshness",
    description="The sources that were asked within the last day have answered.",
)
def sources_answer(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Warns of sources that still fail; what they stated before stands."""
    with postgres.open() as server:
        failed = failed_checks(server, datetime.now(UTC) - timedelta(days=1))
    failing = failed.filter(pl.col("still_failing") > 0)
    return dg.AssetCheckResult(
        passed=failing.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"failing": dg.MetadataValue.md(markdown_table(failing.head(_SHOWN)))},
    )


@dg.asset_check(
    asset="fact_observations",
    description="No current fact has been without an observation for longer than the setting says.",
)
def facts_are_observed(postgres: PostgresResource) -> dg.AssetCheckResult:
    """Watches the data itself: a materialization may succeed and see nothing new."""
    limit = timedelta(days=postgres.settings().oldest_observation_days)
    with postgres.open() as server:
        oldest = oldest_observation(server)
    age = timedelta(0) if oldest is None else datetime.now(UTC) - oldest
    return dg.AssetCheckResult(
        passed=age <= limit,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"oldest_observation_days": age / timedelta(days=1)},
    )


@dg.asset_check(
    asset="forgetting",
    description="Each fine-tuned model, as strong as it is used, forgets no more than the limit.",
)
def fine_tuning_forgets_little(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Warns with what each trained model lost, and at which strength it is used instead."""
    store = warehouse.open()
    promoted = store.frame(_PROMOTED)
    unpromoted = promoted.filter(pl.col("adapter_scale").is_null())
    return dg.AssetCheckResult(
        passed=unpromoted.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "limit": warehouse.settings().forgetting_limit,
            "weakened": promoted.filter(pl.col("adapter_scale") < 1).height,
            "models": dg.MetadataValue.md(markdown_table(promoted)),
        },
    )


@dg.asset_check(
    asset="forgetting",
    description="No probe and no general text holds the price of a test item.",
)
def probes_hold_no_test_price(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Looks for titles of test items beside their prices in what forgetting is measured on."""
    files = configured_forgetting(warehouse.settings())
    asked = [" ".join((at.question, *at.choices)) for at in read_probes(files.probes)]
    found = texts_with_prices(
        [*asked, *read_texts(files.text)],
        warehouse.open().frame(
            "SELECT item_id, title, price FROM curated.items WHERE split = 'test'"
        ),
    )
    return _verdict(found)


CHECKS = [
    rows_are_accounted_for,
    items_are_unique,
    items_have_one_family,
    products_are_items,
    splits_are_separate,
    prices_do_not_leak,
    items_are_priced,
    fine_tuning_forgets_little,
    probes_hold_no_test_price,
    split_shares_are_as_planned,
    items_are_embedded,
    index_recall,
    chunks_are_embedded,
    no_embedding_is_orphaned,
    facts_are_observed,
    facts_are_within_their_time_to_live,
    sources_answer,
]
