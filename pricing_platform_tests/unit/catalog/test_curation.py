from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pricing_platform.catalog import curation
from pricing_platform.catalog.curation import curate_listings, many_refusals, unaccounted_rows
from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.money_in_texts import money_patterns
from pricing_platform.catalog.normalising import DESCRIPTION_LIMIT
from pricing_platform.catalog.price_leaks import LEAK_SCHEMA
from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.catalog.published_rows import (
    amazon_row,
    curate,
    ingest,
    kept,
    refused,
    source_of,
    write_json_lines,
)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb")


def one(warehouse: Warehouse, **changes: Any) -> dict[str, Any]:
    """The kept listing that one published row with these changes becomes."""
    curate(warehouse, [amazon_row(1, **changes)])
    (listing,) = kept(warehouse)
    return listing


def test_a_clean_listing_is_kept_with_a_text_of_all_it_says(warehouse: Warehouse) -> None:
    listing = one(
        warehouse, title="Acme Filter, pack of 2", details={"Item_model number": "AF-100"}
    )
    text = (
        "Acme Filter, pack of 2\nBrand: Acme\nCategory: Appliances\nItem model number: AF-100\n"
        "Category: Parts > Filters\nClean water. Made of coconut. Fits most fridges Lasts 6 months"
    )
    assert listing["text"] == text
    assert listing["content_hash"] == hashlib.sha256(text.encode()).hexdigest()
    assert listing["item_id"] == hashlib.sha256(b"shop\x1fB000000001").hexdigest()[:16]
    assert (listing["quantity"], listing["unit"]) == (2.0, "count")
    assert listing["model_number"] == "AF100"
    assert (listing["price"], listing["currency"]) == (12.99, "USD")


def test_the_first_rule_that_holds_refuses_a_row(warehouse: Warehouse) -> None:
    rows: dict[str, dict[str, Any] | bytes] = {
        "unreadable": b"{",
        "listing_id_missing": amazon_row(2, parent_asin=" "),
        "title_missing": amazon_row(3, title="<br/>&nbsp;", price=None),
        "price_missing": amazon_row(4, price=None),
        "price_not_a_number": amazon_row(5, price="call us"),
        "price_not_positive": amazon_row(6, price="-1"),
        "price_out_of_range": amazon_row(7, price=1_000_000),
        "duplicate_in_snapshot": amazon_row(0),
    }
    curate(warehouse, [amazon_row(0), *rows.values()])
    assert list(refused(warehouse).values()) == list(rows)
    assert [listing["row_number"] for listing in kept(warehouse)] == [1]
    assert unaccounted_rows(warehouse).is_empty()


def test_a_refused_row_says_what_was_found_and_keeps_the_row(warehouse: Warehouse) -> None:
    curate(warehouse, [amazon_row(1, price="call us"), b'{"cut', amazon_row(2), amazon_row(2)])
    found = warehouse.frame(
        "SELECT rule, detail, raw_row FROM curated.rejected_listings ORDER BY row_number"
    ).rows()
    assert found[0][1] == "call us"
    assert '"title":"Acme Water Filter 1"' in found[0][2]
    assert found[1][1:] == ("not a JSON object", '{"cut')
    assert found[2][:2] == ("duplicate_in_snapshot", "the same listing as row 3")


def test_of_equal_listings_the_first_with_a_usable_price_is_kept(warehouse: Warehouse) -> None:
    curate(warehouse, [amazon_row(1, price=p) for p in (None, 5, 7)])
    assert refused(warehouse) == {1: "price_missing", 3: "duplicate_in_snapshot"}


