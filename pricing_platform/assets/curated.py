"""The assets of the curated catalogue: what is kept, what is refused, families, items."""

import time
from pathlib import Path
from typing import Any

import dagster as dg

from pricing_platform.assets.reporting import (
    OWNERS,
    RefreshConfig,
    pictures,
    refreshed_table,
    table_result,
)
from pricing_platform.catalog.curation import CURATION_VERSION, curate_listings
from pricing_platform.catalog.families import FAMILIES_VERSION, assign_families, cut_links
from pricing_platform.catalog.items import ITEMS_VERSION, build_items
from pricing_platform.catalog.price_leaks import PRICE_LEAKS_VERSION, find_price_leaks
from pricing_platform.catalog.profile import PROFILE_VERSION, draw_profile, profile_catalog
from pricing_platform.catalog.splits import SET_ASIDE
from pricing_platform.pricing.fitting import MINIMUM_ITEMS
from pricing_platform.resources import LoggedProgress, ModelsResource, WarehouseResource
from pricing_platform.stores.provenance import inputs_fingerprint, refresh_by

LISTING_TABLES = ("curated.listings", "curated.rejected_listings")


@dg.asset(
    deps=["raw_listings"],
    group_name="curated",
    kinds={"duckdb"},
    owners=OWNERS,
    code_version=PRICE_LEAKS_VERSION,
)
def price_leaks(config: RefreshConfig, warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
    """One row an attribute, or a product or quotient of two, that gives the price away."""
    store, settings = warehouse.open(), warehouse.settings()
    limits = {
        "price_minimum": settings.price_minimum,
        "price_maximum": settings.price_maximum,
    }
    return refreshed_table(
        store,
        "curated.price_leaks",
        lambda _folder: find_price_leaks(store, **limits),
        inputs=inputs_fingerprint(store, PRICE_LEAKS_VERSION, ["raw.listings"], limits),
        force=config.force,
    )


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "listings",
            deps=["raw_listings", "price_leaks"],
            description="One row a kept observation of a listing, cleaned.",
            group_name="curated",
            kinds={"duckdb"},
            owners=OWNERS,
            code_version=CURATION_VERSION,
        ),
        dg.AssetSpec(
            "rejected_listings",
            deps=["raw_listings", "price_leaks"],
            description="One row a refused observation, with the rule that refused it.",
            group_name="curated",
            kinds={"duckdb"},
            owners=OWNERS,
            code_version=CURATION_VERSION,
        ),
    ],
)
def curated_listings(config: RefreshConfig, warehouse: WarehouseResource):  # type: ignore[no-untyped-def]
    """Keeps or refuses every observation; both tables are replaced in one transaction."""
    started = time.perf_counter()
    store, settings = warehouse.open(), warehouse.settings()
    prices = (settings.price_minimum, settings.price_maximum)
    inputs = inputs_fingerprint(
        store, CURATION_VERSION, ["raw.listings", "curated.price_leaks"], prices
    )
    refreshed = refresh_by(
        store,
        LISTING_TABLES,
        lambda: curate_listings(
            store,
            price_minimum=prices[0],
            price_maximum=prices[1],
            fingerprint=inputs,
            minimum_products=MINIMUM_ITEMS,
        ),
        inputs=inputs,
        force=config.force,
    )
    for table in LISTING_TABLES:
        yield table_result(
            store,
            table,
            refreshed,
            asset_key=table.split(".")[1],
            seconds=time.perf_counter() - started,
        )


@dg.asset(
    deps=["listings"],
    group_name="curated",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version=FAMILIES_VERSION,
)
def item_families(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row an item, with the family of near-duplicates it belongs to."""
    store, encoder = warehouse.open(), models.cached_encoder()
    report = progress.of(context)
    encoded = 0

    def embed(texts: list[str]):  # type: ignore[no-untyped-def]
        nonlocal encoded
        vectors, newly_encoded = encoder.embed(texts, progress=report)
        encoded += newly_encoded
        return vectors

    def told() -> dict[str, Any]:
        sizes = store.frame(
            "SELECT count(DISTINCT family_id) AS families,"
            " coalesce(max(family_size), 0) AS largest_family,"
            " count(*) FILTER (split = ?) AS items_set_aside FROM curated.item_families",
            [SET_ASIDE],
        ).row(0, named=True)
        summary = f"{sizes['families']:,} families"
        if sizes["items_set_aside"]:
            summary += f", {sizes['items_set_aside']:,} items set aside"
        return {**sizes, **cut_links(store), "encoded": encoded, "summary": summary}

    return refreshed_table(
        store,
        "curated.item_families",
        lambda _folder: assign_families(store, embed),
        inputs=inputs_fingerprint(store, FAMILIES_VERSION, ["curated.listings"], encoder.identity),
        force=config.force,
        metadata=told,
    )


@dg.asset(
    deps=["listings", "item_families"],
    group_name="curated",
    kinds={"duckdb"},
    owners=OWNERS,
    code_version=ITEMS_VERSION,
)
def items(
    config: RefreshConfig, warehouse: WarehouseResource, models: ModelsResource
) -> dg.MaterializeResult[None]:
    """One row a product as last observed."""
    store, encoder = warehouse.open(), models.encoder()

    def build(folder: Path) -> Path:
        build_items(store, encoder.count_tokens, folder / "items.parquet")
        return folder / "items.parquet"

    return refreshed_table(
        store,
        "curated.items",
        build,
        inputs=inputs_fingerprint(
            store,
            ITEMS_VERSION,
            ["curated.listings", "curated.item_families"],
            encoder.identity,
        ),
        force=config.force,
    )


@dg.asset(
    deps=["items"],
    group_name="curated",
    kinds={"duckdb"},
    owners=OWNERS,
    code_version=PROFILE_VERSION,
)
def catalog_profile(
    config: RefreshConfig, warehouse: WarehouseResource
) -> dg.MaterializeResult[None]:
    """One row a statistic of the items, by source and category."""
    store = warehouse.open()
    inputs = inputs_fingerprint(store, PROFILE_VERSION, ["curated.items"])
    return refreshed_table(
        store,
        "curated.catalog_profile",
        lambda _folder: profile_catalog(store),
        inputs=inputs,
        force=config.force,
        metadata=lambda: pictures(
            warehouse.settings().cache_folder / "pictures" / "catalog_profile",
            inputs,
            lambda: draw_profile(store),
        ),
    )
