from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pricing_platform.catalog.curation import curate_listings, unaccounted_rows
from pricing_platform.catalog.ingestion import ingest_source, source_fingerprint
from pricing_platform.catalog.sources import Source
from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.catalog.published_rows import (
    amazon_row,
    ingest,
    source_of,
    write_json_lines,
)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb")


def listings(warehouse: Warehouse) -> list[dict[str, Any]]:
    return warehouse.frame("SELECT * FROM raw.listings ORDER BY source, row_number").to_dicts()


def one(warehouse: Warehouse, **changes: Any) -> dict[str, Any]:
    """The listing that one published row with these changes becomes."""
    ingest(warehouse, [amazon_row(1, **changes)])
    return listings(warehouse)[0]


def test_a_published_row_becomes_a_listing(warehouse: Warehouse) -> None:
    listing = one(warehouse)
    assert listing["listing_id"] == "B000000001"
    assert listing["title"] == "Acme Water Filter 1"
    assert listing["description"] == (
        "Clean water.\nMade of coconut.\nFits most fridges\nLasts 6 months"
    )
    assert (listing["brand"], listing["category"]) == ("Acme", "Appliances")
    assert (listing["price"], listing["price_text"], listing["currency"]) == (12.99, "12.99", "USD")
    assert listing["url"] == "https://www.amazon.com/dp/B000000001"
    assert listing["attributes"] == {
        "Material": "Carbon",
        "Item model number": "AF-100",
        "Category": "Parts > Filters",
    }


def test_details_may_be_a_string_that_holds_an_object(warehouse: Warehouse) -> None:
    listing = one(warehouse, details=json.dumps({"Brand": "Other", "Colour": "Red", "Empty": ""}))
    assert listing["brand"] == "Other"
    assert listing["attributes"] == {"Colour": "Red", "Category": "Parts > Filters"}


def test_of_a_key_that_is_repeated_the_first_value_counts(warehouse: Warehouse) -> None:
    details = r'{"Size": "1", "": "2", "Colour": "3", "Size": "4", "a\\b": "5", "a\"b": "6"}'
    listing = one(warehouse, details=details)
    assert listing["attributes"] == {
        "": "2", 'a"b': "6", "a\\b": "5", "Colour": "3", "Size": "1", "Category": "Parts > Filters"
    }  # fmt: skip


def test_prices_as_published_become_numbers(warehouse: Warehouse) -> None:
    published = {
        "12.99": 12.99,
        "$1,299.00": 1299.0,
        "from 14.99": 14.99,
        "12,99 €": 12.99,
        "1.299,50 EUR": 1299.5,
        "$1,299": 1299.0,
        "1,299": 1299.0,
        "1,299.00": 1299.0,
        "€1,299": 1299.0,
        "1.299": None,
        "1.299.000 €": 1_299_000.0,
        "₹": None,
        "0.299 €": 0.299,
        "0,299 €": 0.299,
        "1234.567 €": 1234.567,
        "1.299 €": None,
        "€ 2.500": None,
        "$1.299": None,
        "1,299 €": None,
        "1234,567 €": None,
        "1,2,3": None,
        "1,29,900": 129_900.0,
        "-3": -3.0,
        "None": None,
        "—": None,
        "nan": None,
        "$12.99 - $15.99": None,
        "": None,
    }
    ingest(warehouse, [amazon_row(price=price) for price in [*published, 12.5, None]])
    numbers = [row["price"] for row in listings(warehouse)]
    assert numbers == [*published.values(), 12.5, None]


def test_wrong_types_are_unreadable_and_keep_the_row(warehouse: Warehouse) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"title": 5}, "title is no text"),
        ({"title": ["a"]}, "title is no text"),
        ({"price": {"value": 3}}, "price is no number"),
        ({"price": [3]}, "price is no number"),
        ({"details": 7}, "details hold no object"),
        ({"details": "{"}, "details hold no object"),
    ]
    ingest(warehouse, [amazon_row(1), *(amazon_row(**changes) for changes, _ in wrong)])
    good, *bad = listings(warehouse)
    assert good["unreadable"] is None
    for listing, (changes, told) in zip(bad, wrong, strict=True):
        assert told in listing["unreadable"]
        assert json.loads(listing["raw_row"]) == amazon_row(**changes)