def test_a_time_that_cannot_be_read_and_an_odd_currency_are_refused(warehouse: Warehouse) -> None:
    columns = {"listing_id": "i", "title": "t", "price": "p", "currency": "c"}
    curate(
        warehouse,
        [
            {"i": "1", "t": "a", "p": 3, "c": "usd", "at": "2024-01-01"},
            {"i": "2", "t": "b", "p": 3, "c": "doubloons", "at": "2024-01-01"},
            {"i": "3", "t": "c", "p": 3, "c": "USD", "at": "some day"},
        ],
        format="generic",
        columns=columns,
        observed_at="column",
        observed_at_column="at",
    )
    assert refused(warehouse) == {2: "currency_unknown", 3: "observed_at_missing"}
    assert kept(warehouse)[0]["currency"] == "USD"


def test_a_price_with_the_sign_of_another_currency_is_refused(warehouse: Warehouse) -> None:
    prices = ["$12", "US$12", "12 USD", "12", "€12", "12,50 €", "£12", "12 EUR", "CAD 12"]
    curate(warehouse, [amazon_row(n, price=price) for n, price in enumerate(prices)])
    assert refused(warehouse) == dict.fromkeys(range(5, 10), "price_in_other_currency")
    details = warehouse.frame("SELECT detail FROM curated.rejected_listings ORDER BY row_number")
    assert details.item(0, 0) == "€12 is not USD"


def test_a_dollar_sign_is_every_dollar(warehouse: Warehouse) -> None:
    curate(warehouse, [amazon_row(1, price="$12"), amazon_row(2, price="US$12")], currency="CAD")
    assert refused(warehouse) == {2: "price_in_other_currency"}


def test_prices_in_several_currencies_are_refused_as_a_whole(warehouse: Warehouse) -> None:
    curate(warehouse, [amazon_row(1)], name="shop_us")
    with pytest.raises(PlatformError, match="shop_de in EUR, shop_us in USD"):
        curate(warehouse, [amazon_row(2)], name="shop_de", currency="EUR")
    assert [listing["source"] for listing in kept(warehouse)] == ["shop_us"]


def test_a_source_in_several_currencies_is_named(warehouse: Warehouse) -> None:
    columns = {"listing_id": "i", "title": "t", "price": "p", "currency": "c"}
    rows: list[dict[str, Any] | bytes] = [
        {"i": code, "t": "a", "p": 3, "c": code} for code in ("USD", "EUR")
    ]
    with pytest.raises(PlatformError, match="shop in EUR and USD"):
        curate(warehouse, rows, format="generic", columns=columns)


def test_a_row_in_another_currency_is_refused_and_stops_no_other(warehouse: Warehouse) -> None:
    columns = {"listing_id": "i", "title": "t", "price": "p", "currency": "c"}
    rows: list[dict[str, Any] | bytes] = [
        {"i": str(n), "t": "a", "p": 3, "c": code} for n, code in enumerate(["USD", "CAD", "USD"])
    ]
    curate(warehouse, rows, format="generic", columns=columns)
    assert refused(warehouse) == {2: "price_in_other_currency"}
    details = warehouse.frame("SELECT detail FROM curated.rejected_listings")
    assert details.item() == "CAD is not USD"
    assert len(kept(warehouse)) == 2


def test_where_curation_stops_the_refused_rows_say_why(warehouse: Warehouse) -> None:
    rows: list[dict[str, Any] | bytes] = [amazon_row(n, price="12 - 15") for n in range(6)]
    ingest(warehouse, [*rows, *(amazon_row(n + 10) for n in range(4))])
    with pytest.raises(PlatformError) as raised:
        curate_listings(
            warehouse, price_minimum=1, price_maximum=99, fingerprint="x", minimum_products=5
        )
    assert str(raised.value).startswith(
        "The sources have 4 priced products; at least 5 are needed to fit, validate and test a"
        " technique. shop: 6 of 10 rows (60%) are refused by price_not_a_number, as row 1: 12 - 15."
        " To keep them, check the column of the price"
    )
    assert refused(warehouse) == dict.fromkeys(range(1, 7), "price_not_a_number")
    assert kept(warehouse) == []


