from __future__ import annotations

from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from pricing_platform.catalog.profile import draw_profile, profile_catalog
from pricing_platform.stores.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    frame = pl.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(60)],
            "source": ["a"] * 40 + ["b"] * 20,
            "category": ["tea"] * 30 + ["tools"] * 30,
            "brand": [None if n < 15 else "Acme" for n in range(60)],
            "family_id": [f"f{n // 2}" for n in range(60)],
            "price": [float(n + 1) for n in range(60)],
            "token_count": [10 + 20 * n for n in range(60)],
        }
    )
    warehouse.replace("curated.items", frame)
    return warehouse


def test_the_profile_describes_all_sources_and_their_categories(warehouse: Warehouse) -> None:
    profile = profile_catalog(warehouse)
    assert profile.select("source", "category", "items").rows() == [
        ("all", "all", 60),
        ("a", "all", 40),
        ("a", "tea", 30),
        ("a", "tools", 10),
        ("b", "all", 20),
        ("b", "tools", 20),
    ]
    tea = profile.row(2, named=True)
    assert (tea["priced_from"], tea["priced_to"], tea["price_median"]) == (1.0, 30.0, 15.5)
    assert (tea["families"], tea["share_without_brand"]) == (15, 0.5)
    assert (tea["tokens_median"], tea["tokens_maximum"]) == (300.0, 590)
    state = warehouse.replace("curated.catalog_profile", profile)
    assert state.row_count == 6


def test_pictures_are_drawn_and_differ_with_the_items(warehouse: Warehouse) -> None:
    pictures = draw_profile(warehouse)
    assert list(pictures) == ["prices", "text_lengths", "categories", "price_by_length"]
    for png in pictures.values():
        with Image.open(BytesIO(png)) as picture:
            assert picture.format == "PNG"
            assert picture.width > 500
    with warehouse.write() as connection:
        connection.execute("UPDATE curated.items SET price = price * 3")
    dearer = draw_profile(warehouse)
    assert dearer["prices"] != pictures["prices"]
    assert dearer["text_lengths"] == pictures["text_lengths"]


def test_no_items_have_no_pictures(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    warehouse.create_schema()
    assert draw_profile(warehouse) == {}
    assert profile_catalog(warehouse)["items"].to_list() == [0]
