"""Families on the listings of real shops, where it is known which are the same product."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pricing_platform.catalog.curation import curate_listings
from pricing_platform.catalog.families import assign_families
from pricing_platform.catalog.ingestion import ingest_source, source_fingerprint
from pricing_platform.catalog.items import build_items, items_without_one_family, unmatched_products
from pricing_platform.catalog.sources import load_sources
from pricing_platform.catalog.splits import split_shares, two_sided
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.catalog.listing_rows import hashed_words

CHECKOUT = Path(__file__).parents[3]
DATA = CHECKOUT / "../shared/data"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Two stores, long texts and the last snapshot of the computer parts, grouped into families."""
    folder = tmp_path_factory.mktemp("families")
    warehouse = Warehouse(folder / "warehouse.duckdb")
    for source in load_sources(CHECKOUT / "examples/real_data/sources.toml", data=DATA):
        newest = tuple(path.replace("*", "2024-03-27") for path in source.path)
        last = source.model_copy(update={"path": newest})
        ingest_source(warehouse, last, fingerprint=source_fingerprint(last))
    curate_listings(warehouse, price_minimum=0.5, price_maximum=999.49, fingerprint="")
    warehouse.replace("curated.item_families", assign_families(warehouse, hashed_words))
    items = folder / "items.parquet"
    build_items(warehouse, lambda texts: [len(text.split()) for text in texts], items)
    warehouse.replace("curated.items", items)
    return warehouse


def test_three_in_four_known_pairs_share_a_family(found: Warehouse) -> None:
    warehouse = found
    matches = pl.read_csv(
        DATA / "walmart_amazon/matches.csv", separator="|", infer_schema=False
    ).unique()
    items = warehouse.frame("SELECT source, listing_id, family_id FROM curated.items")
    pairs = matches.join(
        items.filter(pl.col("source") == "walmart"), left_on="D1", right_on="listing_id"
    ).join(items.filter(pl.col("source") == "amazon"), left_on="D2", right_on="listing_id")
    assert pairs.height > 700
    assert (pairs["family_id"] == pairs["family_id_right"]).mean() >= 0.75


def test_no_family_holds_a_hundredth_of_the_items(found: Warehouse) -> None:
    items, families, largest = found.frame(
        "SELECT count(*), count(DISTINCT family_id), max(family_size) FROM curated.item_families"
    ).row(0)
    assert largest < 0.01 * items
    assert families > 0.6 * items


def test_nothing_stands_on_two_sides(found: Warehouse) -> None:
    warehouse = found
    assert two_sided(warehouse).is_empty()
    assert split_shares(warehouse)["within"].all()
    assert items_without_one_family(warehouse).is_empty()
    assert unmatched_products(warehouse).is_empty()