def test_odd_but_readable_rows_lose_nothing(warehouse: Warehouse) -> None:
    listing = one(
        warehouse, features="one text", description=None, details={"a": 1, "b": [2, 16], "c": None}
    )
    assert listing["description"] == "one text"
    assert listing["attributes"] == {"a": "1", "b": "[2,16]", "Category": "Parts > Filters"}


def test_every_row_of_a_dirty_file_comes_out(warehouse: Warehouse) -> None:
    rows: list[dict[str, Any] | bytes] = [
        amazon_row(1),
        b'{"title": "cut',
        b'{"title": "caf\xe9"}',
        b"",
        amazon_row(2, description=["x" * 200_000]),
        b'{"a": 1, "a": 2}',
    ]
    ingest(warehouse, rows)
    assert [row["row_number"] for row in listings(warehouse)] == [1, 2, 3, 4, 5]
    assert [row["unreadable"] for row in listings(warehouse)] == [
        None,
        "not a JSON object",
        "not UTF-8 at byte 15",
        None,
        None,
    ]
    (snapshot,) = warehouse.frame("SELECT * FROM raw.snapshots").to_dicts()
    assert snapshot["row_count"] == 5
    assert len(snapshot["file_sha256"]) == 64


def test_snapshots_are_named_and_dated_by_their_files(warehouse: Warehouse, tmp_path: Path) -> None:
    files = [
        write_json_lines(tmp_path / f"2024-0{month}-15.jsonl", [amazon_row(1, price=month)])
        for month in (1, 2)
    ]
    ingest_source(warehouse, source_of(*files, observed_at="file_name"), fingerprint="")
    rows = warehouse.frame("SELECT snapshot, observed_at, price FROM raw.listings ORDER BY 1")
    assert rows.rows() == [
        ("2024-01-15", datetime(2024, 1, 15, tzinfo=UTC), 1.0),
        ("2024-02-15", datetime(2024, 2, 15, tzinfo=UTC), 2.0),
    ]


def test_a_column_may_say_when_a_row_was_true(warehouse: Warehouse) -> None:
    rows = [amazon_row(1, seen="2024-05-01T12:00:00Z"), amazon_row(2, seen="long ago")]
    ingest(warehouse, rows, observed_at="column", observed_at_column="seen")
    assert [row["observed_at"] for row in listings(warehouse)] == [
        datetime(2024, 5, 1, 12, tzinfo=UTC),
        None,
    ]


