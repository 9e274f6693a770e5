"""Makes the embeddings in Postgres what they should be: desired against actual, nothing remembered.

A row carries the fingerprint of all that its embedding follows from, and an embedding the
fingerprint of all that it was made from; where they differ, the embedding is stale. First the rows
are made to follow their source, in one transaction; then the stale ones are encoded in chunks,
outside any transaction, and written only where the row still has the fingerprint that was encoded.
So it does not matter when this is killed, or who else runs it at the same time. An encoder of other
dimensions makes the column follow and empties it, in the transaction that makes its rows stale.

Here belongs what is the same for everything that is embedded. What is embedded stands elsewhere.
"""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl
import psycopg
from psycopg import sql

from pricing_platform.errors import PlatformError
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.encoder import Vectors
from pricing_platform.stores.postgres import Postgres

MAX_DIMENSIONS = 16_000
"""Of a ``halfvec``."""

MAX_INDEXED_DIMENSIONS = 4_000
"""Of a ``halfvec`` in an HNSW index; longer vectors are searched exactly."""

_MAX_PLAIN_DIMENSIONS = 1_536  # two rows fit a page; longer vectors are kept beside the table
HNSW_M = 24
HNSW_EF_CONSTRUCTION = 64
_CHUNK = 4096  # rows encoded and written together
_REBUILD_SHARE = 0.5  # from here on, building the index anew is faster than inserting into it
_REBUILD_ROWS = 5_000


@dataclass(frozen=True)
class EmbeddedTable:
    """A Postgres table and the one that holds its rows' embeddings, joined by a text key.

    ``columns`` are those of ``rows`` besides the key, with their types; ``fingerprint`` is one of
    them. ``index`` names the HNSW index; without one, search is exact. ``guarded`` names the column
    whose values the guard counts, each of them gone with its last row; by default it counts rows.
    """

    rows: str
    embeddings: str
    key: str
    columns: dict[str, str]
    index: str | None = None
    guarded: str | None = None


class DesiredRows(Protocol):
    """Where the rows and their texts come from."""

    def batches(self) -> Iterator[pl.DataFrame]:
        """All rows, a batch at a time: the key and the table's columns, in their order."""
        ...

    def texts(self, keys: Sequence[str]) -> pl.DataFrame:
        """For those of the keys that are still there: ``key``, ``text``, ``fingerprint``."""
        ...


@dataclass(frozen=True)
class ReconciliationSummary:
    """What a reconciliation did, in rows; ``encoded`` and ``cached`` say how vectors were had.

    ``superseded`` rows were changed by somebody else while they were encoded, and left alone.
    """

    inserted: int
    updated: int
    deleted: int
    unchanged: int
    encoded: int
    cached: int
    superseded: int
    seconds: float


def reconcile(
    postgres: Postgres,
    table: EmbeddedTable,
    desired: DesiredRows,
    encoder: CachedEncoder,
    *,
    deletion_share_limit: float,
    progress: Progress = silent,
) -> ReconciliationSummary:
    """Brings rows and embeddings to what is desired; a second call finds nothing to do.

    Raises:
        PlatformError: when a larger share of the rows than the limit would be deleted, or the
            encoder's vectors fit no column; nothing is changed then.
    """
    start = time.perf_counter()
    _require_dimensions(table, encoder)
    with postgres.connection() as connection:
        deleted = _follow(connection, table, desired.batches(), deletion_share_limit)
        _fit_column(connection, table, encoder.dimensions)
    with postgres.connection() as connection:
        total, stale = _count(connection, table)
        if table.index and stale > max(_REBUILD_ROWS, _REBUILD_SHARE * total):
            connection.execute(_sql("DROP INDEX IF EXISTS {index}", table))
    written = _Written()
    for keys in _stale_keys(postgres, table):
        texts = desired.texts(keys)
        vectors, encoded = encoder.embed(texts["text"].to_list())
        with postgres.connection() as connection:
            written += _swap(connection, table, texts, vectors, encoder.identity, encoded)
        progress("Embedding", min(written.done, stale), stale)
    with postgres.connection() as connection:
        _finish(connection, table, changed=bool(deleted or written.done))
    return ReconciliationSummary(
        inserted=written.inserted,
        updated=written.updated,
        deleted=deleted,
        unchanged=total - stale,
        encoded=written.encoded,
        cached=written.done - written.encoded,
        superseded=written.done - written.inserted - written.updated,
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True)
class _Written:
    done: int = 0
    inserted: int = 0
    updated: int = 0
    encoded: int = 0

    def __add__(self, other: _Written) -> _Written:
        return _Written(
            self.done + other.done,
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.encoded + other.encoded,
        )


