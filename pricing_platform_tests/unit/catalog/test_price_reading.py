"""Prices as shops write them, and the table of currencies by which they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.catalog.curation import curate_listings
from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.sources import Source
from pricing_platform.language.price_text import parse_price
from pricing_platform.language.prompts import Currency
from pricing_platform.price_reading import prepare_price_reading
from pricing_platform.settings import sql_folder
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.catalog.currency_table import marks, table, territories

CASES = Path(__file__).parents[3] / "../shared/cases/08-price-formats"


@pytest.fixture(scope="module")
def reader() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        prepare_price_reading(connection)
        yield connection


def read(
    reader: duckdb.DuckDBPyConnection, published: str, currency: str = "USD"
) -> tuple[float | None, bool]:
    (row,) = reader.execute(
        "SELECT price_number($1), is_price_in($1, $2)", [published, currency]
    ).fetchall()
    return row[0], row[1]


def test_the_table_is_what_cldr_says() -> None:
    assert (sql_folder() / "curation" / "currencies.sql").read_text(encoding="utf-8") == table()


READ = {
    "786.40 SEK": (786.4, "SEK"),
    "CHF 1'299.50": (1299.5, "CHF"),
    "1\u2019299.- Fr.": (1299.0, "CHF"),
    "99,- kr": (99.0, "NOK"),
    "1\u202f299,00\u00a0€": (1299.0, "EUR"),
    "ab 12,50 €": (12.5, "EUR"),
    "786,40 zł": (786.4, "PLN"),
    "Kč 1 299": (1299.0, "CZK"),
    "R$ 1.299,00": (1299.0, "BRL"),
    "¥1,980": (1980.0, "JPY"),
    "1980円": (1980.0, "JPY"),
    "₩12,000": (12000.0, "KRW"),
    "100.000 ₫": (100000.0, "VND"),
    "12.500 KWD": (12.5, "KWD"),
    "Rs. 1,23,456": (123456.0, "INR"),
    "S/ 12.50": (12.5, "PEN"),
    "$5 USD": (5.0, "USD"),
    "-$5": (-5.0, "USD"),
    "12,50-€": (-12.5, "EUR"),
    "+12.50 EUR": (12.5, "EUR"),
}


@pytest.mark.parametrize("published", READ)
def test_a_price_is_read_with_its_currency(
    reader: duckdb.DuckDBPyConnection, published: str
) -> None:
    value, currency = READ[published]
    assert read(reader, published, currency) == (value, True)
    assert read(reader, published, "HUF") == (value, False)


@pytest.mark.parametrize(
    "published",
    ["1.299 €", "1,299 kr", "1,299 CHF", "1.299 zł", "5 pcs", "12 oz", "12 99", "1 29 999", "5 %",
     "12.99 - 15.99", "$", "12,99 € / 15,99 €", "1_0"],
)  # fmt: skip
def test_what_may_be_two_numbers_or_is_no_price_is_not_read(
    reader: duckdb.DuckDBPyConnection, published: str
) -> None:
    assert read(reader, published)[0] is None


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 99_999_999),
    st.sampled_from([("", "."), (",", "."), (".", ","), ("'", "."), (" ", ","), ("\u202f", ",")]),
    st.sampled_from(sorted(territories())),
    st.booleans(),
    st.sampled_from(["", " ", "\u00a0"]),
)
def test_every_currency_in_every_way_to_write_numbers(
    reader: duckdb.DuckDBPyConnection,
    cents: int,
    separators: tuple[str, str],
    code: str,
    first: bool,
    space: str,
) -> None:
    thousands, point = separators
    digits = f"{cents // 100:,}".replace(",", thousands) + f"{point}{cents % 100:02}"
    published = f"{code}{space}{digits}" if first else f"{digits}{space}{code}"
    assert read(reader, published, code) == (pytest.approx(cents / 100), True)


@pytest.mark.parametrize("mark", sorted(marks()))
def test_every_mark_stands_for_its_currencies(reader: duckdb.DuckDBPyConnection, mark: str) -> None:
    for code in marks()[mark]:
        assert read(reader, f"12.50 {mark}", code) == (12.5, True)


@pytest.mark.parametrize(
    ("published", "value"), [("12,50-", -12.5), ("12.50-", -12.5), ("-12,50", -12.5), ("+3", 3.0)]
)
def test_a_sign_may_stand_on_either_side(
    reader: duckdb.DuckDBPyConnection, published: str, value: float
) -> None:
    assert read(reader, published, "EUR") == (value, True)


@pytest.mark.parametrize(
    ("currency", "prices", "read_as"),
    [
        ("EUR", ["12,99", "9.99", "1.299"], [12.99, 9.99, None]),
        ("EUR", ["899", "1.299", "2.499"], [899.0, None, None]),
        ("EUR", ["12,99", "1.299"], [12.99, 1299.0]),
        ("USD", ["12.99", "1.299"], [12.99, 1.299]),
        ("JPY", ["980", "1.980"], [980.0, 1980.0]),
        ("VND", ["150.000", "1.150.000"], [150000.0, 1150000.0]),
        ("KWD", ["1.299", "12"], [1.299, 12.0]),
    ],
)
def test_a_full_stop_before_three_digits_is_what_the_column_says(
    tmp_path: Path, currency: str, prices: list[str], read_as: list[float | None]
) -> None:
    rows = "".join(f'{number},pan,"{price}"\n' for number, price in enumerate(prices))
    (tmp_path / "shop.csv").write_text(f"sku,name,cost\n{rows}", encoding="utf-8")
    assert ingested_prices(tmp_path / "shop.csv", currency) == read_as


def test_a_number_of_json_is_what_it_is(tmp_path: Path) -> None:
    rows = [f'{{"sku": "a{at}", "name": "pan", "cost": {at}}}' for at in (899, 1.299)]
    (tmp_path / "shop.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert ingested_prices(tmp_path / "shop.jsonl", "EUR") == [899.0, 1.299]


def ingested_prices(file: Path, currency: str) -> list[float | None]:
    source = Source(
        name="shop",
        path=(str(file),),
        format="generic",
        currency=currency,
        columns={"listing_id": "sku", "title": "name", "price": "cost"},
        observed_at="file_time",
    )
    warehouse = Warehouse(file.parent / "warehouse.duckdb")
    ingest_source(warehouse, source, fingerprint="")
    return warehouse.frame("SELECT price FROM raw.listings ORDER BY row_number")["price"].to_list()


@pytest.mark.parametrize(
    ("published", "code"),
    [("€", "EUR"), ("Euro", "EUR"), ("", "EUR"), (" eur ", "EUR"), (None, "EUR"), ("$", "$"),
     ("£", "£"), ("zł", "PLN"), ("abc", "ABC")],
)  # fmt: skip
def test_a_column_of_currencies_may_have_marks(
    reader: duckdb.DuckDBPyConnection, published: str | None, code: str
) -> None:
    found = reader.execute("SELECT currency_code(?, 'EUR')", [published]).fetchall()
    assert found == [(code,)]


def test_a_declared_decimal_mark_decides() -> None:
    with duckdb.connect() as connection:
        prepare_price_reading(connection)
        for mark, expected in ((",", [1299.0, 1.299, None]), (".", [1.299, 1299.0, 12.5])):
            connection.execute("SET VARIABLE decimal_mark = ?", [mark])
            texts = ["1.299", "1,299", "12.5"]
            assert [read(connection, text)[0] for text in texts] == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [("Price: 786,40 zł", "PLN"), ("Price: ₩12,000", "KRW"), ("It costs 99 kr.", "SEK"),
     ("Price: CHF 1'299.50", "CHF"), ("Price: R$ 1.299,00", "BRL")],
)  # fmt: skip
def test_an_answer_is_read_by_the_same_rules(text: str, code: str) -> None:
    assert parse_price(text, Currency(code)).price is not None
    other = parse_price(text, Currency("HUF"))
    assert other.failure is not None
    assert "is not in HUF" in other.failure


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not there")
@pytest.mark.parametrize(
    ("file", "currency", "kept"),
    [("a_feed_sek.tsv", "SEK", 150), ("b_feed_chf.tsv", "CHF", 150), ("c_swiss.tsv", "CHF", 150),
     ("d_french.tsv", "EUR", 150), ("e_polish.tsv", "PLN", 150), ("f_feed_usd.tsv", "USD", 150),
     ("g_one_row_in_cad.csv", "USD", 149)],
)  # fmt: skip
def test_feeds_of_several_countries(tmp_path: Path, file: str, currency: str, kept: int) -> None:
    text = (CASES / file).read_text(encoding="utf-8")
    if file.endswith(".tsv"):  # read as a comma separated file, which is another matter
        import polars as pl

        target = tmp_path / "feed.csv"
        pl.read_csv(CASES / file, separator="\t", infer_schema=False).write_csv(target)
        fields = ("id", "title", "description", "brand", "product_type", "price")
        names = ("listing_id", "title", "description", "brand", "category", "price")
        columns = dict(zip(names, fields, strict=True))
    else:
        target = tmp_path / "feed.csv"
        target.write_text(text, encoding="utf-8")
        columns = {"listing_id": "sku", "title": "name", "price": "amount", "currency": "currency"}
    source = Source(
        name="feed", path=(str(target),), format="generic", currency=currency, columns=columns
    )
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    ingest_source(warehouse, source, fingerprint="")
    curate_listings(warehouse, price_minimum=0.5, price_maximum=100_000, fingerprint="")
    assert warehouse.frame("SELECT count(*) FROM curated.listings").item() == kept
    refused = warehouse.frame("SELECT rule, detail FROM curated.rejected_listings").rows()
    assert refused == ([] if kept == 150 else [("price_in_other_currency", "CAD is not USD")])
