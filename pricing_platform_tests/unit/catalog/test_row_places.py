"""Which rows of a JSON or XML document are meant is found, declared, or asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.catalog.file_layout import DeclaredLayout, file_layout
from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.records import count_rows, row_batches
from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.catalog.published_rows import source_of

WANTED = ("name", "price")


def goods(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, "price": 5} | more for name in names]


def names_in(
    file: Path, columns: tuple[str, ...] = WANTED, rows_at: str | None = None
) -> list[str]:
    layout = file_layout(file, DeclaredLayout(rows_at=rows_at), columns)
    read = [line for batch in row_batches(file, layout) for line in batch["line"].to_pylist()]
    assert count_rows(file, layout) == len(read)
    return [json.loads(line).get("name") for line in read]


def document(
    folder: Path, content: Any, name: str = "shop.json", indent: int | None = None
) -> Path:
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content, indent=indent))
    return file


AB = goods("a", "b")
DOCUMENTS: dict[str, tuple[Any, str]] = {
    "a key named item": ({"rss": {"channel": {"item": AB}}}, "rss.channel.item[]"),
    "an outermost key named item": ({"item": AB}, "item[]"),
    "arrays in arrays": (
        {"shops": [{"products": goods("a")}, {"city": "x"}, {"products": goods("b")}]},
        "shops[].products[]",
    ),
    "an outermost array of shops": ([{"products": goods("a")}, {"products": goods("b")}],
                                    "[].products[]"),
    "an array of arrays": ([goods("a"), goods("b")], "[][]"),
    "a longer array of something else": (
        {"products": AB, "shipping": [{"name": n, "days": 3} for n in "cdefgh"]},
        "products[]",
    ),
    "variants that have the columns": (
        {"products": [{"name": "p", "variants": AB}]},
        "products[].variants[]",
    ),
    "rows with parts that look like them": (
        {"products": [*goods("a", parts=goods("x", "y", "z")), *goods("b")]},
        "products[]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DOCUMENTS)
@pytest.mark.parametrize("indent", [None, 1])
def test_the_array_with_the_columns_is_found(tmp_path: Path, case: str, indent: int | None) -> None:
    content, place = DOCUMENTS[case]
    file = document(tmp_path, content, indent=indent)
    assert names_in(file) == ["a", "b"]
    assert file_layout(file, DeclaredLayout(), WANTED).rows_at == place
    assert names_in(file, columns=(), rows_at=place) == ["a", "b"]


def test_one_row_with_an_array_in_it_is_a_row(tmp_path: Path) -> None:
    (row,) = goods("a", images=[{"name": "front"}, {"name": "back"}])
    for name, indent in (("a.jsonl", None), ("a.json", None), ("b.json", 2)):
        assert names_in(document(tmp_path, row, name, indent)) == ["a"]


def test_objects_over_several_lines_may_stand_one_after_the_other(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(row, indent=2) for row in goods("a", "b", tags=[{"x": 1}]))
    file = document(tmp_path, text)
    assert names_in(file) == names_in(file, columns=()) == ["a", "b"]
    assert file_layout(file, DeclaredLayout()).rows_at == "$"


@pytest.mark.parametrize("columns", [WANTED, ()])
def test_of_two_arrays_with_the_same_keys_one_is_asked_for(
    tmp_path: Path, columns: tuple[str, ...]
) -> None:
    file = document(tmp_path, {"products": goods(*"abcd"), "shipping": goods(*"stuvwxyz")})
    with pytest.raises(PlatformError, match="several places") as raised:
        names_in(file, columns)
    assert "shipping[] (8), products[] (4)" in raised.value.problem
    assert 'rows_at = "' in raised.value.remedy
    for declared in ("products", "products[]", "$.products[*]"):
        assert names_in(file, columns, rows_at=declared) == list("abcd")
    with pytest.raises(PlatformError, match=r'no rows at rows_at = "prod\[\]"') as raised:
        names_in(file, columns, rows_at="prod")
    assert "products[] (4)" in raised.value.remedy


def test_parts_of_rows_are_no_rows_for_one_column_of_several(tmp_path: Path) -> None:
    rows = [{"label": n, "sizes": [{"name": "S"}, {"name": "M"}]} for n in "ab"]
    for content in (rows, {"products": rows}):
        file = document(tmp_path, content)
        assert names_in(file) == [None, None]
        assert names_in(file, columns=("name",)) == ["S", "M"] * 2


def test_lines_may_each_hold_an_array(tmp_path: Path) -> None:
    text = "\n".join(json.dumps({"shop": n, "products": goods(n)}) for n in "ab")
    assert names_in(document(tmp_path, text, "a.jsonl"), rows_at="products[]") == ["a", "b"]


XML = """<shop><shipping><item><zone>1</zone></item><item><zone>2</zone></item></shipping>
<goods><thing><name>a</name><price>5</price></thing><thing><name>b</name><price>5</price></thing>
</goods></shop>"""


def test_the_element_with_the_columns_is_found(tmp_path: Path) -> None:
    file = document(tmp_path, XML, "shop.xml")
    assert names_in(file) == ["a", "b"]
    assert file_layout(file, DeclaredLayout()).rows_at == "shop/shipping/item"
    assert names_in(file, columns=(), rows_at="/shop/goods/thing") == ["a", "b"]
    with pytest.raises(PlatformError, match='no rows at rows_at = "goods"'):
        names_in(file, rows_at="goods")


def test_of_two_elements_with_the_same_fields_one_is_asked_for(tmp_path: Path) -> None:
    row = "<{0}><name>{1}</name><price>5</price></{0}>"
    both = (row.format("product", "a"), row.format("offer", "b") * 2)
    file = document(tmp_path, f"<shop>{''.join(both)}</shop>", "shop.xml")
    with pytest.raises(PlatformError, match=r"shop/offer \(2\), shop/product \(1\)"):
        names_in(file)


def test_where_the_rows_were_stands_with_the_snapshot(tmp_path: Path) -> None:
    file = document(tmp_path, {"shops": [{"products": AB}]})
    columns = {"listing_id": "name", "title": "name", "price": "$.price"}
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    ingest_source(warehouse, source_of(file, format="generic", columns=columns), fingerprint="")
    found = warehouse.frame("SELECT rows_at, row_count FROM raw.snapshots").rows()
    assert found == [("shops[].products[]", 2)]
