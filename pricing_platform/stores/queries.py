"""Questions that users ask in SQL: read-only, parametrised, wrong ones answered for people.

Here belongs asking. The queries that the platform ships stand in ``sql/queries``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import duckdb
import polars as pl

from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings
from pricing_platform.stores.frames import unique_names, with_types_of_frames
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse

_LONGEST_SECONDS = 60.0  # that a user's statement may keep Postgres at work
_PARAMETER = re.compile(r"(?<!%)%\((\w+)\)s")


def query_warehouse(settings: Settings, query: str, parameters: Mapping[str, str]) -> pl.DataFrame:
    """The rows of one statement on the warehouse, which can neither write nor read other files.

    Args:
        settings: where the warehouse is.
        query: one statement, with ``$name`` where a parameter stands.
        parameters: their values.

    Raises:
        PlatformError: when there is no warehouse, or with what is wrong with the statement.
    """
    with Warehouse.from_settings(settings).read() as connection:
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        try:
            statements = connection.extract_statements(query)
            if len(statements) != 1:
                raise PlatformError(
                    f"The query has {len(statements)} statements.", "Give exactly one."
                )
            relation = connection.sql(query, params=dict(parameters) or None)
            if relation is None:
                return pl.DataFrame()
            table = with_types_of_frames(relation).to_arrow_table()
            return pl.DataFrame(
                pl.from_arrow(table.rename_columns(unique_names(table.column_names)))
            )
        except duckdb.Error as error:
            raise PlatformError(f"DuckDB refused the query: {error}") from None


def query_postgres(settings: Settings, query: str, parameters: Mapping[str, str]) -> pl.DataFrame:
    """The rows of one statement on Postgres, which can't write.

    Args:
        settings: which Postgres.
        query: one statement, with ``%(name)s`` where a parameter stands.
        parameters: their values.

    Raises:
        PlatformError: when the server can't be reached, the statement takes longer than a minute,
            or with what is wrong with it.
    """
    missing = sorted(set(_PARAMETER.findall(query)) - parameters.keys())
    if missing:
        given = " ".join(f"-p {name}=…" for name in missing)
        raise PlatformError(f"The query asks for {', '.join(missing)}.", f"Give it: {given}")
    postgres = Postgres.from_settings(settings)
    try:
        return postgres.frame(query, dict(parameters) or None, seconds=_LONGEST_SECONDS)
    finally:
        postgres.close()
