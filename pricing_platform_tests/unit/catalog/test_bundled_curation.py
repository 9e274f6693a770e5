"""The noise that the bundled catalogue plants is found: the same rows, by the rule meant."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from pricing_platform.catalog.bundled import write_bundled_catalogue
from pricing_platform.catalog.curation import curate_listings, unaccounted_rows
from pricing_platform.catalog.ingestion import ingest_source, source_fingerprint
from pricing_platform.catalog.price_leaks import find_price_leaks
from pricing_platform.catalog.sources import load_sources
from pricing_platform.stores.warehouse import Warehouse


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundled_catalogue(tmp_path_factory.mktemp("bundled") / "a", products=1200).parent


@pytest.fixture(scope="module")
def warehouse(folder: Path) -> Warehouse:
    warehouse = Warehouse(folder.parent / "warehouse.duckdb")
    for source in load_sources(folder / "sources.toml", data=None):
        ingest_source(warehouse, source, fingerprint=source_fingerprint(source))
    warehouse.replace("curated.price_leaks", find_price_leaks(warehouse))
    curate_listings(warehouse, price_minimum=0.5, price_maximum=999.49, fingerprint="")
    return warehouse


def test_every_planted_row_is_refused_by_its_rule(folder: Path, warehouse: Warehouse) -> None:
    files = json.loads((folder / "manifest.json").read_text())["files"].values()
    noise = sum((Counter(file["noise"]) for file in files), Counter())
    found = dict(
        warehouse.frame(
            "SELECT rule, count(*) FROM curated.rejected_listings GROUP BY 1"
        ).iter_rows()
    )
    unreadable = ("malformed_json", "invalid_utf8", "price_object", "title_number")
    assert found["unreadable"] == sum(noise[kind] for kind in unreadable)
    assert found["title_missing"] == noise["empty_title"]
    assert found["price_missing"] == noise["price_null"] + noise["price_missing"]
    assert found["price_not_positive"] == noise["price_zero"] + noise["price_negative"]
    assert found["price_out_of_range"] >= noise["price_absurd"]
    assert "price_not_a_number" not in found
    assert unaccounted_rows(warehouse).is_empty()
    again = "SELECT count(*) FROM raw.listings WHERE unreadable IS NULL AND price = 999999.99"
    assert warehouse.frame(again).item() == noise["price_absurd"]


def test_the_planted_leaks_are_found_and_withheld(folder: Path, warehouse: Warehouse) -> None:
    planted = json.loads((folder / "manifest.json").read_text())["leaks"]
    leaks = warehouse.frame("SELECT source, unnest(attributes) AS name FROM curated.price_leaks")
    for leak in planted:
        names = leaks.filter(source=leak["source"])["name"].to_list()
        assert set(names) <= set(leak["attributes"])
        assert names
    assert set(leaks["source"]) == {leak["source"] for leak in planted}
    for source, name in set(leaks.iter_rows()):
        query = (
            "SELECT count(*) FROM curated.listings"
            " WHERE source = ? AND (list_contains(map_keys(attributes), ?) OR contains(text, ?))"
        )
        assert warehouse.frame(query, [source, name, name]).item() == 0


def test_no_html_entity_or_broken_encoding_is_left(warehouse: Warehouse) -> None:
    left = warehouse.frame(
        r"SELECT text FROM curated.listings"
        r" WHERE regexp_matches(text, '</?[a-z]+[ >]|&[a-z]+;|â€|Ã|\$ ?\d|  ')"
    )
    assert left["text"].to_list() == []
    assert warehouse.frame("SELECT count(*) FROM curated.listings").item() > 3000
