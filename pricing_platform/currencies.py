"""What is known of a currency: its decimals by ISO 4217, its marks, how its prices are written.

It stands in the table by which prices are read, ``sql/curation/currencies.sql``. How they are read
belongs to :mod:`pricing_platform.price_reading`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

_DECIMALS_OF_MOST = 2
_KNOWN = """
SELECT code, decimals, groups_by_comma, coalesce(marks, [])
FROM currencies
LEFT JOIN (
    SELECT code, list(mark ORDER BY mark) AS marks
    FROM (SELECT unnest(codes) AS code, mark FROM currency_marks)
    GROUP BY code
) USING (code)
"""


def price_decimals(currency: str) -> int:
    """How many decimals a price has: 0 of yen, 3 of dinars, 2 of what the table does not have.

    Args:
        currency: an ISO 4217 code.
    """
    known = _table().get(currency)
    return _DECIMALS_OF_MOST if known is None else known.decimals


def written_price(price: float, currency: str) -> str:
    """As in ``1,299.50 EUR`` and ``1,980 JPY``."""
    return f"{price:,.{price_decimals(currency)}f} {currency}"


def currencies_without_decimals() -> list[str]:
    """The codes of yen, won and the like, sorted."""
    return sorted(code for code, known in _table().items() if known.decimals == 0)


def currency_marks(currency: str) -> list[str]:
    """What may stand for it beside a number, in lower case: signs, words and its code; sorted."""
    known = _table().get(currency)
    return [] if known is None else list(known.marks)


def parts_thousands_by_commas(currency: str) -> bool:
    """Whether the countries that have it write ``1,299``; false of what is not known."""
    known = _table().get(currency)
    return known is not None and known.groups_by_comma


@dataclass(frozen=True)
class _Known:
    decimals: int
    groups_by_comma: bool
    marks: tuple[str, ...]


@cache
def _table() -> dict[str, _Known]:
    import duckdb

    from pricing_platform.price_reading import prepare_price_reading

    with duckdb.connect() as connection:
        prepare_price_reading(connection)
        rows = connection.execute(_KNOWN).fetchall()
    return {
        code: _Known(decimals, by_comma, tuple(marks)) for code, decimals, by_comma, marks in rows
    }
