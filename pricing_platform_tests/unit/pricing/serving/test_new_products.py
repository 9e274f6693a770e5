from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pricing_platform.catalog.sources import Source
from pricing_platform.errors import PlatformError
from pricing_platform.pricing.serving.new_products import (
    as_items,
    items_of,
    place_in_catalogue,
    read_products,
    write_products,
)


def comparables(*rows: tuple[int, str, str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=["query_index", "source", "category", "similarity"], orient="row"
    )


def placed(products: list[dict[str, Any]], found: pl.DataFrame) -> list[tuple[str, str]]:
    items = place_in_catalogue(as_items(pl.DataFrame(products), "USD"), found)
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
    assert found.frame.equals(products)
    items = items_of(found, "USD")
    assert items.select("title", "brand").row(0) == ("Oak desk", "Woodwork")
    assert items["attributes"].to_list() == [{"colour": "brown"}]


CASES = Path(__file__).parents[4] / "../shared/cases/13-price-file"


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not there")
@pytest.mark.parametrize("file", sorted(CASES.iterdir()), ids=lambda file: file.name)
def test_files_as_people_have_them(file: Path, tmp_path: Path) -> None:
    products = read_products(file)
    items = items_of(products, "USD")
    assert items.height == products.frame.height > 0
    assert items["title"].str.len_chars().min() > 10
    for ending in ("csv", "jsonl", "parquet"):
        write_products(products.frame, tmp_path / f"priced.{ending}")


def test_a_column_that_begins_late_and_mixed_types_are_read(tmp_path: Path) -> None:
    rows = [f'{{"title": "Kettle {n}", "pieces": {n}}}' for n in range(200)]
    rows += ['{"title": "Lamp", "pieces": "two", "brand": "Acme"}', '{"title": 5', '["x"]']
    path = tmp_path / "new.JSONL"
    path.write_text("\n".join(rows), encoding="utf-8")
    products = read_products(path)
    assert products.frame["pieces"].to_list()[:2] == ["0", "1"]
    assert products.faults[-3:] == [None, "not a JSON object", "not a JSON object"]
    items = items_of(products, "USD")
    assert items.height == 201
    assert items.row(200, named=True)["brand"] == "Acme"
    assert items["row"].to_list() == list(range(201))


def test_a_file_is_read_as_the_files_of_a_source(tmp_path: Path) -> None:
    path = tmp_path / "neu.csv"
    path.write_bytes("Bezeichnung;Marke;Stoff\nGläser für Tee;Größe;Glas, dick\n".encode("cp1252"))
    columns = {"listing_id": "Nr", "title": "Bezeichnung", "brand": "Marke", "price": "Preis"}
    source = Source(name="shop", path=("x.csv",), format="generic", columns=columns)
    items = items_of(read_products(path, source), "USD")
    row = items.row(0, named=True)
    assert (row["title"], row["brand"]) == ("Gläser für Tee", "Größe")
    assert row["attributes"] == {"Stoff": "Glas, dick"}
    with pytest.raises(PlatformError, match="has no column `title`; it has Bezeichnung, Marke"):
        read_products(path)


OF_SHOP = Source(
    name="shop",
    path=("x.json",),
    format="generic",
    columns={"listing_id": "sku", "title": "$.p.name", "price": "$.offer.amount"},
)


def test_what_has_no_price_yet_is_read_as_its_source_says(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"sku": "1", "p": {"name": "Pan"}}\n{"sku": "2", "p": {"name": "!"}}\n')
    products = read_products(path, OF_SHOP)
    items = items_of(products, "USD")
    assert items.select("source", "title").rows() == [("new", "Pan")]
    assert products.titles == ["Pan", "!"]


@pytest.mark.parametrize(
    ("source", "row", "told"),
    [
        (OF_SHOP, '{"sku": "1", "p": {"nom": "Pan"}}', r"Source 'shop': no row has .*'\$.p.name'"),
        (OF_SHOP, '{"sku": "1", "q": 5}', "has no column `p`; it has sku, q"),
        (None, "no JSON", "has no column `title`"),
        (OF_SHOP, "no JSON", "has no column `p`"),
    ],
)
def test_a_name_that_the_user_never_wrote_is_not_told(
    tmp_path: Path, source: Source | None, row: str, told: str
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(row)
    with pytest.raises(PlatformError, match=told) as raised:
        items_of(read_products(path, source), "USD")
    assert "'new'" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.csv", None, "there is no such file"),
        ("a.csv", b"title\n", "has no rows"),
        ("a.doc", b"x", "does not say what kind of file"),
        ("a.xlsx", b"x", "cannot be read as an Excel file"),
        ("a.parquet", b"x", "cannot be read as a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_of(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PlatformError, match=told):
        read_products(tmp_path / name)
