"""The DuckDB warehouse: short connections, waiting for locks, atomic replacement of tables.

DuckDB lets one process write at a time, and an open writer shuts out every reader. So a connection
lives for one statement or one short transaction, and whoever computes something long reads, closes,
computes, and opens again to write. Here belong connections, locks, the schema and replacement; what
the tables mean belongs to the packages that fill them.
"""

from __future__ import annotations

import errno
import hashlib
import random
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import psutil
from filelock import FileLock, Timeout

from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings, sql_folder

_KEPT_TABLES = frozenset({"curated.split_assignments"})

VOLATILE_COLUMNS = frozenset(
    {
        "attempts",
        "created_at",
        "from_cache",
        "inference_seconds",
        "latency_ms",
        "latency_p50_ms",
        "latency_p95_ms",
        "materialized_at",
        "measuring_seconds",
        "training_core_seconds",
        "training_joules",
        "training_resumed",
        "training_seconds",
    }
)
"""Columns that differ between two runs over the same data, and so are no part of its version."""

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")
_LOCK_HOLDER = re.compile(r"\(PID (\d+)\)")
_PROCESS_LOCKS: dict[Path, threading.RLock] = {}
_PROCESS_LOCKS_GUARD = threading.Lock()


@dataclass(frozen=True)
class TableState:
    """What stands in a table (or one partition of it), and from which inputs it was made."""

    table: str
    partition: str
    fingerprint: str
    data_version: str
    row_count: int
    materialized_at: datetime


@dataclass(frozen=True)
class Column:
    """A column as the warehouse describes it."""

    name: str
    type: str
    description: str