def _require_dimensions(table: EmbeddedTable, encoder: CachedEncoder) -> None:
    if encoder.dimensions > MAX_DIMENSIONS:
        raise PlatformError(
            f"The encoder {encoder.identity.split(':')[0]} gives {encoder.dimensions:,} dimensions,"
            f" and {table.embeddings} can hold {MAX_DIMENSIONS:,}.",
            "Set PRICING_ENCODER to an encoder with fewer.",
        )


def stored_dimensions(connection: psycopg.Connection[Any], embeddings: str) -> int:
    """The length of the vectors that a table of embeddings holds."""
    # Named in the statement: a name in a parameter is not led to scratch tables.
    query = "SELECT atttypmod FROM pg_attribute WHERE attrelid = {}::regclass AND attname = {}"
    named = map(sql.Literal, (embeddings, "embedding"))
    row = connection.execute(sql.SQL(query).format(*named)).fetchone()
    assert row is not None  # noqa: S101
    return int(row[0])


def _fit_column(connection: psycopg.Connection[Any], table: EmbeddedTable, dimensions: int) -> None:
    """Gives the column the encoder's dimensions, if it has others; its vectors go.

    They are another encoder's, and so stale. Readers wait, since nothing after this takes long.
    """
    if stored_dimensions(connection, table.embeddings) == dimensions:
        return
    storage = "PLAIN" if dimensions <= _MAX_PLAIN_DIMENSIONS else "EXTERNAL"
    try:
        connection.execute(_sql("TRUNCATE {embeddings}", table))
        if table.index:
            connection.execute(_sql("DROP INDEX IF EXISTS {index}", table))
        connection.execute(
            _sql(
                "ALTER TABLE {embeddings} ALTER COLUMN embedding TYPE halfvec({dimensions}),"
                " ALTER COLUMN embedding SET STORAGE {storage}",
                table,
                dimensions=sql.Literal(dimensions),
                storage=sql.SQL(storage),
            )
        )
    except psycopg.errors.InsufficientPrivilege:
        raise PlatformError(
            f"We may not change {table.embeddings} to {dimensions:,} dimensions: it is another"
            " user's.",
            "Ask the server's administrator to make the user of PRICING_POSTGRES_URL its owner.",
        ) from None


def _follow(
    connection: psycopg.Connection[Any],
    table: EmbeddedTable,
    batches: Iterable[pl.DataFrame],
    deletion_share_limit: float,
) -> int:
    """Makes the rows what is desired, in one transaction; returns how many were deleted."""
    _lock(connection, table)
    connection.execute(_sql("CREATE TEMP TABLE desired (LIKE {rows}) ON COMMIT DROP", table))
    types = ["text", *table.columns.values()]
    names = sql.SQL(", ").join(map(sql.Identifier, [table.key, *table.columns]))
    copy_rows(
        connection,
        sql.SQL("COPY desired ({}) FROM STDIN (FORMAT BINARY)").format(names),
        types,
        (row for batch in batches for row in batch.iter_rows()),
    )
    connection.execute("ANALYZE desired")
    _guard(connection, table, deletion_share_limit)
    deleted = connection.execute(
        _sql(
            "DELETE FROM {rows} AS r"
            " WHERE NOT EXISTS (SELECT FROM desired AS d WHERE d.{key} = r.{key})",
            table,
        )
    ).rowcount
    values = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in table.columns
    )
    # Column by column: a generated one is not computed in what is desired.
    was, wanted = (
        sql.SQL(", ").join(sql.Identifier(row, name) for name in table.columns)
        for row in ("r", "excluded")
    )
    connection.execute(
        _sql(
            "INSERT INTO {rows} AS r ({names}) SELECT {names} FROM desired ORDER BY {key}"
            " ON CONFLICT ({key}) DO UPDATE SET {values} WHERE ({was}) IS DISTINCT FROM ({wanted})",
            table,
            names=names,
            values=values,
            was=was,
            wanted=wanted,
        )
    )
    return deleted


