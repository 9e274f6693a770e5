"""The platform's tables a second time, in schemas of other names, for what is only tried.

SQL names the schemas ``catalog`` and ``knowledge``. On a connection that is led to the scratch
schemas, each statement is read as if it named those. So what is tried runs the same statements, on
the same server, and needs no right that the platform does not need anyway.

Here belongs how the schemas are made, used and dropped. What is tried in them does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from pricing_platform.stores.migrations import migration_files

PREFIX = "pricing_platform_scratch_"
_SCHEMAS = ("catalog", "knowledge")
_LOCK = 7_260_417_512  # any number, the same in every process
_NAMED = re.compile(
    rb"""
    (?<![\w."$]) ("?) (catalog|knowledge) \1 (?=\.["\w])  # before the name of a table
    | (?<=\bSCHEMA\ ) ("?) (catalog|knowledge) \3 \b
    """,
    re.VERBOSE,
)


def renamed(statement: bytes) -> bytes:
    """The statement with the scratch schemas in it; names in its parameters are not read."""
    return _NAMED.sub(lambda found: PREFIX.encode() + (found[2] or found[4]), statement)


def lead_to_scratch(connection: psycopg.Connection[Any]) -> None:
    """Has all cursors of a connection read statements as :func:`renamed`."""
    connection.cursor_factory = _Cursor
    connection.server_cursor_factory = _ServerCursor


@contextmanager
def scratch_schemas(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Has the schemas, migrated and with no rows in them, until the end.

    Whoever comes meanwhile waits. What one that was killed has left is dropped first.

    Args:
        connection: to the database, in no transaction; kept for the purpose until the end.
    """
    connection.autocommit = True
    connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    with connection.transaction():
        _drop(connection)
        for path in migration_files():
            connection.execute(renamed(path.read_bytes()))
    try:
        yield
    finally:
        with suppress(psycopg.OperationalError):  # the connection is lost: the next one drops them
            _drop(connection)
            connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def _drop(connection: psycopg.Connection[Any]) -> None:
    for schema in _SCHEMAS:
        name = sql.Identifier(PREFIX + schema)
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))


def _led(query: Any, cursor: psycopg.Cursor[Any]) -> bytes:
    if isinstance(query, str):
        query = query.encode()
    return renamed(query if isinstance(query, bytes) else query.as_bytes(cursor))


class _Cursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, *args: Any, **kwargs: Any) -> _Cursor:
        return super().execute(_led(query, self), *args, **kwargs)

    def executemany(self, query: Any, *args: Any, **kwargs: Any) -> None:
        super().executemany(_led(query, self), *args, **kwargs)

    def stream(self, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return super().stream(_led(query, self), *args, **kwargs)

    @contextmanager
    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Iterator[psycopg.Copy]:
        with super().copy(_led(statement, self), *args, **kwargs) as copy:
            yield copy


class _ServerCursor(psycopg.ServerCursor[Any]):
    def execute(self, query: Any, *args: Any, **kwargs: Any) -> _ServerCursor:
        return super().execute(_led(query, self), *args, **kwargs)
