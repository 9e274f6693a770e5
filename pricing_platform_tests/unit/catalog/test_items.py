from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pricing_platform.catalog.families import assign_families
from pricing_platform.catalog.items import (
    build_items,
    duplicate_items,
    items_without_one_family,
    unmatched_products,
)
from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.catalog.listing_rows import Listing, hashed_words, warehouse_with

LISTINGS = [
    Listing("drill", "Cordless drill 18 V", price=80.0, snapshot="2024-01", month=1),
    Listing("drill", "Cordless drill 18 V", price=70.0, snapshot="2024-03", month=3),
    Listing("drill", "Cordless drill 18 V", price=75.0, snapshot="2024-02", month=2),
    Listing("lamp", "Desk lamp", price=20.0, row_number=1),
    Listing("lamp", "Desk lamp with dimmer", price=21.0, row_number=2),
    Listing("twin", "Desk lamp with dimmer", price=22.0, row_number=3),
]


class CountedWords:
    """Counts words and remembers which texts it was asked about."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: list[str]) -> list[int]:
        self.texts += texts
        return [len(text.split()) for text in texts]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = warehouse_with(tmp_path, LISTINGS)
    warehouse.replace("curated.item_families", assign_families(warehouse, hashed_words))
    return warehouse


@pytest.fixture
def built(warehouse: Warehouse, tmp_path: Path) -> Warehouse:
    target = tmp_path / "items.parquet"
    build_items(warehouse, CountedWords(), target)
    warehouse.replace("curated.items", target)
    return warehouse


def change(warehouse: Warehouse, statement: str) -> None:
    with warehouse.write() as connection:
        connection.execute(statement)


def test_an_item_is_the_product_as_last_observed(built: Warehouse) -> None:
    rows = built.frame(
        "SELECT item_id, title, price, price_observed_at::DATE::VARCHAR AS day, token_count"
        " FROM curated.items ORDER BY item_id"
    ).rows()
    assert rows == [
        ("drill", "Cordless drill 18 V", 70.0, "2024-03-01", 4),
        ("lamp", "Desk lamp with dimmer", 21.0, "2024-01-01", 4),
        ("twin", "Desk lamp with dimmer", 22.0, "2024-01-01", 4),
    ]


def test_an_item_has_the_family_and_split_of_item_families(built: Warehouse) -> None:
    columns = "item_id, family_id, split"
    assert (
        built.frame(f"SELECT {columns} FROM curated.items ORDER BY item_id").rows()
        == built.frame(f"SELECT {columns} FROM curated.item_families ORDER BY item_id").rows()
    )
    assert built.frame("SELECT family_id FROM curated.items ORDER BY item_id").rows() == [
        ("drill",),
        ("lamp",),
        ("lamp",),
    ]


def test_tokens_are_counted_once_for_each_distinct_text(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    count_words = CountedWords()
    build_items(warehouse, count_words, tmp_path / "items.parquet")
    assert sorted(count_words.texts) == ["Cordless drill 18 V", "Desk lamp with dimmer"]


def test_the_file_has_exactly_the_columns_of_the_table(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    target = tmp_path / "items.parquet"
    build_items(warehouse, CountedWords(), target)
    wanted = {column.name for column in warehouse.columns("curated.items")}
    assert set(pl.read_parquet_schema(target)) == wanted
    assert not list(tmp_path.glob("*.partial"))


def test_a_failing_tokenizer_leaves_the_earlier_file_alone(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    target = tmp_path / "items.parquet"
    build_items(warehouse, CountedWords(), target)
    before = target.read_bytes()

    def fails(_texts: list[str]) -> list[int]:
        raise RuntimeError("no tokenizer")

    with pytest.raises(RuntimeError, match="no tokenizer"):
        build_items(warehouse, fails, target)
    assert target.read_bytes() == before


def test_a_product_without_a_family_is_refused_by_name(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    change(warehouse, "DELETE FROM curated.item_families WHERE item_id = 'twin'")
    with pytest.raises(PlatformError, match="1 kept products have no family, twin among them"):
        build_items(warehouse, CountedWords(), tmp_path / "items.parquet")


def test_sound_items_pass_every_check(built: Warehouse) -> None:
    assert duplicate_items(built).is_empty()
    assert items_without_one_family(built).is_empty()
    assert unmatched_products(built).is_empty()


def test_a_duplicate_item_is_found(built: Warehouse) -> None:
    change(built, "INSERT INTO curated.items FROM curated.items WHERE item_id = 'lamp'")
    assert duplicate_items(built).rows() == [("lamp", 2)]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE curated.items SET family_id = NULL WHERE item_id = 'lamp'", ("lamp", 0)),
        ("UPDATE curated.items SET split = NULL WHERE item_id = 'lamp'", ("lamp", 0)),
        ("DELETE FROM curated.item_families WHERE item_id = 'drill'", ("drill", 0)),
        (
            "INSERT INTO curated.item_families FROM curated.item_families WHERE item_id = 'twin'",
            ("twin", 2),
        ),
    ],
)
def test_an_item_without_exactly_one_family_is_found(
    built: Warehouse, statement: str, expected: tuple[str, int]
) -> None:
    change(built, statement)
    assert items_without_one_family(built).rows() == [expected]


def test_products_and_items_that_miss_each_other_are_found(built: Warehouse) -> None:
    change(built, "DELETE FROM curated.items WHERE item_id = 'lamp'")
    change(built, "DELETE FROM curated.listings WHERE item_id = 'drill'")
    assert unmatched_products(built).rows() == [("drill", "listings"), ("lamp", "items")]
