"""A price that is planted in listings is withheld, or found in the finished texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.curation import curate_listings
from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.price_leaks import find_price_leaks, remaining_price_leaks
from pricing_platform.catalog.sources import Source
from pricing_platform.catalog.text_leaks import numbers_in, price_in_texts
from pricing_platform.stores.warehouse import Warehouse

CASES = Path(__file__).parents[3] / "../shared/cases"
COLUMNS = {"listing_id": "sku", "title": "name", "description": "text", "price": "preis"}
_UP_TO_19 = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
UNITS, TENS = _UP_TO_19.split(" "), _TENS.split(" ")


def in_words(number: int) -> str:
    if number < 20:
        return UNITS[number]
    rest = f"-{UNITS[number % 10]}" if number % 10 else ""
    return TENS[number // 10 - 2] + rest


def shop(
    folder: Path,
    told: Callable[[float], dict[str, object]],
    count: int = 200,
    currency: str = "EUR",
) -> Warehouse:
    """A shop whose rows are what is told of each price, and other numbers; curated into items."""
    random = np.random.default_rng(3)
    rows = []
    for number in range(count):
        price = round(min(float(np.exp(random.normal(3, 0.6))), 99.0), 2)
        row = {"sku": str(number), "name": f"Lamp {random.integers(1, 90)} cm", "preis": price}
        row |= {"text": "A lamp for every room.", "stock": int(random.integers(1, 80))}
        rows.append(json.dumps(row | told(price)))
    (folder / "shop.jsonl").write_text("\n".join(rows), encoding="utf-8")
    path = (str(folder / "shop.jsonl"),)
    return curated(folder, currency=currency, path=path, columns=COLUMNS)


def curated(folder: Path, *, currency: str = "EUR", **declared: object) -> Warehouse:
    source = Source(name="shop", format="generic", currency=currency, **declared)
    warehouse = Warehouse(folder / "warehouse.duckdb")
    ingest_source(warehouse, source, fingerprint="")
    warehouse.replace("curated.price_leaks", find_price_leaks(warehouse))
    curate_listings(warehouse, price_minimum=0.5, price_maximum=10_000, fingerprint="")
    items = warehouse.frame(
        "SELECT *, observed_at AS price_observed_at, item_id AS family_id, 'train' AS split,"
        " 1::INTEGER AS token_count FROM curated.listings"
    )
    names = [column.name for column in warehouse.columns("curated.items")]
    warehouse.replace("curated.items", items.select(names))
    return warehouse


def attributes(warehouse: Warehouse) -> set[str]:
    found = warehouse.frame("SELECT DISTINCT unnest(map_keys(attributes)) FROM curated.items")
    return set(found.to_series())


WITHHELD: dict[str, Callable[[float], dict[str, object]]] = {
    "a decimal comma": lambda price: {"branch": f"{price:.2f}".replace(".", ",")},
    "with its sign": lambda price: {"branch": f"{price:.2f}".replace(".", ",") + " zł"},
    "a German name": lambda price: {"Filialpreis": round(price * 1.3)},
    "a French name": lambda price: {"prix conseillé": round(price * 1.3)},
    "UVP": lambda price: {"UVP": round(price * 1.3)},
    "a decimal comma in an object": lambda price: {
        "offers": {"terms": 3, "amount": f"{price:.2f}".replace(".", ",")}
    },
    "in a long text": lambda price: {
        "note": f"Calculated for our branches in the north by the new rules of May: {price * 3:.4f}"
    },
}


@pytest.mark.parametrize("kind", WITHHELD)
def test_an_attribute_that_tells_the_price_is_withheld(tmp_path: Path, kind: str) -> None:
    warehouse = shop(tmp_path, WITHHELD[kind])
    assert attributes(warehouse) == {"stock"}
    assert remaining_price_leaks(warehouse).is_empty()


TOLD: dict[str, tuple[Callable[[float], dict[str, object]], str]] = {
    "a decimal comma in the text": (
        lambda price: {"text": "Lagerort 7, Regal " + f"{price:.2f}".replace(".", ",")},
        "a number in the text",
    ),
    "thousands parted": (
        lambda price: {"text": f"No. 5, ref {int(price * 100):,}", "preis": int(price * 100)},
        "a number in the text",
    ),
    "in words": (
        lambda price: {"text": f"Yours for {in_words(int(price))}", "preis": int(price)},
        "a number in the text",
    ),
    "in words with cents": (
        lambda price: {
            "text": f"Yours for {in_words(int(price))} and {in_words(round(price * 100) % 100)}"
            " cents"
        },
        "a number in the text",
    ),
    "a product of two numbers": (
        lambda price: {"text": f"Grade {price / 7:.3f} of 7, made by hand"},
        "a product or quotient of two numbers in the text",
    ),
    "a sum of two numbers": (
        lambda price: {"text": f"Lot {price - (fee := 2 + int(price * 7) % 13):.2f}, fee {fee}"},
        "a sum or difference of two numbers in the text",
    ),
}


@pytest.mark.parametrize("kind", TOLD)
def test_a_price_in_the_finished_texts_is_found(tmp_path: Path, kind: str) -> None:
    told, expression = TOLD[kind]
    warehouse = shop(tmp_path, told)
    ((source, _, found, _, rows, share),) = price_in_texts(warehouse)
    assert (source, found) == ("shop", expression)
    items = warehouse.frame("SELECT count(*) FROM curated.items").item()
    assert share == rows / items > 0.7
    assert expression in remaining_price_leaks(warehouse)["expression"].to_list()


def test_a_category_that_tells_the_price_is_found(tmp_path: Path) -> None:
    rows = [
        json.dumps({"sku": str(at), "name": f"Lamp {at % 40} cm", "preis": price, "group": group})
        for at in range(200)
        for price in [round(9.37 + 1.19 * (at * 37 % 101), 2)]
        for group in [f"Deals {price}"]
    ]
    (tmp_path / "shop.jsonl").write_text("\n".join(rows), encoding="utf-8")
    columns = {"listing_id": "sku", "title": "name", "price": "preis", "category": "group"}
    warehouse = curated(tmp_path, path=(str(tmp_path / "shop.jsonl"),), columns=columns)
    ((_, _, expression, _, rows_found, _),) = price_in_texts(warehouse)
    assert (expression, rows_found) == ("a number in the text", 200)


SOLD_FOR = {
    "SEK": "Just nu {} kr i butik",
    "PLN": "Teraz {} zł w sklepie",
    "CHF": "Jetzt Fr. {} im Laden",
    "EUR": "Aktion: {}\u00a0€ statt mehr",
}


@pytest.mark.parametrize("currency", SOLD_FOR)
def test_a_price_in_the_description_is_taken_out_in_every_currency(
    tmp_path: Path, currency: str
) -> None:
    warehouse = shop(
        tmp_path,
        lambda price: {"text": SOLD_FOR[currency].format(f"{price:.2f}".replace(".", ","))},
        currency=currency,
    )
    assert price_in_texts(warehouse) == []
    assert remaining_price_leaks(warehouse).is_empty()
    assert warehouse.frame("SELECT count(*) FROM curated.items").item() > 100


def test_numbers_that_go_with_the_price_are_no_leak(tmp_path: Path) -> None:
    warehouse = shop(
        tmp_path,
        lambda price: {"text": f"{round(price / 9) + 1} pieces, {round(price * 2.9, -1):.0f} g"},
    )
    assert price_in_texts(warehouse) == []
    assert remaining_price_leaks(warehouse).is_empty()


def test_a_few_items_are_too_few_to_say(tmp_path: Path) -> None:
    told, _ = TOLD["a decimal comma in the text"]
    assert price_in_texts(shop(tmp_path, told, count=40)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.299,50", 1299.5), ("1'299.50", 1299.5), ("1 299", 1299), ("2,45", 2.45), ("1,299", 1299),
     ("twenty-five", 25), ("twelve dollars and fifty cents", 12.5), ("neunundvierzig Euro", 49),
     ("vingt-cinq euros", 25), ("cuarenta y nueve euros", 49), ("quarantanove euro", 49),
     ("negenenveertig euro", 49)],
)  # fmt: skip
def test_every_way_to_write_a_number_is_read(text: str, expected: float) -> None:
    assert expected in numbers_in(f"It is {text}.").tolist()


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not there")
@pytest.mark.parametrize("name", ["shop_comma.csv", "shop_point.csv"])
def test_a_price_that_is_repeated_in_other_columns(tmp_path: Path, name: str) -> None:
    fields = ("Artikelnummer", "Bezeichnung", "Beschreibung", "Marke", "Warengruppe", "Preis")
    names = ("listing_id", "title", "description", "brand", "category", "price")
    warehouse = curated(
        tmp_path,
        path=(str(CASES / "09-decimal-comma-leak" / name),),
        columns=dict(zip(names, fields, strict=True)),
    )
    assert attributes(warehouse) == {"Bestand"}
    assert remaining_price_leaks(warehouse).is_empty()


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not there")
def test_a_price_in_a_nested_object(tmp_path: Path) -> None:
    warehouse = curated(
        tmp_path,
        path=(str(CASES / "10-nested-json-leak" / "shop.jsonl"),),
        columns={
            "listing_id": "sku",
            "title": "name",
            "description": "text",
            "brand": "maker",
            "category": "department",
            "price": "$.offer.amount",
            "currency": "$.offer.currencyCode",
        },
    )
    assert "offer" not in attributes(warehouse)
    assert remaining_price_leaks(warehouse).is_empty()
    texts = warehouse.frame("SELECT text, price FROM curated.items")
    inside = texts.select(pl.col("text").str.contains(pl.format("{}", "price"), literal=True))
    assert inside.to_series().mean() < 0.05
