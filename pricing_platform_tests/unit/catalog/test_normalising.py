from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pricing_platform.catalog.normalising import (
    FIELD_SEPARATOR,
    VALUE_SEPARATOR,
    cleaned,
    prepare,
)
from pricing_platform.catalog.normalising import (
    QUANTITIES as QUANTITIES_QUERY,
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        prepare(connection, "USD")
        connection.execute("CREATE TABLE texts (text VARCHAR)")
        yield connection


def clean(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    connection.execute("DELETE FROM texts")
    connection.execute("INSERT INTO texts VALUES (?)", [text])
    return str(connection.execute(cleaned("texts", "text")).fetchall()[0][0])


CLEANED = {
    "now only $12.99!": "!",
    "USD 12": "",
    "12,99 €": "",
    "was $20": "",
    "MSRP: $35": "",
    "MSRP: 35": "",
    "Regular price $129.38. Ships": ". Ships",
    "US$5.00 each": " each",
    "5.99 USD": "",
    "99¢ or 15 dollars": " or ",
    "1.299,00 EUR": "",
    "£3.50, 2 m": ", 2 m",
    # Sizes, counts and names are no money.
    "24 inch 1080p, 12.5 oz, pack of 6": "24 inch 1080p, 12.5 oz, pack of 6",
    "15 pounds": "15 pounds",
    "Size EUR 42 shoe": "Size EUR 42 shoe",
    "A$AP 5": "A$AP 5",
    "Just 5 left, from 3 to 12": "Just 5 left, from 3 to 12",
    "Price tag holder, 10 pieces": "Price tag holder, 10 pieces",
    "50 cent coin": " coin",
    "USD12.99 and 12usd": " and ",
    "INR18650 battery": "INR18650 battery",
    "12\u2009€": "",
    "$\xa012.99": "",
    "save $ $5 5, more": "save 5, more",
    # HTML, entities and broken encodings.
    "<p>One</p><br/>two<ul><li>three</li></ul>": " One two three ",
    "a<script>var x = '<b>' + 1;</script>b<!-- no -->c<style>p {}</style>d": "a b c d",
    "3 < 5 and 5 > 3": "3 < 5 and 5 > 3",
    "Tom &amp; Jerry&nbsp;&ndash;&#39;x&#39;": "Tom & Jerry –'x'",
    "&lt;b&gt;bold&lt;/b&gt;": " bold ",
    "R&D; A&B": "R&D; A&B",
    "CafÃ© â€“ itâ€™s": "Café – it’s",
    "Âge château crème": "Âge château crème",
    # Spaces and control characters.
    "a\u200b\tb\r\n\n c\xa0\xa0d\x00e\ufeff": "a b c d e ",
    "plain text": "plain text",
    "": "",
}


@pytest.mark.parametrize("text", CLEANED)
def test_texts_are_cleaned(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    assert clean(connection, text) == CLEANED[text]


AMOUNT = st.from_regex(
    r"(?:(?:US)?\$|€|£|USD |EUR )(?:[1-9][0-9]{0,2}(?:,[0-9]{3})?(?:\.[0-9]{2})?)", fullmatch=True
) | st.from_regex(r"[1-9][0-9]{0,3}[.,][0-9]{2} ?(?:€|USD|EUR|dollars)", fullmatch=True)
WORDS = st.lists(st.sampled_from(["steel", "pan", "24 cm", "12-pack", "blue", "was", "only"]))


@settings(max_examples=150, deadline=None)
@given(before=WORDS, amount=AMOUNT, after=WORDS)
@example(before=["only"], amount="$1,299.00", after=[])
def test_no_amount_of_money_survives(
    connection: duckdb.DuckDBPyConnection, before: list[str], amount: str, after: list[str]
) -> None:
    text = clean(connection, " ".join([*before, amount, *after]))
    hint = connection.execute("SELECT hints_at_money(?)", [text]).fetchall()
    assert hint == [(False,)]
    for word in (*before, *after):
        if word not in ("was", "only"):
            assert word in text


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=30).map(lambda t: t.replace("\x1e", "").replace("\x1f", "")),
                min_size=1, max_size=5))  # fmt: skip
@example(["<b", "x>", "<script>", "</script>", "&#31;"])
@example(["â", "€™", "Ã", "©", "$", "5"])
def test_no_step_adds_or_takes_away_a_separator(
    connection: duckdb.DuckDBPyConnection, parts: list[str]
) -> None:
    for separator in (FIELD_SEPARATOR, VALUE_SEPARATOR):
        text = clean(connection, separator.join(parts))
        assert text.count(separator) == len(parts) - 1