class Warehouse:
    """A DuckDB file that many processes share because none keeps it open.

    Raises:
        PlatformError: when another process holds the file for longer than the time-out, when the
            disk is full, or when the file is not a DuckDB database.
    """

    def __init__(
        self,
        path: Path,
        *,
        memory_limit: str = "1GB",
        threads: int | None = None,
        lock_timeout_seconds: float = 60.0,
    ) -> None:
        self.path = path
        self._staging = path.parent / "cache" / "staging"
        self._configuration: dict[str, Any] = {
            "memory_limit": memory_limit,
            "temp_directory": str(path.parent / "cache" / "duckdb"),
            "preserve_insertion_order": "false",
            # Nothing reaches for the network: what DuckDB lacks is an error, not a download.
            "autoinstall_known_extensions": "false",
        }
        if threads is not None:
            self._configuration["threads"] = threads
        self._lock_timeout_seconds = lock_timeout_seconds
        self._schema_was_created = False
        with _PROCESS_LOCKS_GUARD:
            self._process_lock = _PROCESS_LOCKS.setdefault(path.resolve(), threading.RLock())

    @classmethod
    def from_settings(cls, settings: Settings) -> Warehouse:
        """The warehouse of the configured home."""
        return cls(
            settings.warehouse_path,
            memory_limit=settings.memory_limit,
            threads=settings.threads,
            lock_timeout_seconds=settings.lock_timeout_seconds,
        )

    @contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection for a statement or two; other readers are not shut out."""
        if not self.path.exists():
            raise PlatformError(
                f"There is no warehouse at {self.path} yet.",
                "Run `pricing-platform run` first, or set PRICING_HOME to the home that has one.",
            )
        with self._process_lock, self._open(read_only=True) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction: committed at the end, rolled back on an error."""
        make_folder(self.path.parent)
        with self._process_lock, self._open(read_only=False) as connection:
            connection.begin()
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def scratch(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """An in-memory database under the same memory limit, to read files with."""
        make_folder(Path(self._configuration["temp_directory"]))
        with _translate_errors(self.path):
            connection = duckdb.connect(":memory:", config=self._configuration)
            try:
                connection.execute("SET TimeZone = 'UTC'")
                yield connection
            finally:
                connection.close()

    @contextmanager
    def staging_folder(self) -> Iterator[Path]:
        """A temporary folder beside the warehouse for Parquet files on their way into it.

        Its lock is held as long as it is in use, so that those that a killed process left are
        known by theirs, and go.
        """
        make_folder(self._staging)
        with FileLock(self._staging.with_name(".staging.lock")):  # none is there without its lock
            _sweep(self._staging)
            folder = Path(tempfile.mkdtemp(dir=self._staging))
            lock = _lock_of(folder)
            lock.acquire()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()

    def frame(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> pl.DataFrame:
        """The rows of a query as a frame; the connection is closed when this returns."""
        with self.read() as connection:
            table = connection.sql(query, params=parameters or None).to_arrow_table()
        return pl.DataFrame(pl.from_arrow(table))

    def create_schema(self) -> None:
        """Creates every table of ``sql/warehouse`` that is new or whose definition changed.

        Looked at once by each object, since opening the file for it costs 30 ms.

        A changed definition empties its table, and one that is gone drops it, since they are
        recomputed from their inputs. The raw tables keep their rows: of some of them the files are
        gone; and so do those that say what was decided for good. (So a column that is added to one
        must have a default or take null.)
        """
        if self._schema_was_created and self.path.exists():
            return
        definitions = _definitions()
        if not (self.path.exists() and self._schema_is_current(definitions)):
            self._apply(definitions)
        self._schema_was_created = True

    def _apply(self, definitions: dict[str, tuple[str, str]]) -> None:
        with self.write() as connection:
            for schema in ("meta", "raw", "curated", "training", "evaluation"):
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS meta.definitions (name VARCHAR, sha256 VARCHAR)"
            )
            connection.execute(
                "CREATE TABLE IF NOT EXISTS meta.table_states (table_name VARCHAR,"
                " partition_key VARCHAR, fingerprint VARCHAR, data_version VARCHAR,"
                " row_count BIGINT, materialized_at TIMESTAMPTZ)"
            )
            known = dict(connection.execute("SELECT name, sha256 FROM meta.definitions").fetchall())
            for name in known.keys() - definitions.keys():
                _drop(connection, name)
                _forget(connection, name)
            for name, (sha256, text) in definitions.items():
                if known.get(name) != sha256:
                    if name in known and (name.startswith("raw.") or name in _KEPT_TABLES):
                        _redefine(connection, name, text)
                    else:
                        connection.execute(text)
                    _forget(connection, name)
                    connection.execute("INSERT INTO meta.definitions VALUES (?, ?)", [name, sha256])

    def replace(
        self,
        table: str,
        rows: pl.DataFrame | Path,
        *,
        partition: tuple[str, str] | None = None,
        fingerprint: str = "",
    ) -> TableState:
        """Replaces a table, or one partition of it, in one transaction; see :meth:`replace_all`."""
        states = self.replace_all({table: rows}, partition=partition, fingerprint=fingerprint)
        return states[table]

    def replace_all(
        self,
        tables: Mapping[str, pl.DataFrame | Path],
        *,
        partition: tuple[str, str] | None = None,
        fingerprint: str = "",
    ) -> dict[str, TableState]:
        """Replaces tables, or one partition of each, in one transaction.

        Args:
            tables: by schema and name, as in ``curated.items``, their rows: a frame, or a Parquet
                file for what is too large for one. Columns are matched by name.
            partition: the column and the value that all of the rows have in it.
            fingerprint: of the inputs from which the rows were made; see :meth:`state`.
        """
        for name in [*tables, *(partition[:1] if partition else ())]:
            _check_identifier(name)
        self.create_schema()
        with self.write() as connection:
            for table, rows in tables.items():
                _replace_rows(connection, table, rows, partition)
            return {
                table: _record_state(connection, table, partition, fingerprint) for table in tables
            }

    def state(self, table: str, partition: str = "") -> TableState | None:
        """What was last written to the table or partition, or None when it never was."""
        if not self.path.exists():
            return None
        with self.read() as connection:
            if not _has_states(connection):
                return None
            row = connection.execute(
                "SELECT * FROM meta.table_states WHERE table_name = ? AND partition_key = ?",
                [table, partition],
            ).fetchone()
        return TableState(*row) if row else None

    def data_version(self, table: str) -> str:
        """A version of all that stands in the table; equal contents give equal versions."""
        self.create_schema()
        states = self.frame(
            "SELECT partition_key, data_version FROM meta.table_states"
            " WHERE table_name = ? ORDER BY partition_key",
            [table],
        )
        return fingerprint(*states.iter_rows())[:32]

    def drop_partitions(self, table: str, column: str, *, keep: Sequence[str]) -> list[str]:
        """Removes the partitions whose key is not in ``keep``; returns the keys removed."""
        _check_identifier(table)
        _check_identifier(column)
        self.create_schema()
        known = self.frame(
            "SELECT partition_key FROM meta.table_states WHERE table_name = ? ORDER BY ALL", [table]
        )["partition_key"]
        gone = [key for key in known if key not in keep]
        if gone:
            with self.write() as connection:
                connection.execute(f"DELETE FROM {table} WHERE {column} IN ?", [gone])
                connection.execute(
                    "DELETE FROM meta.table_states WHERE table_name = ? AND partition_key IN ?",
                    [table, gone],
                )
        return gone

    def columns(self, table: str) -> list[Column]:
        """The table's columns with the descriptions that ``sql/warehouse`` gives them."""
        schema, name = table.split(".")
        with self.read() as connection:
            found = connection.execute(
                "SELECT column_name, data_type, coalesce(comment, '') FROM duckdb_columns()"
                " WHERE schema_name = ? AND table_name = ? ORDER BY column_index",
                [schema, name],
            ).fetchall()
        return [Column(*row) for row in found]

    def _schema_is_current(self, definitions: dict[str, tuple[str, str]]) -> bool:
        with self.read() as connection:
            if not _has_states(connection):
                return False
            known = dict(connection.execute("SELECT name, sha256 FROM meta.definitions").fetchall())
        return known == {name: sha256 for name, (sha256, _) in definitions.items()}

    @contextmanager
    def _open(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        with _translate_errors(self.path):
            connection = self._connect(read_only=read_only)
            try:
                yield connection
            finally:
                connection.close()

    def _connect(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self._lock_timeout_seconds
        pause = 0.01
        while True:
            try:
                connection = duckdb.connect(
                    str(self.path), read_only=read_only, config=self._configuration
                )
                connection.execute("SET TimeZone = 'UTC'")
                return connection
            except duckdb.IOException as error:
                if "Could not set lock" not in str(error):
                    raise
                if time.monotonic() > deadline:
                    raise PlatformError(
                        f"{self.path} is held by {_holder(str(error))}; waited"
                        f" {self._lock_timeout_seconds:.0f} seconds for it.",
                        "Let that process finish or stop it, then try again.",
                    ) from None
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 1.5, 0.5)


def fingerprint(*parts: object) -> str:
    """The sha256 of the parts, in order; equal inputs give equal fingerprints in every process."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = str(part).encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def make_folder(folder: Path) -> None:
    """Creates the folder and its parents, or says for people why that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlatformError(
            f"The folder {folder} cannot be created: {error.strerror}.",
            "Set PRICING_HOME to a folder that you may write to.",
        ) from None


def _sweep(staging: Path) -> None:
    """Deletes the staging folders that nobody uses any more."""
    for folder in staging.iterdir():
        with suppress(Timeout, OSError), _lock_of(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _lock_of(folder: Path) -> FileLock:
    return FileLock(folder / ".lock", blocking=False)


def _definitions() -> dict[str, tuple[str, str]]:
    """Name -> (sha256, text) of every file of sql/warehouse, tables before views."""
    found = {}
    folder = sql_folder() / "warehouse"
    for path in sorted(folder.glob("*/*.sql"), key=lambda p: (p.name.endswith(".view.sql"), p)):
        name = f"{path.parent.name}.{path.name.split('.')[0]}"
        text = path.read_text(encoding="utf-8")
        found[name] = (hashlib.sha256(text.encode()).hexdigest(), text)
    return found


def _redefine(connection: duckdb.DuckDBPyConnection, table: str, definition: str) -> None:
    """Gives a table another definition and keeps the columns that it still has."""
    connection.execute(f"CREATE TEMP TABLE kept AS FROM {table}")
    connection.execute(definition)
    columns = {
        source: [row[0] for row in connection.execute(f"DESCRIBE {source}").fetchall()]
        for source in (table, "kept")
    }
    common = ", ".join(f'"{name}"' for name in columns[table] if name in columns["kept"])
    connection.execute(f"INSERT INTO {table} BY NAME SELECT {common} FROM kept")
    connection.execute("DROP TABLE kept")


def _drop(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Drops a table or a view; a statement names which of the two."""
    found = connection.execute(
        "SELECT table_type FROM information_schema.tables"
        " WHERE table_schema = ? AND table_name = ?",
        name.split("."),
    ).fetchone()
    if found is not None:
        connection.execute(f"DROP {'VIEW' if found[0] == 'VIEW' else 'TABLE'} {name}")


def _forget(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Removes what is known of a table: what it was made from, and how it was defined."""
    connection.execute("DELETE FROM meta.table_states WHERE table_name = ?", [name])
    connection.execute("DELETE FROM meta.definitions WHERE name = ?", [name])


def _replace_rows(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    rows: pl.DataFrame | Path,
    partition: tuple[str, str] | None,
) -> None:
    if partition is None:
        connection.execute(f"DELETE FROM {table}")
    else:
        connection.execute(f"DELETE FROM {table} WHERE {partition[0]} = ?", [partition[1]])
    if isinstance(rows, Path):
        source, parameters = "read_parquet($path)", {"path": str(rows)}
    else:
        source, parameters = "new_rows", None
        connection.register("new_rows", rows.to_arrow())
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM {source}", parameters)


def _record_state(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    partition: tuple[str, str] | None,
    inputs: str,
) -> TableState:
    described = connection.execute(f"DESCRIBE {table}").fetchall()
    stable = ", ".join(f'"{row[0]}"' for row in described if row[0] not in VOLATILE_COLUMNS)
    where = "" if partition is None else f"WHERE {partition[0]} = ?"
    # The sum beside the exclusive or, because equal rows cancel out in the latter.
    row = connection.execute(
        f"SELECT count(*), coalesce(bit_xor(h), 0), coalesce(sum(h::HUGEINT), 0)"
        f" FROM (SELECT hash({stable}) AS h FROM {table} {where})",
        None if partition is None else [partition[1]],
    ).fetchone()
    assert row is not None  # noqa: S101
    key = "" if partition is None else partition[1]
    state = TableState(
        table=table,
        partition=key,
        fingerprint=inputs,
        data_version=fingerprint(*row)[:32],
        row_count=row[0],
        materialized_at=datetime.now(UTC),
    )
    connection.execute(
        "DELETE FROM meta.table_states WHERE table_name = ? AND partition_key = ?", [table, key]
    )
    connection.execute(
        "INSERT INTO meta.table_states VALUES (?, ?, ?, ?, ?, ?)",
        [table, key, inputs, state.data_version, state.row_count, state.materialized_at],
    )
    return state


def _has_states(connection: duckdb.DuckDBPyConnection) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'meta'"
            " AND table_name = 'table_states'"
        ).fetchone()
        is not None
    )


def _check_identifier(name: str) -> None:
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"not a table or column name: {name!r}")


def _holder(message: str) -> str:
    found = _LOCK_HOLDER.search(message)
    if not found:
        return "another process"
    try:
        command = " ".join(psutil.Process(int(found[1])).cmdline()[:4])
    except psutil.Error:
        command = "already ended"
    return f"process {found[1]} ({command})"


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise PlatformError(
            f"DuckDB has too little memory: {str(error).splitlines()[0]}",
            "Set PRICING_MEMORY_LIMIT to more, or PRICING_THREADS to fewer.",
        ) from error
    except duckdb.IOException as error:
        raise _as_platform_error(path, error) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _disk_is_full(path) from error


def _as_platform_error(path: Path, error: duckdb.IOException) -> Exception:
    text = str(error)
    if re.search(r"no space left|quota exceeded|disk full|not enough (disk )?space", text, re.I):
        return _disk_is_full(path)
    if "not a valid DuckDB database" in text or "newer version of DuckDB" in text:
        return PlatformError(
            f"{path} cannot be read as a DuckDB database: {text.splitlines()[0]}",
            "Move the file away and run again: every table in it is recomputed.",
        )
    return error


def _disk_is_full(path: Path) -> PlatformError:
    return PlatformError(
        f"The disk that holds {path.parent} is full; what was there before is unchanged.",
        "Free some space there, or set PRICING_HOME to a folder on another disk.",
    )
