"""Postgres: connections to the embedded server or the one that is named, pooled and checked.

Here belong connecting, read-only access, and errors told for people. Which tables there are stands
in ``sql/migrations``; what their rows mean belongs to the packages that fill them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import polars as pl
import psycopg
import psycopg_pool
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector
from psycopg import conninfo, postgres, sql

from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings
from pricing_platform.stores.embedded_postgres import READER, EmbeddedPostgres
from pricing_platform.stores.frames import unique_names
from pricing_platform.stores.migrations import hold_migrations, is_current, migrate
from pricing_platform.stores.scratch_schemas import lead_to_scratch, scratch_schemas
from pricing_platform.stores.warehouse import fingerprint

PGVECTOR_MINIMUM = (0, 8, 4)
_CONNECT_SECONDS = 10
_POOL_SIZE = 8
_ADMINISTRATOR = "Ask the server's administrator"
_CHECK_URL = "Check PRICING_POSTGRES_URL"
_TYPES: dict[int, Any] = {
    postgres.types[name].oid: type_
    for names, type_ in (
        (("bool",), pl.Boolean),
        (("int2", "int4", "int8"), pl.Int64),
        (("float4", "float8", "numeric"), pl.Float64),
        (("text", "varchar", "name"), pl.String),
        (("timestamptz",), pl.Datetime("us", "UTC")),
        (("timestamp",), pl.Datetime("us")),
        (("date",), pl.Date),
    )
    for name in names
}


_LIMIT_STATEMENTS = "SELECT set_config('statement_timeout', %s, true)"
# The schema comes last, so that nothing in it hides what was found before.
_EXTEND_SEARCH_PATH = """
SELECT set_config(
    'search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), %s::text), false
)
"""


class Postgres:
    """A Postgres with pgvector, connected to when it is first needed.

    pgvector may stand in any schema: every connection finds it there, whatever the search path of
    the role or the database is.

    Raises:
        PlatformError: when the server can't be reached, refuses us, or lacks pgvector 0.8.4.
    """

    def __init__(self, server: EmbeddedPostgres | str) -> None:
        """Of an embedded server, or of the URL (or libpq connection string) of another."""
        self._embedded = server if isinstance(server, EmbeddedPostgres) else None
        self._url = None if isinstance(server, EmbeddedPostgres) else _checked_url(server)
        self._pools: dict[bool, psycopg_pool.ConnectionPool[psycopg.Connection[Any]]] = {}
        self._migrated = False
        self._is_scratch = False
        self._process = os.getpid()
        self._mutex = threading.RLock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Postgres:
        """The configured server, or the embedded one of the configured home."""
        if settings.postgres_url is not None:
            return cls(settings.postgres_url.get_secret_value())
        return cls(EmbeddedPostgres(settings.postgres_folder))

    def __str__(self) -> str:
        if self._embedded is not None:
            return f"the embedded Postgres in {self._embedded.folder}"
        return f"the Postgres at {_address(self._conninfo(read_only=False))}"

    @contextmanager
    def connection(self, *, read_only: bool = False) -> Iterator[psycopg.Connection[Any]]:
        """A connection inside one transaction: committed at the end, rolled back on an error.

        Vectors are passed and come as pgvector's ``Vector`` and ``HalfVector``. With ``read_only``
        the transaction can't write, and the embedded server is asked in the name of a role that may
        only read.

        Raises:
            PlatformError: when no connection can be had, or the server ends a statement.
        """
        pool = self._pool(read_only=read_only)
        seconds = 3 * _CONNECT_SECONDS
        try:
            with pool.connection(timeout=seconds) as connection:
                yield connection
        except psycopg_pool.PoolTimeout:
            self._connect(read_only=read_only).close()  # raises what is really the matter
            size = pool.get_stats()["pool_size"]
            raise PlatformError(
                f"All {_POOL_SIZE} connections to {self} are in use."
                if size >= _POOL_SIZE
                else f"{self} has given no connection within {seconds:g} seconds.",
                "Try again later.",
            ) from None
        except psycopg.errors.QueryCanceled as error:
            raise PlatformError(
                f"{self} ended a statement: {error.diag.message_primary}.",
                "ALTER ROLE … SET statement_timeout = 0 lifts a limit that the server has for the"
                " role.",
            ) from None

    def frame(
        self,
        query: str,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        seconds: float | None = None,
    ) -> pl.DataFrame:
        """The rows of one read-only statement; vectors become lists of floats.

        ``seconds`` is how long it may take; by default as long as the server lets it.

        Raises:
            PlatformError: when the statement is wrong, writes, or takes longer.
        """
        try:
            with self.connection(read_only=True) as connection:
                if seconds is not None:
                    connection.execute(_LIMIT_STATEMENTS, [str(round(1000 * seconds))])
                try:
                    # As a prepared statement it is one statement, and can't end its transaction.
                    cursor = connection.execute(query.encode(), parameters, prepare=True)
                    rows = cursor.fetchall() if cursor.description else []
                except psycopg.errors.QueryCanceled:
                    if seconds is None:
                        raise
                    raise PlatformError(
                        f"The query took longer than {seconds:g} seconds.",
                        "Narrow it, or run it with psql.",
                    ) from None
                described = cursor.description or []
                connection.rollback()  # so that no SET outlives its statement
        except psycopg.OperationalError as error:
            raise self._as_platform_error(error) from None
        except psycopg.Error as error:
            raise PlatformError(f"Postgres refused the query: {str(error).strip()}") from None
        names = unique_names(column.name for column in described)
        types = {n: _TYPES.get(c.type_code) for n, c in zip(names, described, strict=True)}
        plain = [[_plain(value) for value in row] for row in rows]
        return pl.DataFrame(plain, schema=types, orient="row", infer_schema_length=None)

    def migrate(self) -> list[str]:
        """Brings the schema up to date and returns the revisions that were applied."""
        if self._is_scratch:
            return []
        with self._translate_errors():
            with self._connect(read_only=False) as connection:
                current = is_current(connection)
                missing = self._ensure_extension(connection)
                missing += [] if current else _missing_privileges(connection)
                if missing:
                    raise PlatformError(
                        f"{self} lets its role {_role(connection)} not make the platform's tables.",
                        f"{_ADMINISTRATOR} to run there: {' '.join(missing)}",
                    )
                connection.commit()
                if self._embedded is not None:
                    _ensure_reader(connection)
            applied = [] if current else migrate(lambda: self._connect(read_only=False))
        self._migrated = True
        return applied

    @contextmanager
    def scratch(self) -> Iterator[Postgres]:
        """The platform's tables with no rows in them, beside those here, dropped at the end.

        They stand in schemas of the same database that statements reach by the names of the
        ordinary ones; see :mod:`pricing_platform.stores.scratch_schemas`. A second one waits.
        """
        with (
            self._translate_errors(),
            closing(self._connect(read_only=False)) as connection,
            scratch_schemas(connection),
            closing(Postgres(self._conninfo(read_only=False))) as scratch,
        ):
            scratch._is_scratch = scratch._migrated = True
            yield scratch

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lets an embedded server run until the end, though others that use it come and go."""
        try:
            if self._embedded is not None:
                self._embedded.conninfo()
            yield
        finally:
            self.close()

    def versions(self) -> dict[str, str]:
        """The versions of the server and of pgvector."""
        with self.connection(read_only=True) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'),"
                " (SELECT extversion FROM pg_extension WHERE extname = 'vector')"
            ).fetchone()
        assert row is not None  # noqa: S101
        return {"postgres": row[0], "pgvector": row[1]}

    def close(self) -> None:
        """Closes the connections, and lets an embedded server stop when nobody else uses it."""
        with self._mutex:
            pools, self._pools = self._pools, {}
            self._migrated = False
            if self._process == os.getpid():
                for pool in pools.values():
                    pool.close()
            if self._embedded is not None:
                self._embedded.release()

    def _pool(self, *, read_only: bool) -> psycopg_pool.ConnectionPool[psycopg.Connection[Any]]:
        with self._mutex:
            if self._process != os.getpid():  # a forked child has connections of its own
                self._pools, self._process = {}, os.getpid()
            if read_only not in self._pools:
                # A role of the user's own may be there only to read.
                if not self._migrated and (self._embedded is not None or not read_only):
                    self.migrate()
                    for pool in self._pools.values():  # what they knew of pgvector is of before
                        pool.close()
                    self._pools = {}
                self._connect(read_only=read_only).close()
                self._pools[read_only] = psycopg_pool.ConnectionPool(
                    lambda: self._conninfo(read_only=read_only),
                    kwargs={"connect_timeout": _CONNECT_SECONDS},
                    min_size=0,
                    max_size=_POOL_SIZE,
                    configure=partial(self._configure, read_only=read_only),
                    check=psycopg_pool.ConnectionPool.check_connection,
                    reconnect_timeout=_CONNECT_SECONDS,
                    open=True,
                )
            return self._pools[read_only]

    def _conninfo(self, *, read_only: bool) -> str:
        if self._embedded is not None:
            return self._embedded.conninfo(READER) if read_only else self._embedded.conninfo()
        assert self._url is not None  # noqa: S101
        return self._url

    def _connect(self, *, read_only: bool) -> psycopg.Connection[Any]:
        """A connection as those of the pools are, or what is the matter with it."""
        connection = self._reach(read_only=read_only)
        try:
            self._configure(connection, read_only=read_only)
        except BaseException:
            connection.close()
            raise
        return connection

    def _configure(self, connection: psycopg.Connection[Any], *, read_only: bool) -> None:
        extension = _extension(connection)
        if extension is not None:
            if not extension.usable:
                raise PlatformError(
                    f"{self} has pgvector in the schema {extension.schema}, which the role"
                    f" {extension.role} may not use.",
                    f"{_ADMINISTRATOR} to run GRANT USAGE ON SCHEMA {extension.schema} TO"
                    f" {extension.role} in this database.",
                )
            if not extension.visible:
                connection.execute(_EXTEND_SEARCH_PATH, [extension.schema])
            register_vector(connection)
        connection.commit()
        if read_only:
            connection.read_only = True
        if self._is_scratch:
            lead_to_scratch(connection)

    def _reach(self, *, read_only: bool) -> psycopg.Connection[Any]:
        # An embedded server that was killed a moment ago may still seem to be there.
        attempts = 1 if self._embedded is None else 10
        for attempt in range(attempts):
            try:
                return psycopg.connect(
                    self._conninfo(read_only=read_only), connect_timeout=_CONNECT_SECONDS
                )
            except psycopg.OperationalError as error:
                if attempt == attempts - 1:
                    raise self._as_platform_error(error) from None
            time.sleep(0.2)
        raise AssertionError("unreachable")

    def _ensure_extension(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Has pgvector, of a version that will do; or what an administrator has to run for that."""
        minimum = ".".join(map(str, PGVECTOR_MINIMUM))
        if _extension(connection) is None:
            try:
                with connection.transaction():
                    hold_migrations(connection)  # two that create it at once come into conflict
                    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile):
                raise PlatformError(
                    f"{self} has no pgvector.",
                    f"{_ADMINISTRATOR} to install pgvector {minimum} or newer, or unset"
                    " PRICING_POSTGRES_URL to use the embedded server, which has it.",
                ) from None
            except psycopg.errors.InsufficientPrivilege:
                return ["CREATE EXTENSION vector;"]
        found = _extension(connection)
        if found is None or _version(found.version) < PGVECTOR_MINIMUM:
            raise PlatformError(
                f"{self} has pgvector {found and found.version}, and {minimum} or newer is needed:"
                " older ones have defects in building and reading HNSW indexes.",
                f"{_ADMINISTRATOR} to install a newer one and to run ALTER EXTENSION vector"
                " UPDATE in this database.",
            )
        return []

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.OperationalError as error:
            raise self._as_platform_error(error) from None
        except psycopg.errors.InsufficientPrivilege as error:
            raise PlatformError(
                f"{self} lets us not look at the platform's tables or change them:"
                f" {error.diag.message_primary}.",
                "Name the role that made them in PRICING_POSTGRES_URL.",
            ) from None
        except psycopg.errors.DuplicateSchema as error:
            raise PlatformError(
                f"{self} has somebody else's schema where the platform's would be:"
                f" {error.diag.message_primary}.",
                "Name a database of the platform's own in PRICING_POSTGRES_URL.",
            ) from None

    def _as_platform_error(self, error: psycopg.OperationalError) -> PlatformError:
        """Postgres's own first line says what is wrong; none of it holds the password."""
        text = str(error).strip() or type(error).__name__
        said = text.splitlines()[0].removeprefix("connection failed: ")
        if "password authentication failed" in text or "no password supplied" in text:
            return PlatformError(
                f"{self} refuses the user or the password.", f"{_CHECK_URL}: user and password."
            )
        if "does not exist" in text and "database" in text:
            return PlatformError(
                f"{self} has no such database.", "Create it, or name another in the URL."
            )
        if "too many c" in text or "connection slots" in text:
            return PlatformError(
                f"{self} has no connection left for us: {said}",
                "Let others end theirs, or have its administrator raise the limit.",
            )
        if "No space left" in text:
            return PlatformError(f"The disk of {self} is full.", "Free some space there.")
        return PlatformError(
            f"{self} cannot be reached: {said}",
            "" if self._embedded else f"{_CHECK_URL}, and that the server runs.",
        )


def contents_version(server: Postgres, table: str, columns: str) -> str:
    """A version of these columns of a table in Postgres; equal contents give equal versions."""
    # A sum does not depend on the order, and takes no memory however many rows there are.
    row = server.frame(
        "SELECT count(*)::text AS rows,"
        f" coalesce(sum(hashtextextended(({columns})::text, 0)::numeric), 0)::text AS total,"
        f" coalesce(sum(hashtextextended(({columns})::text, 1)::numeric), 0)::text AS another"
        f" FROM {table}"
    ).row(0)
    return fingerprint(table, *row)[:32]


def _checked_url(url: str) -> str:
    try:
        conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise PlatformError(  # without what was said: it repeats the URL, password included
            "PRICING_POSTGRES_URL is not the URL of a Postgres server.",
            "Write it as postgresql://user:password@host:port/database, with special characters"
            " in the password percent-encoded.",
        ) from None
    return url


def _address(url: str) -> str:
    parts = conninfo.conninfo_to_dict(url)
    host, port = parts.get("host", "localhost"), parts.get("port", 5432)
    return f"{host}:{port}/{parts.get('dbname', parts.get('user', ''))}"


def _ensure_reader(connection: psycopg.Connection[Any]) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [READER]).fetchone():
        return
    name = sql.Identifier(READER)
    try:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE pg_read_all_data").format(name))
        connection.execute(
            sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(name)
        )
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        connection.rollback()  # another process was first


