"""Texts that hold a title and a price of test, and texts that hold only one of them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pricing_platform.catalog.bundled import write_bundled_catalogue
from pricing_platform.catalog.ingestion import ingest_source, source_fingerprint
from pricing_platform.catalog.sources import load_sources
from pricing_platform.finetuning.forgetting.configuration import bundled_forgetting
from pricing_platform.finetuning.forgetting.contamination import FOUND_SCHEMA, texts_with_prices
from pricing_platform.finetuning.forgetting.probes import read_probes, read_texts
from pricing_platform.stores.warehouse import Warehouse

ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d", "e"],
        "title": ["Oak Lamp 40 W", "Steel Router AX-1800", "Cordless Drill", None, "!!"],
        "price": [39.95, 1299.0, 62.5, 10.0, 10.0],
    }
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The oak lamp (40 W) costs $39.95.", ["a"]),
        ("the lamp of oak, 40 w, is about 40 dollars", ["a"]),
        ("STEEL ROUTER AX 1800: 1,299.00 USD", ["b"]),
        ("A cordless drill for 63 or a steel router AX-1800 for 1299", ["b", "c"]),
        ("The oak lamp (40 W) costs $38.95.", ["a"]),  # 40 stands there, the price in whole units
        ("The oak lamp costs $39.95.", []),  # two of four words
        ("Something for 39.95 and for 62.5", []),
        ("A cordless drill for 62", []),
        ("A cordless drill", []),
        ("10 !!", []),
        ("", []),
    ],
)
def test_a_title_with_its_price_is_found(text: str, found: list[str]) -> None:
    rows = texts_with_prices(["nothing at all 39.95", text], ITEMS)

    assert rows.schema == FOUND_SCHEMA
    assert rows["item_id"].to_list() == found
    assert set(rows["text"]) <= {1}


def test_nothing_is_found_where_nothing_is_asked() -> None:
    assert texts_with_prices([], ITEMS).is_empty()
    assert texts_with_prices(["Oak Lamp 40 W 39.95"], ITEMS.clear()).is_empty()


def test_what_is_bundled_gives_no_bundled_price_away(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    for source in load_sources(write_bundled_catalogue(tmp_path / "catalogue"), data=None):
        ingest_source(warehouse, source, fingerprint=source_fingerprint(source))
    listings = warehouse.frame(
        "SELECT listing_id AS item_id, title, price FROM raw.listings WHERE price IS NOT NULL"
    )
    files = bundled_forgetting()
    asked = [f"{probe.question} {' '.join(probe.choices)}" for probe in read_probes(files.probes)]

    assert listings.height > 1000
    assert texts_with_prices([*asked, *read_texts(files.text)], listings).is_empty()
    first = listings.row(0, named=True)
    given_away = f"{first['title']} costs {first['price']}"
    assert first["item_id"] in texts_with_prices([given_away], listings)["item_id"]
