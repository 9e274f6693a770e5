from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from pgvector import HalfVector
from psycopg.rows import dict_row

from pricing_platform.settings import sql_folder
from pricing_platform.stores.postgres import Postgres

QUERY = (sql_folder() / "queries" / "comparables_of_item.postgres.sql").read_text()
OBSERVED = datetime.now(UTC) - timedelta(days=3)


@pytest.fixture
def connection(postgres: Postgres) -> Iterator[psycopg.Connection]:
    """Five items at growing angles from the first, and one without an embedding."""
    with postgres.connection() as connection:
        connection.row_factory = dict_row
        for number in range(6):
            connection.execute(
                "INSERT INTO catalog.items (item_id, source, listing_id, title, category, price,"
                " currency, price_observed_at, content_hash, fingerprint)"
                " VALUES (%s, 'harbour', %s, %s, 'kettles', %s, 'USD', %s, 'hash', 'print')",
                [f"item-{number}", f"{number}", f"Kettle {number}", 10.0 + number, OBSERVED],
            )
        for number in range(5):
            vector = np.zeros(384)
            vector[:2] = np.cos(0.2 * number), np.sin(0.2 * number)
            connection.execute(
                "INSERT INTO catalog.item_embeddings (item_id, fingerprint, model, embedding)"
                " VALUES (%s, 'print', 'encoder', %s)",
                [f"item-{number}", HalfVector(vector)],
            )
        yield connection


def test_comparables_are_the_nearest_others_with_price_and_age(
    connection: psycopg.Connection,
) -> None:
    rows = connection.execute(QUERY, {"item_id": "item-0", "count": 3}).fetchall()

    assert [row["item_id"] for row in rows] == ["item-1", "item-2", "item-3"]
    assert [row["price"] for row in rows] == [11.0, 12.0, 13.0]
    assert rows[0]["similarity"] == pytest.approx(np.cos(0.2), abs=1e-3)
    assert timedelta(days=3) <= rows[0]["price_age"] < timedelta(days=3, hours=1)


def test_a_product_without_an_embedding_has_no_comparables(connection: psycopg.Connection) -> None:
    for unknown in ("item-5", "no such item", "'; DROP TABLE catalog.items; --"):
        assert connection.execute(QUERY, {"item_id": unknown, "count": 3}).fetchall() == []


def test_the_hnsw_index_serves_the_query(connection: psycopg.Connection) -> None:
    connection.execute(
        "CREATE INDEX ON catalog.item_embeddings USING hnsw (embedding halfvec_cosine_ops)"
    )
    connection.execute("SET LOCAL enable_seqscan = off")
    plan = connection.execute(f"EXPLAIN {QUERY}", {"item_id": "item-0", "count": 3}).fetchall()

    assert "embedding_idx" in "\n".join(line["QUERY PLAN"] for line in plan)


def test_the_parameters_are_documented() -> None:
    comment = "\n".join(line for line in QUERY.splitlines() if line.startswith("--"))

    assert set(re.findall(r"%\((\w+)\)s", comment)) == {"item_id", "count"}