QUANTITIES = {
    "Coffee beans 12 oz": (340.194278, "g"),
    "Coffee 12 oz, pack of 6": (2041.165665, "g"),
    "2-Pack soap, 5.2 fl. oz.": (307.564707, "ml"),
    "Water 1.5L": (1500.0, "ml"),
    "Flour 2,5 kg": (2500.0, "g"),
    "Dog food 3 lbs": (1360.77711, "g"),
    "Paper clips, 100 count": (100.0, "count"),
    "Set of 3 bowls": (3.0, "count"),
    "6-count filters": (6.0, "count"),
    '27" monitor': (0.6858, "m"),
    "27-inch monitor": (0.6858, "m"),
    "Cable 6 feet": (1.8288, "m"),
    "USB cable 2m": (2.0, "m"),
    "Sugar 1,000 g": (1000.0, "g"),
    "Flour 1,250.5 g": (1250.5, "g"),
    "Mehl 1.250,5 g": (1250.5, "g"),
    "Salt 1 000 g": (1000.0, "g"),
    "Screws, 1.500 pieces": (1500.0, "count"),
    "Box of 1,000 screws": (1000.0, "count"),
    "Lemonade 6 x 330 ml": (1980.0, "ml"),
    "Lemonade 6x330ml, pack of 6": (1980.0, "ml"),
    "Tea 2 × 4 x 100 g": (800.0, "g"),
    "Labels 24 x 50 pcs": (1200.0, "count"),
    "Coffee,1kg": (1000.0, "g"),
    "Flour 1.250 kg": (1250.0, "g"),
    "Juice 0,750 l": (750.0, "ml"),
    "Flour 1,250 kg": (None, None),  # 1.25 or 1,250
    "Sugar 1.000 g": (None, None),
    "Lemonade 6 x 330 ml, pack of 4": (None, None),
    "1.5 pieces": (None, None),
    "Frame 10 x 15 cm": (0.15, "m"),
    "3M Tape": (None, None),
    "Model 500 GB 5G phone": (None, None),
    "7 Wonders": (None, None),
    "": (None, None),
    "1'000 g": (1000.0, "g"),
    "1\u00a0500 g": (1500.0, "g"),
    "1\u202f250 ml": (1250.0, "ml"),
    "1 500 g": (None, None),
    "6 X 330 ml": (1980.0, "ml"),
    "330 ml x 6": (1980.0, "ml"),
    "500 g x 2, new": (1000.0, "g"),
    "6 cans 330 ml": (1980.0, "ml"),
    "6 bottles of 330 ml": (1980.0, "ml"),
    "1/2 lb": (None, None),
    "1 1/2 lb": (None, None),
    "3-1/2 inch": (None, None),
    "1 kg 500 g": (None, None),
    "2 lb 4 oz": (None, None),
    "10-12 oz": (None, None),
    "1–2 kg": (None, None),
    "10-12 pieces": (None, None),
    "5e3 g": (5000.0, "g"),
    "500-g bag": (500.0, "g"),
    "omega-3 1000 mg": (1.0, "g"),
    "MasterBox MB600L V2": (None, None),
    "DDR2 PC2-5300 CL 5": (None, None),
}


@pytest.mark.parametrize("text", QUANTITIES)
def test_quantities_are_comparable(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    relation = "(SELECT $text::VARCHAR AS amounts)"
    found = connection.execute(
        f"SELECT quantity, unit FROM ({QUANTITIES_QUERY.format(relation=relation)})", {"text": text}
    ).fetchall()
    assert found == [QUANTITIES[text]]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 999),
    st.lists(st.integers(0, 999), min_size=1, max_size=2),
    st.sampled_from(["g", "ml", "pieces"]),
    st.sampled_from(["", "6 x ", "12x"]),
    st.sampled_from(["Sugar ", "", "Nr. 7, "]),
)
def test_thousands_parted_by_commas_are_thousands(
    connection: duckdb.DuckDBPyConnection,
    first: int,
    rest: list[int],
    unit: str,
    times: str,
    before: str,
) -> None:
    number = int("".join([str(first), *(f"{at:03}" for at in rest)]))
    text = f"{before}{times}{number:,} {unit}"
    relation = "(SELECT $text::VARCHAR AS amounts)"
    (found,) = connection.execute(
        f"SELECT quantity, unit FROM ({QUANTITIES_QUERY.format(relation=relation)})", {"text": text}
    ).fetchall()
    sold = number * {"": 1, "6 x ": 6, "12x": 12}[times]
    assert found == (float(sold), "count" if unit == "pieces" else unit)


MODEL_NUMBERS = {
    "AC05065-0001": "AC050650001",
    " ktc-d320/1G ": "KTCD3201G",
    "N/A": None,
    "Does not apply": None,
    "12": None,
    None: None,
}


@pytest.mark.parametrize("written", MODEL_NUMBERS)
def test_model_numbers_are_normalised(
    connection: duckdb.DuckDBPyConnection, written: str | None
) -> None:
    found = connection.execute("SELECT normalised_model_number(?)", [written]).fetchall()
    assert found == [(MODEL_NUMBERS[written],)]


@pytest.mark.parametrize(
    ("title", "number"),
    [
        ("Kensington Protection Band K39324US", "K39324US"),
        ("HP Printer CE749-A1 (refurbished)", "CE749-A1"),
        ("Corsair 16 GB DDR4-3200 memory", None),
        ("MSI GTX1060 graphics card", None),
        ("USB3000000 hub", None),
        ("Acme chair 2000", None),
    ],
)
def test_model_numbers_are_found_in_titles(
    connection: duckdb.DuckDBPyConnection, title: str, number: str | None
) -> None:
    found = connection.execute("SELECT nullif(model_number_in_title(?), '')", [title]).fetchall()
    assert found == [(number,)]
