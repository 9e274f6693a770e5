"""How prices of a currency are written for people: with the decimals that ISO 4217 gives it.

Here belongs what is shown. How prices are read belongs to :mod:`pricing_platform.price_reading`,
whose table of currencies this reads as well.
"""

from __future__ import annotations

from functools import cache

_DECIMALS_OF_MOST = 2


def price_decimals(currency: str) -> int:
    """How many decimals a price has: 0 of yen, 3 of dinars, 2 of what the table does not have.

    Args:
        currency: an ISO 4217 code.
    """
    return _table().get(currency, _DECIMALS_OF_MOST)


def written_price(price: float, currency: str) -> str:
    """As in ``1,299.50 EUR`` and ``1,980 JPY``."""
    return f"{price:,.{price_decimals(currency)}f} {currency}"


def currencies_without_decimals() -> list[str]:
    """The codes of yen, won and the like, sorted."""
    return sorted(code for code, decimals in _table().items() if decimals == 0)


@cache
def _table() -> dict[str, int]:
    import duckdb

    from pricing_platform.price_reading import prepare_price_reading

    with duckdb.connect() as connection:
        prepare_price_reading(connection)
        return dict(connection.execute("SELECT code, decimals FROM currencies").fetchall())
