from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pricing_platform.pricing.new_products import as_items, place_in_catalogue, read_products


def comparables(*rows: tuple[int, str, str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=["query_index", "source", "category", "similarity"], orient="row"
    )


def placed(products: list[dict[str, Any]], found: pl.DataFrame) -> list[tuple[str, str]]:
    items = place_in_catalogue(as_items(pl.DataFrame(products)), found)
    return items.select("source", "category").rows()


def test_a_product_stands_where_the_most_similar_of_its_comparables_do() -> None:
    found = comparables(
        (0, "north", "Lamps", 0.9), (0, "south", "Desks", 0.5), (0, "south", "Desks", 0.6)
    )
    assert placed([{"title": "a desk lamp"}], found) == [("south", "Desks")]


def test_a_category_that_the_product_names_stands_and_decides_on_the_source() -> None:
    found = comparables((0, "north", "Lamps", 0.4), (0, "south", "Desks", 0.9))
    assert placed([{"title": "a lamp", "category": "Lamps"}], found) == [("north", "Lamps")]
    assert placed([{"title": "a sofa", "category": "Sofas"}], found) == [("south", "Sofas")]


def test_each_product_has_comparables_of_its_own() -> None:
    found = comparables((1, "south", "Desks", 0.9), (0, "north", "Lamps", 0.4))
    products = [{"title": "a lamp"}, {"title": "a desk"}, {"title": "a thing"}]
    assert placed(products, found) == [
        ("north", "Lamps"),
        ("south", "Desks"),
        ("new", "unknown"),
    ]


@pytest.mark.parametrize("name", ["new [1].csv", "new*.jsonl", "new?.parquet"])
def test_a_files_name_is_no_pattern_and_its_columns_have_any_case(
    tmp_path: Path, name: str
) -> None:
    products = pl.DataFrame({"Title": ["Oak desk"], "BRAND": ["Woodwork"], "colour": ["brown"]})
    writers = {".csv": "write_csv", ".jsonl": "write_ndjson", ".parquet": "write_parquet"}
    path = tmp_path / name
    with path.open("wb") as file:
        getattr(products, writers[path.suffix])(file)
    (tmp_path / "newer.jsonl").touch()
    found = read_products(path)
    assert found.equals(products)
    items = as_items(found)
    assert items.select("title", "brand").row(0) == ("Oak desk", "Woodwork")
    assert items["attributes"].to_list() == [{"colour": "brown"}]
