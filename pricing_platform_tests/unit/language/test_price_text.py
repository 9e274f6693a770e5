"""The price in what a model wrote, case by case; and that no text is ever too strange to read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.language.price_text import parse_price
from pricing_platform.language.prompts import Currency

USD, EUR, GBP, JPY = Currency("USD"), Currency("EUR"), Currency("GBP"), Currency("JPY")

PRICES = [
    ("45", 45),
    ("45.", 45),
    (" 45\n", 45),
    ("0.5", 0.5),
    ("1,299", 1299),
    ("1,29,900", 129900),
    ("$1,299.00", 1299),
    ("$1,299.00 USD", 1299),
    ("1 299.00 USD", 1299),
    ("$1'299.00", 1299),
    ("$1.2k", 1200),
    ("US$45", 45),
    ("USD 12.50", 12.5),
    ("12,50", 12.5),
    ("Price: $45", 45),
    ("**Price: $45**", 45),
    ("The final price is about $45.", 45),
    ("I'd say $45!", 45),
    ("45 (approx.)", 45),
    ("~45", 45),
    ("about twenty dollars", 20),
    ("twenty-five dollars and ninety cents", 25.9),
    ("one thousand two hundred ninety-nine dollars", 1299),
    ("5 dollars and 5 cents", 5.05),
    ("99 cents", 0.99),
    ("99¢", 0.99),
    # A range: its midpoint.
    ("between 20 and 30", 25),
    ("between $20 and $30", 25),
    ("between twenty and thirty dollars", 25),
    ("$20-$30", 25),
    ("$20 – 30", 25),
    ("20-30 dollars", 25),
    ("Price range: $20 to $30", 25),
    # What counts among several numbers.
    ("The 500 GB drive costs $45", 45),
    ("$45, that is $45.00", 45),
    ("- A: $30\n- B: $50\nPrice: $40", 40),
    ("Final price: $45. A comparable one: $30", 45),
    ("45\n<product>\nAnother\nPrice: $60", 45),
    # A line ends an amount, and a list below a price is no end of a range.
    ("Price: $45\nB: another at $30", 45),
    ("Price: $45\nk", 45),
    ("Price: $45\n- $30", 45),
    ("Price: $45\n-30", 45),
    ("Price: $45\nto $50 it may rise", 45),
    # Larger than its digits.
    ("$1.2 million", 1_200_000),
    ("$1.2M", 1_200_000),
    ("$2 thousand", 2000),
    ("2 thousand dollars", 2000),
    ("12 hundred dollars", 1200),
    ("USD 1 billion", 1e9),
    ("The 45 m cable costs $20", 20),
    ("Size M: $45 M", 45),
    ("The 8 MB card costs $20", 20),
    # Near to words of a bound, a denial or a period, and none.
    ("I'm not sure, but I'd say $45", 45),
    ("Not cheap: $45", 45),
    ("It is a bit over the top, at $45", 45),
    ("$45 + shipping", 45),
    ("$45 for an hour glass", 45),
    ("$45 a piece", 45),
    ("Price: $45\nA day later, or more", 45),
    ("<b>$45</b>", 45),
    ("> $45", 45),
    ("Price: $45, so it is under $50", 45),
    ("The iPhone Pro Max costs $999", 999),
    # JSON.
    ('{"price": 12.5}', 12.5),
    ('{"Price": "$1,299.00"}', 1299),
    ('```json\n{"price": "12.50", "currency": "USD"}\n```', 12.5),
]

FAILURES = [
    ("", "empty"),
    ("   \n", "empty"),
    ("N/A", "no price"),
    ("unknown", "no price"),
    ("free", "no price"),
    ("no one knows", "no price"),
    ("I'm sorry, but I cannot estimate the price of this product.", "no price"),
    ("As of 2024 I can't say.", "no amount of money"),
    ("500 GB", "no amount of money"),
    ("1e3", "no amount of money"),
    ("45%", "percentage"),
    ("15 percent off", "no price"),
    ("$1.299", "two ways"),
    ("1.299", "two ways"),
    ("1.299 USD", "two ways"),
    ("$45 or $60", "several different prices"),
    ("Original price $60, now $45", "several different prices"),
    ("nineteen ninety nine", "several different prices"),
    ("$20 to $90", "too wide"),
    ("-5", "negative"),
    ("$-5", "negative"),
    ("-$5", "negative"),
    ("0", "is 0"),
    ("$0.00", "is 0"),
    ("€45", "not in USD"),
    ("12.50 EUR", "not in USD"),
    ("CA$45", "not in USD"),
    ("¥4500", "not in USD"),
    ("45 pounds", "not in USD"),
    ("45 rupees", "not in USD"),
    ("99999999999999", "too large"),
    ("under $50", "bounds a price"),
    ("Under about $50", "bounds a price"),
    ("below 50 dollars", "bounds a price"),
    ("at least $10", "bounds a price"),
    ("Price: at least $10", "bounds a price"),
    ("at most 10 dollars", "bounds a price"),
    ("more than $100", "bounds a price"),
    ("It costs no more than $100.", "bounds a price"),
    ("up to $100", "bounds a price"),
    ("starting at $100", "bounds a price"),
    ("as low as $100", "bounds a price"),
    ("The price is < $50", "bounds a price"),
    ("price > $50", "bounds a price"),
    ("≤ $50", "bounds a price"),
    ("$50+", "bounds a price"),
    ("Price: $50 or more", "bounds a price"),
    ("$50 at most", "bounds a price"),
    ("under 50", "no amount of money"),
    ("under fifty dollars", "bounds a price"),
    ('{"price": "under $50"}', "bounds a price"),
    ("It does not cost $20", "is denied"),
    ("It doesn't cost $20", "is denied"),
    ("not $20", "is denied"),
    ("It isn’t sold for about $20", "is denied"),
    ("The price is not $20", "is denied"),
    ("It never costs $20", "is denied"),
    ("$20 per month", "paid again"),
    ("$20/month", "paid again"),
    ("Price: $20 a year", "paid again"),
    ("20 dollars monthly", "paid again"),
    ("$20/mo", "paid again"),
    ("$20 off", "difference"),
    ("It is $20 cheaper", "difference"),
    ("$2 trillion", "too large"),
    ("$1.299 million", "two ways"),
    ("$3 to $5 million", "too wide"),
    ('{"price": null}', "no price"),
    ('{"cost": 12}', "no price"),
    ('{"price": true}', "no price"),
    ('{"price": -3}', "negative"),
    ('{"price": 1e400}', "too large"),
    ('{"price": NaN}', "too large"),
    ('{"price": 12.5, "currency": "EUR"}', "EUR, not in USD"),
]


@pytest.mark.parametrize(("text", "price"), PRICES, ids=[text for text, _ in PRICES])
def test_reads_the_price(text: str, price: float) -> None:
    found = parse_price(text, USD)
    assert found.failure is None
    assert found.price == pytest.approx(price)


@pytest.mark.parametrize(("text", "reason"), FAILURES, ids=[text for text, _ in FAILURES])
def test_says_why_there_is_no_price(text: str, reason: str) -> None:
    found = parse_price(text, USD)
    assert found.price is None
    assert reason in (found.failure or "")


@pytest.mark.parametrize(
    ("text", "currency", "price"),
    [
        ("1.299,00 €", EUR, 1299),
        ("€1.299,00", EUR, 1299),
        ("1 299,00 €", EUR, 1299),
        ("12,99 Euro", EUR, 12.99),
        ("EUR 12.50", EUR, 12.5),
        ("20 bis 30 €", EUR, 25),
        ("£45", GBP, 45),
        ("4500 yen", JPY, 4500),
        ("$45", Currency("CAD"), 45),
        ("45 SEK", Currency("SEK"), 45),
        ("1.299 €", EUR, None),
        ("1,299 €", EUR, None),
        ("$45", EUR, None),
        ("US$45", Currency("CAD"), None),
        ("£45", EUR, None),
    ],
)
def test_reads_prices_of_the_catalogues_currency_alone(
    text: str, currency: Currency, price: float | None
) -> None:
    found = parse_price(text, currency)
    assert found.price == (None if price is None else pytest.approx(price))
    assert (found.failure is None) == (price is not None)


STYLES = [
    lambda price: f"{price:.2f}",
    lambda price: f"${price:.2f}",
    lambda price: f"${price:,.2f}",
    lambda price: f"Price: ${price:,.2f}",
    lambda price: f"I think it costs about ${price:,.2f}.",
    lambda price: f"USD {price:.2f}",
    lambda price: f"{price:,.2f} dollars",
    lambda price: json.dumps({"price": price}),
    lambda price: json.dumps({"reason": "like a 500 GB one", "price": f"${price:,.2f}"}),
]


@settings(deadline=None)
@given(cents=st.integers(1, 99_999_999), style=st.sampled_from(STYLES))
def test_reads_back_any_price_in_each_style(cents: int, style: object) -> None:
    price = cents / 100
    assert parse_price(style(price), USD).price == pytest.approx(price)  # type: ignore[operator]


@settings(deadline=None)
@given(cents=st.integers(1, 99_999_999))
def test_reads_back_any_price_as_it_is_written_in_europe(cents: int) -> None:
    price = cents / 100
    written = f"{price:,.2f}".translate(str.maketrans(",.", ".,"))
    assert parse_price(f"{written} €", EUR).price == pytest.approx(price)
    assert parse_price(f"{written} €", USD).price is None


_PIECES = st.sampled_from(
    ["$", "€", "-", "1", "23", ".", ",", "000", " ", "%", "k", "{", "}", '"price":', "to", "\n"]
)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(_PIECES, max_size=12).map("".join)))
def test_no_text_raises_and_what_is_read_is_a_price(text: str) -> None:
    found = parse_price(text, USD)
    assert (found.price is None) != (found.failure is None)
    if found.price is not None:
        assert 0 < found.price <= 1e9