def test_many_refusals_are_told_and_few_are_not(warehouse: Warehouse) -> None:
    rows: list[dict[str, Any] | bytes] = [amazon_row(n) for n in range(30)]
    curate(warehouse, [*rows, amazon_row(40, price="x"), *[amazon_row(50, title="")] * 3])
    (line,) = many_refusals(warehouse)
    assert line == (
        "shop: 3 of 34 rows (9%) are refused by title_missing, as row 32: no letter or digit in ."
        ' To keep them, fill it in the file, or with format = "generic" map `title` to the column'
        " with the name of a product."
    )


def test_the_price_range_is_given(warehouse: Warehouse) -> None:
    ingest(warehouse, [amazon_row(n, price=n) for n in (1, 5, 9)])
    curate_listings(warehouse, price_minimum=2, price_maximum=8, fingerprint="")
    assert [listing["price"] for listing in kept(warehouse)] == [5.0]
    assert refused(warehouse) == {1: "price_out_of_range", 3: "price_out_of_range"}


def test_texts_are_cleaned_wherever_they_stand(warehouse: Warehouse) -> None:
    listing = one(
        warehouse,
        title="<b>CafÃ©</b>  press, only $9.99",
        store="Tom &amp; Jerry",
        description=["<p>Was $20,\nnow less.</p>", "<script>var a;</script>"],
        features=[],
        details={
            "Material": "&lt;i&gt;steel&lt;/i&gt;",
            "Note": "MSRP: $30",
            "Odd\x1f": "a\x1eb\x1fc",
        },
    )
    assert listing["title"] == "Café press,"
    assert listing["brand"] == "Tom & Jerry"
    assert listing["description"] == ", now less."
    assert listing["attributes"]["Material"] == "steel"
    assert "Note" not in listing["attributes"]
    assert "$" not in listing["text"]
    assert listing["attributes"]["Category"] == "Parts > Filters"


def test_a_huge_description_is_cut_at_a_word(warehouse: Warehouse) -> None:
    listing = one(warehouse, description=["water filter " * 20_000])
    assert DESCRIPTION_LIMIT - 20 < len(listing["description"]) <= DESCRIPTION_LIMIT
    assert listing["description"].endswith(("water", "filter"))


def test_a_listing_without_brand_category_details_or_description_is_kept(
    warehouse: Warehouse,
) -> None:
    listing = one(warehouse, store=None, main_category=None, categories=[], details=None,
                  description=[], features=[])  # fmt: skip
    assert listing["brand"] is None
    assert listing["category"] == "unknown"
    assert listing["description"] == ""
    assert listing["attributes"] == {}
    assert listing["text"] == "Acme Water Filter 1"


def test_names_of_attributes_that_differ_in_spaces_only_are_both_kept(warehouse: Warehouse) -> None:
    listing = one(warehouse, details={"Size": "1", "Size ": "2", "": "3"})
    assert listing["attributes"] == {
        "Size": "1",
        "Size ": "2",
        "": "3",
        "Category": "Parts > Filters",
    }
    assert "\nSize: 1\nSize: 2\n" in listing["text"]


def test_what_gives_the_price_away_is_in_no_attribute_and_no_text(warehouse: Warehouse) -> None:
    rows = [amazon_row(1, details={"Material": "Carbon", "Ledger": "1299", "List Price": "15"})]
    ingest(warehouse, rows)
    leak = ("shop", "Appliances", "Ledger", ["Ledger"], 100, 1.0)
    leaks = pl.DataFrame([leak], schema=LEAK_SCHEMA, orient="row")
    warehouse.replace("curated.price_leaks", leaks)
    curate_listings(warehouse, price_minimum=0.5, price_maximum=999.49, fingerprint="")
    (listing,) = kept(warehouse)
    assert set(listing["attributes"]) == {"Material", "Category"}
    assert "1299" not in listing["text"]
    assert "15" not in listing["text"]


