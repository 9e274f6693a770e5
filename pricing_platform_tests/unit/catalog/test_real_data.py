"""Sources, curation and leaks on the listings of real shops."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.catalog.curation import curate_listings, unaccounted_rows
from pricing_platform.catalog.ingestion import ingest_source, source_fingerprint
from pricing_platform.catalog.price_leaks import find_price_leaks
from pricing_platform.catalog.sources import load_sources
from pricing_platform.stores.warehouse import Warehouse

CHECKOUT = Path(__file__).parents[3]
DATA = CHECKOUT / "../shared/data"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there"),
]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The real listings, read, searched for leaks and curated."""
    warehouse = Warehouse(tmp_path_factory.mktemp("real") / "warehouse.duckdb")
    for source in load_sources(CHECKOUT / "examples/real_data/sources.toml", data=DATA):
        ingest_source(warehouse, source, fingerprint=source_fingerprint(source))
    warehouse.replace("curated.price_leaks", find_price_leaks(warehouse))
    curate_listings(warehouse, price_minimum=0.5, price_maximum=999.49, fingerprint="")
    return warehouse


def test_every_row_of_every_file_comes_out(warehouse: Warehouse) -> None:
    assert unaccounted_rows(warehouse).is_empty()
    rows = warehouse.frame(
        "SELECT source, sum(row_count)::BIGINT FROM raw.snapshots GROUP BY ALL ORDER BY ALL"
    )
    assert rows.rows() == [
        ("amazon", 22_074),
        ("amazon_items", 998),
        ("pc_parts", 291_200),
        ("walmart", 2_554),
    ]
    unreadable = warehouse.frame("SELECT count(unreadable) FROM raw.listings").item()
    assert unreadable == 0


def test_the_price_per_gigabyte_is_found_and_nothing_else(warehouse: Warehouse) -> None:
    leaks = warehouse.frame("SELECT category, attributes FROM curated.price_leaks")
    assert {name for names in leaks["attributes"] for name in names} == {"price_per_gb"}
    categories = {"internal hard drive", "external hard drive", "memory"}
    assert categories <= set(leaks["category"])
    held = warehouse.frame(
        "SELECT count(*) FROM curated.listings"
        " WHERE list_contains(map_keys(attributes), 'price_per_gb') OR contains(text, 'per gb')"
    )
    assert held.item() == 0


def test_a_part_keeps_its_identity_over_the_snapshots(warehouse: Warehouse) -> None:
    """Parts rarely leave the catalogue, so an identity that drifted would show as one that left."""
    stable = warehouse.frame(
        """
        WITH seen AS (
            SELECT DISTINCT snapshot, listing_id, title, category FROM raw.listings
            WHERE source = 'pc_parts'
        ),
        snapshots AS (SELECT snapshot, lead(snapshot) OVER (ORDER BY snapshot) AS next
            FROM (SELECT DISTINCT snapshot FROM seen))
        SELECT avg((later.listing_id IS NOT NULL)::INTEGER) AS share
        FROM seen JOIN snapshots USING (snapshot)
        LEFT JOIN seen AS later ON later.snapshot = next AND later.listing_id = seen.listing_id
        WHERE next IS NOT NULL
        """
    ).item()
    assert stable > 0.998
    variants = warehouse.frame(
        "SELECT count(DISTINCT listing_id) FROM raw.listings"
        " WHERE source = 'pc_parts' AND snapshot = '2024-03-27'"
    ).item()
    assert variants == 56_687


def test_brands_of_parts_follow_from_their_names(warehouse: Warehouse) -> None:
    brands = warehouse.frame(
        "SELECT DISTINCT brand FROM curated.listings WHERE source = 'pc_parts'"
    )["brand"]
    assert {"Corsair", "Cooler Master", "Western Digital", "be quiet!"} <= set(brands)