def test_the_generic_format_maps_columns_of_any_kind_of_file(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    columns = {"listing_id": "sku", "title": "name", "price": "cost", "brand": "maker.name"}
    row = {"sku": "1", "name": "Chair", "cost": "9.5", "maker.name": "Woody", "legs": "4"}
    csv_file = tmp_path / "a.csv"
    csv_file.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    parquet = tmp_path / "b.parquet"
    duckdb.execute(f"COPY (FROM read_csv('{csv_file}')) TO '{parquet}'")
    json_file = write_json_lines(tmp_path / "c.jsonl", [row])
    source = source_of(csv_file, parquet, json_file, format="generic", columns=columns)
    ingest_source(warehouse, source, fingerprint="")
    for listing in listings(warehouse):
        assert listing["listing_id"] == "1"
        assert (listing["title"], listing["brand"], listing["price"]) == ("Chair", "Woody", 9.5)
        assert listing["attributes"] == {"legs": "4"}


def test_a_generic_column_may_be_a_json_path_and_the_identifier_may_be_missing(
    warehouse: Warehouse,
) -> None:
    columns = {"title": "name", "price": "$.offer.price"}
    rows: list[dict[str, Any] | bytes] = [
        {"name": "Chair", "offer": {"price": 3}},
        {"name": "Table", "offer": {"price": 4}},
    ]
    ingest(warehouse, rows, format="generic", columns=columns)
    chair, table = listings(warehouse)
    assert (chair["price"], table["price"]) == (3.0, 4.0)
    assert chair["listing_id"] != table["listing_id"]


@pytest.mark.parametrize("columns", [{"listing_id": "sku"}, {}])
def test_blanks_around_an_identifier_make_no_other_product(
    warehouse: Warehouse, columns: dict[str, str]
) -> None:
    rows: list[dict[str, Any] | bytes] = [
        {"sku": sku, "name": name, "cost": 3}
        for sku, name in (("1", "Chair"), ("1 ", "Chair "), ("\u00a01\t", " Chair"))
    ]
    columns |= {"title": "name", "price": "cost"}
    ingest(warehouse, rows, format="generic", columns=columns)
    assert len({row["listing_id"] for row in listings(warehouse)}) == 1


def test_an_unknown_column_lists_those_that_exist(warehouse: Warehouse) -> None:
    with pytest.raises(PlatformError, match="no row has the column 'nom'") as caught:
        ingest(warehouse, [{"name": "Chair", "cost": 3}], format="generic",
               columns={"title": "nom", "price": "cost"})  # fmt: skip
    assert "cost, name" in caught.value.remedy


WRONG_FILES = {
    "csv given as JSON lines": ("x.jsonl", b"id,title\n1,Chair\n", "no row of .* can be read"),
    "a binary": ("x.jsonl", b"\x7fELF\0\0", "is not text but binary"),
    "a cut gzip": ("x.jsonl.gz", gzip.compress(b"{}\n" * 5000)[:-20], "cut off or damaged"),
    "an empty file": ("x.jsonl", b"", "is empty"),
    "blank lines": ("x.jsonl", b"\n\n", "has no rows"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_leaves_the_earlier_rows(
    warehouse: Warehouse, tmp_path: Path, case: str
) -> None:
    ingest(warehouse, [amazon_row(1)])
    name, content, told = WRONG_FILES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PlatformError, match=told):
        ingest_source(warehouse, source_of(tmp_path / name), fingerprint="new")
    assert [row["listing_id"] for row in listings(warehouse)] == ["B000000001"]
    assert not list((tmp_path / "cache" / "staging").iterdir())


@pytest.mark.parametrize("name", ["shop", "shop-2024-03-7", "2024-12gb-2026-04-01"])
def test_a_file_name_without_one_date_is_refused(warehouse: Warehouse, name: str) -> None:
    file = write_json_lines(warehouse.path.parent / f"{name}.jsonl", [amazon_row(1)])
    with pytest.raises(PlatformError, match="holds no date that can be told"):
        ingest_source(warehouse, source_of(file, observed_at="file_name"), fingerprint="")


PASSED = "snapshot, row_number, observed_at"
WRONG_FORMATS = {
    "a typing error": (f"SELECT {PASSED}, record ->> 'title' AS title\nFRM records", "LINE 2"),
    "an unknown column": (f"SELECT {PASSED},\n titel AS title, 1 AS price FROM records", "LINE 2"),
    "a row that cannot be cast": (
        f"SELECT {PASSED}, CAST(record ->> 'title' AS INTEGER) AS title, 1 AS price FROM records",
        "Could not convert",
    ),
    "no price": (f"SELECT {PASSED}, 'a' AS title FROM records", "lacks the column 'price'"),
    "a column too many": (
        f"SELECT {PASSED}, 'a' AS title, 1 AS price, 2 AS weight FROM records",
        "has the column 'weight'",
    ),
    "rows twice": (
        f"SELECT {PASSED}, 'a' AS title, 1 AS price FROM records, range(2)",
        "returns row 1 of snapshot shop.jsonl 2 times",
    ),
    "rows made up": (
        f"SELECT * REPLACE (7 AS row_number), 'a' AS title, 1 AS price"
        f" FROM (SELECT {PASSED} FROM records)",
        "which is not in the file",
    ),
    "two statements": ("SELECT 1; SELECT 2", "is not one SELECT"),
    "another statement": ("DROP TABLE x", "is not one SELECT"),
}


@pytest.mark.parametrize("case", WRONG_FORMATS)
def test_a_wrong_format_says_where_and_leaves_the_earlier_rows(
    warehouse: Warehouse, tmp_path: Path, case: str
) -> None:
    ingest(warehouse, [amazon_row(1)])
    text, told = WRONG_FORMATS[case]
    (tmp_path / "mine.sql").write_text(text)
    with pytest.raises(PlatformError) as caught:
        ingest(warehouse, [amazon_row(2)], format=str(tmp_path / "mine.sql"))
    assert told in str(caught.value)
    assert "mine.sql" in str(caught.value)
    assert [row["listing_id"] for row in listings(warehouse)] == ["B000000001"]


def test_rows_that_a_format_leaves_out_are_kept_as_unreadable(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    format_file = tmp_path / "mine.sql"
    format_file.write_text(
        f"-- only the dear\nSELECT {PASSED}, record ->> 'title' AS title,"
        " record ->> 'price' AS price"
        " FROM records WHERE (record ->> 'price')::DOUBLE > 10"
    )
    ingest(warehouse, [amazon_row(1, price=5), amazon_row(2, price=50)], format=str(format_file))
    unreadable = [row["unreadable"] for row in listings(warehouse)]
    assert unreadable == ["left out by the format", None]
    assert json.loads(listings(warehouse)[0]["raw_row"])["price"] == 5


def test_sources_are_replaced_one_by_one(warehouse: Warehouse) -> None:
    seen = {"observed_at": "column", "observed_at_column": "seen"}
    ingest(warehouse, [amazon_row(3, seen="2024-01-01")], name="one", **seen)
    ingest(warehouse, [amazon_row(2)], name="two")
    rows = [amazon_row(n, price=8, seen="2024-01-01") for n in (3, 4)]
    ingest(warehouse, [*rows], name="one", **seen)
    assert [(row["source"], row["listing_id"][-1]) for row in listings(warehouse)] == [
        ("one", "3"),
        ("one", "4"),
        ("two", "2"),
    ]


def observed(warehouse: Warehouse) -> list[tuple[str, float, int, bool]]:
    """Snapshot, price, day of the month, and whether the file is there, of every row."""
    return warehouse.frame(
        "SELECT snapshot, price, day(listings.observed_at), file_present"
        " FROM raw.listings AS listings JOIN raw.snapshots USING (source, snapshot) ORDER BY 3, 2"
    ).rows()


def written_on(file: Path, day: int, price: float) -> Path:
    """The file with one row, as if written on that day."""
    write_json_lines(file, [amazon_row(1, price=price)])
    moment = datetime(2024, 3, day, tzinfo=UTC).timestamp()
    os.utime(file, (moment, moment))
    return file


def test_what_a_file_said_before_it_was_overwritten_is_kept(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    file = tmp_path / "latest.jsonl"
    for day, price in ((1, 5.0), (2, 6.0), (3, 7.0)):
        ingest_source(warehouse, source_of(written_on(file, day, price)), fingerprint="")
    assert observed(warehouse) == [
        ("latest.jsonl of 2024-03-01T00:00:00+00:00", 5.0, 1, False),
        ("latest.jsonl of 2024-03-02T00:00:00+00:00", 6.0, 2, False),
        ("latest.jsonl", 7.0, 3, True),
    ]


def test_what_is_read_again_is_replaced(warehouse: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "latest.jsonl"
    for day, price in ((1, 5.0), (1, 6.0), (2, 6.0)):  # corrected; then touched
        ingest_source(warehouse, source_of(written_on(file, day, price)), fingerprint="")
    assert observed(warehouse) == [("latest.jsonl", 6.0, 2, True)]


def test_a_snapshot_whose_file_has_vanished_is_kept(warehouse: Warehouse, tmp_path: Path) -> None:
    for mode in (
        {"observed_at": "file_name"},
        {"observed_at": "column", "observed_at_column": "d"},
    ):
        first, second = (
            write_json_lines(
                tmp_path / f"2024-03-0{day}.jsonl",
                [amazon_row(1, price=day, d=f"2024-03-0{day}")],
            )
            for day in (1, 2)
        )
        source = source_of(first, second, name=mode["observed_at"], **mode)
        ingest_source(warehouse, source, fingerprint="")
        ingest_source(
            warehouse, source.model_copy(update={"path": (str(second),)}), fingerprint="new"
        )
    kept = [("2024-03-01", 1.0, 1, False), ("2024-03-02", 2.0, 2, True)]
    assert observed(warehouse) == sorted(kept * 2, key=lambda row: row[2])


BY_COLUMN = {"observed_at": "column", "observed_at_column": "seen"}


def seen_rows(warehouse: Warehouse, *rows: tuple[int, str, float]) -> list[tuple[int, str, float]]:
    """The listings after a file with these (number, day, price) was written over the last one."""
    ingest(warehouse, [amazon_row(n, seen=day, price=price) for n, day, price in rows], **BY_COLUMN)
    found = warehouse.frame(
        "SELECT listing_id[-1]::INTEGER, strftime(observed_at, '%Y-%m-%d'), price"
        " FROM raw.listings ORDER BY ALL"
    )
    return found.rows()


def test_rows_that_say_when_they_were_true_outlive_their_file(warehouse: Warehouse) -> None:
    first = [(1, "2026-04-01", 5.0), (2, "2026-04-01", 6.0)]
    assert seen_rows(warehouse, *first) == first
    second = (1, "2026-04-02", 7.0)
    assert seen_rows(warehouse, second) == [first[0], second, first[1]]
    third = [(2, "2026-04-03", 8.0), (1, "2026-04-01", 5.5)]  # the first day's price corrected
    assert seen_rows(warehouse, *third) == [third[1], second, first[1], third[0]]
    snapshots = warehouse.frame(
        "SELECT row_count, file_present, count(*) AS read FROM raw.snapshots"
        " JOIN raw.listings USING (source, snapshot)"
        " GROUP BY snapshot, row_count, file_present ORDER BY ALL"
    )
    assert snapshots.rows() == [(1, False, 1), (1, False, 1), (2, True, 2)]
    curate_listings(warehouse, price_minimum=0.5, price_maximum=99, fingerprint="")
    assert unaccounted_rows(warehouse).is_empty()


def test_a_file_to_which_rows_are_added_leaves_no_history(warehouse: Warehouse) -> None:
    rows = [(1, "2026-04-01", 5.0), (2, "2026-04-01", 6.0), (1, "2026-04-02", 7.0)]
    seen_rows(warehouse, *rows[:2], (3, "some day", 1.0))
    seen_rows(warehouse, *rows, (3, "some day", 1.0))
    assert warehouse.frame("SELECT row_count FROM raw.snapshots").rows() == [(4,)]


def test_rows_are_history_when_their_column_is_named_later(warehouse: Warehouse) -> None:
    ingest(warehouse, [amazon_row(1, seen="2026-04-01"), amazon_row(2, seen="2026-04-01")])
    assert len(seen_rows(warehouse, (1, "2026-04-02", 7.0))) == 3


def changed_source(source: Source, **changes: Any) -> Source:
    return source.model_copy(update=changes)


def test_the_fingerprint_follows_the_bytes_the_declaration_and_the_format(tmp_path: Path) -> None:
    format_file = tmp_path / "mine.sql"
    format_file.write_text("SELECT 1")
    file = write_json_lines(tmp_path / "2024-01-01.jsonl", [amazon_row(1)])
    source = source_of(file, format=str(format_file), observed_at="file_name")
    before = source_fingerprint(source)
    file.touch()
    assert source_fingerprint(source) == before
    assert source_fingerprint(changed_source(source, currency="EUR")) != before
    format_file.write_text("SELECT 2")
    changed_format = source_fingerprint(source)
    assert changed_format != before
    write_json_lines(file, [amazon_row(2)])
    assert source_fingerprint(source) != changed_format


def test_the_same_files_give_the_same_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any] | bytes] = [amazon_row(n) for n in range(500)]
    versions = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        warehouse = Warehouse(tmp_path / place / "warehouse.duckdb")
        file = write_json_lines(tmp_path / "2024-01-01.jsonl", rows)
        ingest_source(warehouse, source_of(file, observed_at="file_name"), fingerprint="")
        state = warehouse.state("raw.listings", "shop")
        assert state is not None
        versions.append((state.row_count, state.data_version))
    assert versions[0] == versions[1]


def test_a_shard_that_is_taken_away_stays_as_history(tmp_path: Path, warehouse: Warehouse) -> None:
    for shard in ("a", "b"):
        write_json_lines(tmp_path / f"part-{shard}-2024-03.jsonl", [amazon_row(ord(shard))])
    source = source_of(tmp_path / "*.jsonl", observed_at="file_name")
    ingest_source(warehouse, source, fingerprint="")
    (tmp_path / "part-b-2024-03.jsonl").unlink()
    for _ in range(2):
        ingest_source(warehouse, source, fingerprint="")
        found = {row["listing_id"] for row in listings(warehouse)}
        assert found == {"B000000097", "B000000098"}
    present = warehouse.frame("SELECT path, file_present FROM raw.snapshots ORDER BY path")
    assert present["file_present"].to_list() == [True, False]
    write_json_lines(tmp_path / "part-a-2024-03.jsonl", [amazon_row(1)])
    ingest_source(warehouse, source, fingerprint="")
    ids = sorted(row["listing_id"] for row in listings(warehouse))
    assert ids == ["B000000001", "B000000098"], "what a was before is corrected, b stays"
