"""Binary COPY of ``halfvec`` rows against ``executemany``, into the same kind of table."""

from __future__ import annotations

import numpy as np
from pgvector import HalfVector
from psycopg import sql

from benchmarks.measurement import Comparison, in_turn
from pricing_platform.retrieval.reconciliation import copy_embeddings
from pricing_platform.stores.postgres import Postgres

ROWS = 10_000
_TABLE = "CREATE TEMP TABLE rows (key text, fingerprint text, embedding halfvec(384))"
_COPY = sql.SQL("COPY rows (key, fingerprint, embedding) FROM STDIN (FORMAT BINARY)").format()
_INSERT = "INSERT INTO rows VALUES (%s, %s, %s)"


def compare_binary_copy(postgres: Postgres) -> Comparison:
    """Both sides write the same keys and vectors; psycopg's ``executemany`` uses its pipeline."""
    vectors = np.random.default_rng(0).standard_normal((ROWS, 384)).astype(np.float32)
    keys = [f"item {row}" for row in range(ROWS)]
    with postgres.connection() as connection:
        connection.execute(_TABLE)

        def copy() -> None:
            connection.execute("TRUNCATE rows")
            copy_embeddings(connection, _COPY, keys, keys, vectors)

        def insert() -> None:
            connection.execute("TRUNCATE rows")
            rows = zip(keys, keys, map(HalfVector, vectors), strict=True)
            connection.cursor().executemany(_INSERT, rows)

        ours_seconds, peer_seconds = in_turn(copy, insert, rounds=5)
        connection.execute("DROP TABLE rows")
    ratio = peer_seconds / ours_seconds
    return Comparison(
        "binary COPY of halfvec",
        f"{ROWS / ours_seconds:,.0f} rows/s",
        f"executemany: {ROWS / peer_seconds:,.0f} rows/s",
        ratio,
        "times as fast",
        "4",
        ratio >= 4,
    )