def _guard(
    connection: psycopg.Connection[Any], table: EmbeddedTable, deletion_share_limit: float
) -> None:
    row = connection.execute(
        _sql(
            "SELECT count(*), count(*) FILTER (WHERE NOT stays) FROM ("
            "SELECT bool_or(d.{key} IS NOT NULL) AS stays"
            " FROM {rows} AS r LEFT JOIN desired AS d USING ({key}) GROUP BY r.{unit}) AS units",
            table,
            unit=sql.Identifier(table.guarded or table.key),
        )
    ).fetchone()
    assert row is not None  # noqa: S101
    total, doomed = row
    if total and doomed / total > deletion_share_limit:
        raise PlatformError(
            f"{doomed:,} of the {total:,} {table.guarded or 'row'}s of {table.rows}"
            f" ({doomed / total:.0%}) are no longer wanted, and at most"
            f" {deletion_share_limit:.0%} may be deleted at once. Nothing was changed.",
            "Look whether a source is missing or empty. If they are to go, run once with"
            f" PRICING_DELETION_SHARE_LIMIT={min(1.0, doomed / total + 0.005):.2f}.",
        )


def _count(connection: psycopg.Connection[Any], table: EmbeddedTable) -> tuple[int, int]:
    """How many rows there are, and how many have no embedding or a stale one."""
    row = connection.execute(
        _sql(
            "SELECT count(*), count(*) FILTER (WHERE e.fingerprint IS DISTINCT FROM r.fingerprint)"
            " FROM {rows} AS r LEFT JOIN {embeddings} AS e USING ({key})",
            table,
        )
    ).fetchone()
    assert row is not None  # noqa: S101
    return int(row[0]), int(row[1])


def _stale_keys(postgres: Postgres, table: EmbeddedTable) -> Iterator[list[str]]:
    """The keys of the rows to encode, each once, a chunk at a time."""
    last = ""
    while True:
        with postgres.connection() as connection:
            found = connection.execute(
                _sql(
                    "SELECT r.{key} FROM {rows} AS r LEFT JOIN {embeddings} AS e USING ({key})"
                    " WHERE r.{key} > %s AND e.fingerprint IS DISTINCT FROM r.fingerprint"
                    " ORDER BY r.{key} LIMIT %s",
                    table,
                ),
                [last, _CHUNK],
            ).fetchall()
        if not found:
            return
        last = found[-1][0]
        yield [row[0] for row in found]


def _swap(
    connection: psycopg.Connection[Any],
    table: EmbeddedTable,
    texts: pl.DataFrame,
    vectors: Vectors,
    model: str,
    encoded: int,
) -> _Written:
    """Writes the embeddings whose row still has the fingerprint that was encoded."""
    _lock(connection, table)
    connection.execute(
        _sql(
            # Of any dimensions: those of the column may have changed while this was encoded, and
            # then no row waits for it any more.
            "CREATE TEMP TABLE fresh ({key} text, fingerprint text, embedding halfvec)"
            " ON COMMIT DROP",
            table,
        )
    )
    copy_embeddings(
        connection,
        _sql("COPY fresh ({key}, fingerprint, embedding) FROM STDIN (FORMAT BINARY)", table),
        texts["key"].to_list(),
        texts["fingerprint"].to_list(),
        vectors,
    )
    new = connection.execute(
        _sql(
            "INSERT INTO {embeddings} AS e ({key}, fingerprint, model, embedding)"
            " SELECT f.{key}, f.fingerprint, %s, f.embedding"
            " FROM fresh AS f JOIN {rows} AS r USING ({key})"
            " WHERE r.fingerprint = f.fingerprint ORDER BY f.{key} FOR SHARE OF r"
            " ON CONFLICT ({key}) DO UPDATE SET fingerprint = excluded.fingerprint,"
            " model = excluded.model, embedding = excluded.embedding, embedded_at = now()"
            " WHERE e.fingerprint <> excluded.fingerprint RETURNING xmax = 0",
            table,
        ),
        [short_identity(model)],
    ).fetchall()
    inserted = sum(row[0] for row in new)
    return _Written(texts.height, inserted, len(new) - inserted, encoded)


