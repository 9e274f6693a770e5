"""How many decimals a price is shown with."""

from __future__ import annotations

import pytest

from pricing_platform.currencies import (
    currencies_without_decimals,
    price_decimals,
    written_price,
)


@pytest.mark.parametrize(
    ("currency", "written"),
    [("USD", "1,980.50 USD"), ("JPY", "1,980 JPY"), ("KRW", "1,980 KRW"), ("KWD", "1,980.500 KWD"),
     ("unknown currency", "1,980.50 unknown currency"), ("EUR, USD", "1,980.50 EUR, USD")],
)  # fmt: skip
def test_a_price_is_written_with_the_decimals_of_its_currency(currency: str, written: str) -> None:
    assert written_price(1980.5, currency) == written


def test_the_currencies_without_decimals_are_those_of_none() -> None:
    codes = currencies_without_decimals()
    assert {"JPY", "KRW", "VND", "CLP"} <= set(codes)
    assert {price_decimals(code) for code in codes} == {0}
    assert "HUF" not in codes
