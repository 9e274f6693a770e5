"""The one reader of money and numbers: macros of DuckDB, for tables and for single texts.

Here belongs what makes the macros known to a connection. What they do stands in
``sql/curation/reading.sql``; the currencies that they know, in ``currencies.sql`` beside it.
"""

from __future__ import annotations

from functools import cache

import duckdb

from pricing_platform.settings import sql_folder

_FILES = ("currencies.sql", "reading.sql")


def prepare_price_reading(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the tables, the variables and the macros known by which prices are read."""
    connection.execute(reading_macros())


@cache
def reading_macros() -> str:
    """The statements, which what is read follows from."""
    folder = sql_folder() / "curation"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in _FILES)


@cache
def known_currencies() -> frozenset[str]:
    """The ISO 4217 codes of the currencies whose prices can be read."""
    with duckdb.connect() as connection:
        prepare_price_reading(connection)
        return frozenset(
            code for (code,) in connection.execute("SELECT code FROM currencies").fetchall()
        )