def _finish(connection: psycopg.Connection[Any], table: EmbeddedTable, *, changed: bool) -> None:
    """Builds the index where there is none, and tells the planner what has changed."""
    _lock(connection, table)
    if table.index and stored_dimensions(connection, table.embeddings) <= MAX_INDEXED_DIMENSIONS:
        connection.execute(
            _sql(
                "CREATE INDEX IF NOT EXISTS {index_name} ON {embeddings}"
                " USING hnsw (embedding halfvec_cosine_ops)"
                " WITH (m = {m}, ef_construction = {ef_construction})",
                table,
                m=sql.Literal(HNSW_M),
                ef_construction=sql.Literal(HNSW_EF_CONSTRUCTION),
            )
        )
    if changed:
        connection.execute(_sql("ANALYZE {rows}", table))
        connection.execute(_sql("ANALYZE {embeddings}", table))


def copy_rows(
    connection: psycopg.Connection[Any],
    statement: sql.Composed,
    types: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Copies rows by the binary protocol, with the Postgres types that their columns have."""
    with connection.cursor().copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def copy_embeddings(
    connection: psycopg.Connection[Any],
    statement: sql.Composed,
    keys: Sequence[str],
    fingerprints: Sequence[str],
    vectors: Vectors,
) -> None:
    """Copies embeddings as ``halfvec`` by the binary protocol.

    The message is put together here, since formatting vectors one by one takes most of the time.
    Format: PostgreSQL's documentation of COPY, "Binary Format"; a ``halfvec`` is its dimensions and
    a reserved zero, 16 bits each, then its elements.
    """
    dimensions = vectors.shape[1]
    halves = vectors.astype(">f2").tobytes()
    width = 2 * dimensions
    before_vector = struct.pack(">iHH", 4 + width, dimensions, 0)
    length = struct.Struct(">i").pack
    parts = [b"PGCOPY\n\xff\r\n\0", bytes(8)]
    for row, names in enumerate(zip(keys, fingerprints, strict=True)):
        key, fingerprint = (name.encode() for name in names)
        parts += (b"\0\3", length(len(key)), key, length(len(fingerprint)), fingerprint)
        parts += (before_vector, halves[row * width : (row + 1) * width])
    with connection.cursor().copy(statement) as copy:
        copy.write(b"".join([*parts, b"\xff\xff"]))


def hold(connection: psycopg.Connection[Any], embeddings: str) -> None:
    """One writer at a time of these embeddings and of what they follow from.

    Until the end of the transaction; readers are not held up.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [embeddings])


def _lock(connection: psycopg.Connection[Any], table: EmbeddedTable) -> None:
    hold(connection, table.embeddings)


def content_hash_of(text: str) -> str:
    """The sha256 by which a text enters the fingerprint of its embedding."""
    return hashlib.sha256(text.encode()).hexdigest()


def short_identity(identity: str) -> str:
    """A model's identity as people read it: the name and the beginning of the sha256."""
    name, _, sha256 = identity.rpartition(":")
    return f"{name}:{sha256[:12]}"


def _sql(text: str, table: EmbeddedTable, **more: sql.Composable) -> sql.Composed:
    schema = table.embeddings.split(".")[0]
    return sql.SQL(text).format(
        rows=sql.Identifier(*table.rows.split(".")),
        embeddings=sql.Identifier(*table.embeddings.split(".")),
        key=sql.Identifier(table.key),
        index=sql.Identifier(schema, table.index or ""),
        index_name=sql.Identifier(table.index or ""),
        **more,
    )
