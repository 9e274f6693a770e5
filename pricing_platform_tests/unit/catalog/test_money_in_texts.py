"""Amounts of money in texts: of every catalogue, and of one in the catalogue's own currency."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.catalog.money_in_texts import money_patterns
from pricing_platform.catalog.normalising import prepare
from pricing_platform.currencies import currency_marks
from pricing_platform_tests.unit.catalog.currency_table import territories


@cache
def cleaner(currency: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    prepare(connection, currency)
    return connection


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    cleaner.cache_clear()


def without_money(text: str, currency: str) -> str:
    query = """
        SELECT CASE WHEN has_money(once) THEN without_money_words(once) ELSE once END
        FROM (SELECT CASE WHEN hints_at_money($1) THEN without_amounts($1) ELSE $1 END AS once)
    """
    (row,) = cleaner(currency).execute(query, [text]).fetchall()
    return str(row[0])


OF_THEIR_CURRENCY = {
    ("jetzt 786,40 zł im Angebot", "PLN"): "jetzt im Angebot",
    ("786.40 SEK", "SEK"): "",
    ("SEK 786", "SEK"): "",
    ("Nur 99,- kr heute", "NOK"): "Nur heute",
    ("a krups 500 mixer", "SEK"): "a krups 500 mixer",
    ("CHF 1'299.50 only", "CHF"): "only",
    ("sofort für 1'299.- Fr. lieferbar", "CHF"): "sofort für lieferbar",
    ("1 299,00 € statt", "EUR"): "statt",
    ("R$ 1.299,00 à vista", "BRL"): "à vista",
    ("₩12,000 a box", "KRW"): "a box",
    ("1980円 a box", "JPY"): "a box",
    ("Kč 1 299 a box", "CZK"): "a box",
    ("R1 299,00 in rands", "ZAR"): "in rands",
    ("R134a, R 2", "ZAR"): "R134a, R 2",
    ("12 990 Ft a box", "HUF"): "a box",
    ("2 ft by 3 ft", "HUF"): "2 ft by 3 ft",
    ("TRY 250 a box", "TRY"): "a box",
    ("try 2 of them", "TRY"): "try 2 of them",
    ("Rs. 1,23,456 a box", "INR"): "a box",
    ("INR18650 battery", "INR"): "INR18650 battery",
    ("size eur 42,5 shoe", "EUR"): "size eur 42,5 shoe",
    ("£5 100 tablets", "GBP"): "100 tablets",
    ("für 27 Euro 96 im Laden", "EUR"): "für im Laden",
    ("à 1 299€96 en magasin", "EUR"): "à en magasin",
    ("27 Euro 960 g", "EUR"): "960 g",
}


@pytest.mark.parametrize(("text", "currency"), OF_THEIR_CURRENCY)
def test_amounts_of_the_own_currency_are_taken_out(text: str, currency: str) -> None:
    assert without_money(text, currency).strip() == OF_THEIR_CURRENCY[text, currency]


@pytest.mark.parametrize(
    "text", ["SAR 1.18 W/kg", "PHP 8 by example", "12 kr", "AMD 5 chips", "6 ft", "3 Fr. long"]
)
def test_what_other_currencies_are_called_is_no_money(text: str) -> None:
    assert without_money(text, "USD") == text


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 99_999_999),
    st.sampled_from([("", "."), ("", ","), (".", ","), ("'", "."), (" ", ",")]),
    st.sampled_from(sorted(territories())),
    st.booleans(),
    st.sampled_from(["", "now ", "a box, ", "24 cm: "]),
)
def test_an_amount_beside_its_code_never_stays(
    cents: int, separators: tuple[str, str], code: str, first: bool, before: str
) -> None:
    thousands, point = separators
    first = first and thousands != " "
    number = f"{cents // 100:,}".replace(",", thousands) + f"{point}{cents % 100:02}"
    text = f"{before}{code} {number}, new" if first else f"{before}{number} {code}, new"
    left = without_money(text, code)
    assert left.strip(" ") == f"{'' if before == 'now ' else before}, new".strip(" ")


@pytest.mark.parametrize("currency", sorted(territories()))
def test_the_patterns_of_every_currency_are_patterns(currency: str) -> None:
    for mark in currency_marks(currency):
        text = f"a box, {mark.upper()} 12.50, and 12.50 {mark.upper()}; $5.00"
        once = without_money(text, currency)
        assert "$5" not in once
        assert without_money(once, currency) == once
    is_in = money_patterns(currency).is_in("text")
    query = f"SELECT {is_in} FROM (SELECT unnest(['12.50 {currency}', 'a box']) AS text)"
    assert cleaner(currency).execute(query).fetchall() == [(True,), (False,)]