def _missing_privileges(connection: psycopg.Connection[Any]) -> list[str]:
    """What an administrator has to run, so that the role can make the platform's tables."""
    row = connection.execute(
        "SELECT quote_ident(current_database()),"
        " has_database_privilege(current_database(), 'CREATE'),"
        " has_database_privilege(current_database(), 'TEMPORARY')"
    ).fetchone()
    in_public = connection.execute(
        "SELECT has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE')"
        " FROM pg_namespace WHERE nspname = 'public'"
    ).fetchone()
    assert row is not None  # noqa: S101
    database, may_create, may_create_temporary = row
    role = _role(connection)
    missing = []
    if not may_create:
        missing.append(f"GRANT CREATE ON DATABASE {database} TO {role};")
    if not may_create_temporary:
        missing.append(f"GRANT TEMPORARY ON DATABASE {database} TO {role};")
    if in_public is None:
        missing.append("CREATE SCHEMA public;")
    if in_public is None or not in_public[0]:
        missing.append(f"GRANT USAGE, CREATE ON SCHEMA public TO {role};")
    return missing


def _role(connection: psycopg.Connection[Any]) -> str:
    """The role that statements run as, quoted as in SQL."""
    row = connection.execute("SELECT quote_ident(current_user)").fetchone()
    assert row is not None  # noqa: S101
    return str(row[0])


class _Extension(NamedTuple):
    """pgvector as it is in a database: of which version, and in which schema.

    ``usable``: whether the role may use the schema; ``visible``: whether it is on the search path;
    names are quoted as in SQL.
    """

    version: str
    schema: str
    usable: bool
    visible: bool
    role: str


def _extension(connection: psycopg.Connection[Any]) -> _Extension | None:
    row = connection.execute(
        "SELECT e.extversion, quote_ident(n.nspname), has_schema_privilege(n.oid, 'USAGE'),"
        " n.nspname = ANY(current_schemas(true)), quote_ident(current_user)"
        " FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace"
        " WHERE e.extname = 'vector'"
    ).fetchone()
    return None if row is None else _Extension(*row)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _plain(value: Any) -> Any:
    if isinstance(value, HalfVector | Vector):
        return value.to_list()
    return float(value) if isinstance(value, Decimal) else value