def test_lines_that_meet_are_no_amount_of_money(warehouse: Warehouse) -> None:
    listing = one(
        warehouse, description=["Euro pillow sham cover"], features=[], categories=[],
        details={"Number of Pieces": "4"},
    )  # fmt: skip
    assert "Number of Pieces: 4\nEuro pillow sham cover" in listing["text"]
    assert not has_money_in([listing["text"]])


def test_names_of_attributes_are_cleaned_too(warehouse: Warehouse) -> None:
    listing = one(
        warehouse,
        categories=[],
        details={
            "Shipping $4.99": "yes",
            "Tom &amp; <b>Jerry</b>": "1",
            "Tom & Jerry ": "2",
            "Tom & Jerry": "3",
            "Retail_price": "15",
            "Priced": "15",
            "5_usd": "x",
        },
    )
    assert listing["attributes"] == {
        "Shipping ": "yes",
        "Tom & Jerry ": "1",
        "Tom & Jerry": "3",
    }


PIECES = st.sampled_from(
    [
        *(
            "$",
            "€",
            "US$",
            "USD",
            "eur",
            "euros",
            "cents",
            "dollars",
            "price",
            "msrp",
            "size",
            "is",
        ),
        *(
            "5",
            "42",
            "1,299",
            "12.5",
            "4",
            ".",
            ",",
            ":",
            "=",
            "-",
            "_",
            " ",
            " ",
            "  ",
            "\n",
            "\t",
        ),
        *(
            "\xa0",
            "\u2009",
            "\x1e",
            "\x1f",
            "<b>",
            "</b>",
            "&euro;",
            "&#36;",
            "&nbsp;",
            "save",
            "x",
        ),
    ]
)
FIELD = st.lists(PIECES, max_size=8).map("".join)
PUBLISHED = st.fixed_dictionaries(
    {
        "title": FIELD.map("Thing {}".format),
        "store": FIELD,
        "main_category": FIELD,
        "description": st.lists(FIELD, max_size=2),
        "features": st.lists(FIELD, max_size=2),
        "details": st.dictionaries(FIELD, FIELD, max_size=4),
    }
)


def has_money_in(texts: list[str]) -> list[str]:
    is_money = money_patterns("USD").is_in("text")
    query = f"SELECT text FROM (SELECT unnest(?::VARCHAR[]) AS text) WHERE {is_money}"
    return [text for (text,) in duckdb.execute(query, [texts]).fetchall()]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(PUBLISHED, min_size=20, max_size=60))
@example([{"title": "save $ $5 5", "details": {"$ $5 5": "$ $5 5"}}])
@example([{"description": ["x" * (DESCRIPTION_LIMIT - 4) + "5usdabc"]}])
def test_no_text_holds_an_amount_of_money(
    tmp_path_factory: pytest.TempPathFactory, published: list[dict[str, Any]]
) -> None:
    warehouse = Warehouse(tmp_path_factory.mktemp("money") / "warehouse.duckdb")
    curate(warehouse, [amazon_row(n, **row) for n, row in enumerate(published)])
    assert has_money_in([listing["text"] for listing in kept(warehouse)]) == []


def test_identity_is_the_same_in_every_snapshot(warehouse: Warehouse, tmp_path: Path) -> None:
    files = [
        write_json_lines(tmp_path / f"2024-0{month}-01.jsonl", [amazon_row(1, price=10 + month)])
        for month in (1, 2)
    ]
    ingest_source(warehouse, source_of(*files, observed_at="file_name"), fingerprint="")
    curate_listings(warehouse, price_minimum=0.5, price_maximum=999.49, fingerprint="")
    january, february = kept(warehouse)
    assert january["item_id"] == february["item_id"]
    assert (january["price"], february["price"]) == (11.0, 12.0)


def test_no_rows_are_no_error(warehouse: Warehouse) -> None:
    warehouse.create_schema()
    curate_listings(warehouse, price_minimum=0.5, price_maximum=999.49, fingerprint="")
    assert (kept(warehouse), refused(warehouse)) == ([], {})


def test_the_same_rows_are_curated_the_same(warehouse: Warehouse) -> None:
    ingest(warehouse, [amazon_row(n, price=n) for n in range(300)])
    versions = []
    for _ in range(2):
        curate_listings(warehouse, price_minimum=0.5, price_maximum=999.49, fingerprint="")
        state = warehouse.state("curated.listings")
        assert state is not None
        versions.append(state.data_version)
    assert versions[0] == versions[1]


@pytest.mark.parametrize(
    "spoil",
    [
        "DELETE FROM curated.listings WHERE row_number = 1",
        "INSERT INTO curated.listings FROM curated.listings",
        "DELETE FROM curated.rejected_listings",
        "INSERT INTO curated.rejected_listings"
        " SELECT source, snapshot, row_number, listing_id, 'x', '', '' FROM curated.listings",
        "DELETE FROM raw.listings WHERE row_number = 1",
        "UPDATE raw.snapshots SET row_count = row_count + 1",
        "DELETE FROM raw.snapshots",
    ],
)
def test_rows_that_are_lost_or_doubled_are_found(warehouse: Warehouse, spoil: str) -> None:
    curate(warehouse, [amazon_row(1), amazon_row(2, price=None)])
    assert unaccounted_rows(warehouse).is_empty()
    with warehouse.write() as connection:
        connection.execute(spoil)
    assert unaccounted_rows(warehouse).height == 1


WORDS = ["steel", "24 cm", "pack of 6", "R&D", "100%", "size", "¦", "a_b", "São", "12 oz"]
UNCLEAN = ["&amp;", "<b>", "CafÃ©", "  ", "\n", "\x1e", "\x1f", "\xa0", " "]
UNCLEAN += ["$5", "12 €", "price: 5", "cost"]


def test_a_listing_that_passes_is_what_all_steps_would_make_of_it(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(12)

    def text(unclean: float = 0.05) -> str:
        drawn = [
            draw.choice(UNCLEAN if draw.random() < unclean else WORDS)
            for _ in range(draw.choice([1, 2, 2, 3, 4]))
        ]
        return draw.choice([" ", " ", ""]).join(drawn)

    def value() -> str | None:
        return draw.choice([None, "", f" {text()} ", "x" * 301, *(text() for _ in range(16))])

    names = [list({text(0.02) for _ in range(draw.choice([0, 1, 2, 3]))}) for _ in range(600)]
    warehouse.create_schema()
    with warehouse.write() as connection:
        connection.execute(
            "INSERT INTO raw.listings BY NAME SELECT 's' AS source, '1' AS snapshot, row_number,"
            " row_number::VARCHAR AS listing_id, now() AS observed_at, 'Pan' AS title, 5 AS price,"
            " '5' AS price_text, 'USD' AS currency, description, brand, category,"
            " map(keys, told) AS attributes"
            " FROM (SELECT unnest(range(600)) AS row_number, unnest($descriptions) AS description,"
            "  unnest($brands) AS brand, unnest($categories) AS category,"
            "  unnest($keys::VARCHAR[][]) AS keys, unnest($told::VARCHAR[][]) AS told)",
            {
                "descriptions": [draw.choice([None, text(), "y " * 1_500]) for _ in names],
                "brands": [draw.choice([None, "", text()]) for _ in names],
                "categories": [draw.choice([None, text()]) for _ in names],
                "keys": names,
                "told": [[value() for _ in keys] for keys in names],
            },
        )

    def curated() -> list[dict[str, Any]]:
        curate_listings(warehouse, price_minimum=1, price_maximum=9, fingerprint="")
        return warehouse.frame("FROM curated.listings ORDER BY row_number").to_dicts()

    passed = curated()
    assert len(passed) == 600
    through_all_steps = curation._KEPT.replace("END AS is_clean", "END AND false AS is_clean")
    assert through_all_steps != curation._KEPT
    monkeypatch.setattr(curation, "_KEPT", through_all_steps)
    assert curated() == passed
