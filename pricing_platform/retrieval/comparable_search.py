"""Comparables: the items most similar to a vector, with what they cost and how old that price is.

Search is by the HNSW index, or exact where a filter leaves so few items that looking at each of
them is both faster and right, or vectors are too long for an index. Here belong search and the
measurement of its recall. Estimating a price from comparables belongs to ``pricing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import psycopg
from pgvector import HalfVector

from pricing_platform.retrieval.encoder import Vectors
from pricing_platform.stores.postgres import Postgres

EF_SEARCH = 240
"""How many candidates the index keeps: recall for time; see :func:`measure_recall`."""

EXACT_ROWS = 2_000
"""Filters that leave no more items than this are searched exactly."""

_MAX_SCAN_TUPLES = 40_000
_TIE = 1e-6
_SCHEMA: dict[str, Any] = {
    "query_index": pl.Int64,
    "rank": pl.Int64,
    "item_id": pl.String,
    "source": pl.String,
    "category": pl.String,
    "title": pl.String,
    "similarity": pl.Float64,
    "price": pl.Float64,
    "currency": pl.String,
    "price_observed_at": pl.Datetime("us", "UTC"),
}

_FILTER = """
    (%(category)s::text IS NULL OR i.category = %(category)s)
    AND (%(split)s::text IS NULL OR i.split = %(split)s)
    AND (%(excluded_family)s::text IS NULL OR i.family_id IS DISTINCT FROM %(excluded_family)s)
"""
_COLUMNS = (
    "i.item_id, i.source, i.category, i.title, 1 - distance, i.price, i.currency,"
    " i.price_observed_at"
)
# The index gives the neighbours in roughly the right order, so they are sorted once more.
_BY_INDEX = f"""
WITH nearest AS MATERIALIZED (
    SELECT e.item_id, e.embedding <=> %(vector)s AS distance
    FROM catalog.item_embeddings AS e JOIN catalog.items AS i USING (item_id)
    WHERE {_FILTER}
    ORDER BY e.embedding <=> %(vector)s
    LIMIT %(k)s
)
SELECT {_COLUMNS} FROM nearest JOIN catalog.items AS i USING (item_id) ORDER BY distance, item_id
"""
_EXACTLY = f"""
WITH candidates AS MATERIALIZED (
    SELECT e.item_id, e.embedding <=> %(vector)s AS distance
    FROM catalog.items AS i JOIN catalog.item_embeddings AS e USING (item_id)
    WHERE {_FILTER}
),
nearest AS (SELECT * FROM candidates ORDER BY distance, item_id LIMIT %(k)s)
SELECT {_COLUMNS} FROM nearest JOIN catalog.items AS i USING (item_id) ORDER BY distance, item_id
"""
_MATCHING = f"SELECT count(*) FROM (SELECT FROM catalog.items AS i WHERE {_FILTER} LIMIT %(limit)s)"


@dataclass(frozen=True)
class Recall:
    """The share of the true nearest neighbours that the search finds.

    ``overall`` is without a filter, ``filtered`` under the category whose share of the items is
    nearest to one per cent; ``rows_returned`` is the fewest that a filtered search gave.
    ``by_index`` says whether the unfiltered search goes by the HNSW index at all.
    """

    overall: float
    filtered: float
    category: str | None
    category_share: float
    rows_returned: int
    by_index: bool


def find_comparables(
    postgres: Postgres,
    vectors: Vectors,
    k: int,
    *,
    category: str | None = None,
    split: str | None = None,
    excluded_family_ids: Sequence[str | None] | None = None,
    ef_search: int = EF_SEARCH,
    exact_rows: int = EXACT_ROWS,
) -> pl.DataFrame:
    """The ``k`` most similar items for each query, most similar first.

    Args:
        vectors: float32 of shape (queries, dimensions), each of unit length.
        k: how many for each query; there are fewer only where fewer match.
        category: items of this category only.
        split: items of this split only, as ``train``.
        excluded_family_ids: for each query the family that is not to be found, or None.
        ef_search: the index's candidates, for a measurement.
        exact_rows: up to how many matching items to search exactly, for a measurement.

    Returns:
        ``query_index``, ``rank`` (from 1), ``item_id``, ``source``, ``category``, ``title``,
        ``similarity`` (cosine), ``price``, ``currency``, ``price_observed_at``, and its ``age``.
    """
    families = excluded_family_ids or [None] * len(vectors)
    filters: dict[str, Any] = {"category": category, "split": split, "excluded_family": None}
    found: list[tuple[Any, ...]] = []
    with postgres.connection(read_only=True) as connection:
        exact = _matching(connection, filters, exact_rows + 1) <= exact_rows
        _set_index_search(connection, max(ef_search, k))
        for query, (vector, family) in enumerate(zip(vectors, families, strict=True)):
            asked = {
                **filters,
                "excluded_family": family,
                "vector": HalfVector(vector),
                "k": k,
            }
            rows = [] if exact else connection.execute(_BY_INDEX, asked).fetchall()
            # The index gives up where a filter's matches all lie far from the query.
            if len(rows) < k:
                rows = connection.execute(_EXACTLY, asked).fetchall()
            found += [(query, rank, *row) for rank, row in enumerate(rows, 1)]
    frame = pl.DataFrame(found, schema=_SCHEMA, orient="row")
    return frame.with_columns(age=datetime.now(UTC) - pl.col("price_observed_at"))


def measure_recall(
    postgres: Postgres,
    *,
    sample: int = 200,
    k: int = 10,
    seed: int = 42,
    ef_search: int = EF_SEARCH,
    exact_rows: int = EXACT_ROWS,
) -> Recall:
    """Recall at ``k`` against exact search, for a seeded sample of the items, at these settings.

    An item's own family is left out of its neighbours, which would be too easy to find.
    """
    vectors, families = _sampled(postgres, sample, seed)
    category, share = _narrow_category(postgres, k)

    def recall(category: str | None) -> tuple[float, int]:
        found, expected = (
            find_comparables(
                postgres,
                vectors,
                k,
                category=category,
                excluded_family_ids=families,
                ef_search=ef_search,
                exact_rows=limit,
            )
            for limit in (exact_rows, 2**31)
        )
        return _shared(found, expected), _fewest_rows(found, len(vectors))

    overall, rows = recall(None)
    filtered, rows = recall(category) if category is not None else (overall, rows)
    by_index = bool(len(vectors)) and _goes_by_index(postgres, vectors[0], k)
    return Recall(overall, filtered, category, share, rows, by_index)


def _goes_by_index(postgres: Postgres, vector: Vectors, k: int) -> bool:
    """Whether Postgres plans the unfiltered search over the HNSW index."""
    asked = {
        **dict.fromkeys(("category", "split", "excluded_family")),
        "vector": HalfVector(vector),
        "k": k,
    }
    with postgres.connection(read_only=True) as connection:
        _set_index_search(connection, EF_SEARCH)
        plan = connection.execute(f"EXPLAIN {_BY_INDEX}", asked).fetchall()
    return any("item_embeddings_hnsw" in line for (line,) in plan)


def _matching(connection: psycopg.Connection[Any], filters: dict[str, Any], limit: int) -> int:
    row = connection.execute(_MATCHING, {**filters, "limit": limit}).fetchone()
    assert row is not None  # noqa: S101
    return int(row[0])


def _set_index_search(connection: psycopg.Connection[Any], ef_search: int) -> None:
    """Until the end of the transaction; under a filter the scan goes on until it has enough."""
    connection.execute(
        "SELECT set_config('hnsw.ef_search', %s, true),"
        " set_config('hnsw.iterative_scan', 'relaxed_order', true),"
        " set_config('hnsw.max_scan_tuples', %s, true),"
        # A plan for any filter would not know how many items this one leaves.
        " set_config('plan_cache_mode', 'force_custom_plan', true)",
        [str(min(ef_search, 1000)), str(_MAX_SCAN_TUPLES)],
    )


def _sampled(postgres: Postgres, sample: int, seed: int) -> tuple[Vectors, list[str | None]]:
    with postgres.connection(read_only=True) as connection:
        rows = connection.execute(
            "SELECT e.embedding, i.family_id"
            " FROM catalog.item_embeddings AS e JOIN catalog.items AS i USING (item_id)"
            " ORDER BY md5(item_id || %s), item_id LIMIT %s",
            [str(seed), sample],
            prepare=False,  # a plan would outlive the column's dimensions
        ).fetchall()
    vectors = [row[0].to_numpy().astype(np.float32) for row in rows]
    return np.array(vectors, dtype=np.float32), [row[1] for row in rows]


def _narrow_category(postgres: Postgres, k: int) -> tuple[str | None, float]:
    """The category nearest to one per cent of the items, of those with more than ``2 k``."""
    found = postgres.frame(
        "SELECT category, items / total AS share FROM ("
        " SELECT category, count(*) AS items, sum(count(*)) OVER () AS total"
        " FROM catalog.items GROUP BY category) AS sizes"
        " WHERE category IS NOT NULL AND items > %s"
        " ORDER BY abs(ln(items / total / 0.01)), category LIMIT 1",
        [2 * k],
    )
    return (None, 1.0) if found.is_empty() else (found["category"][0], found["share"][0])


def _shared(found: pl.DataFrame, expected: pl.DataFrame) -> float:
    """The share of what was expected that was found; another item as similar is as good."""
    if expected.is_empty():
        return 1.0
    least = expected.group_by("query_index").agg(least=pl.col("similarity").min() - _TIE)
    good = found.join(least, on="query_index").filter(pl.col("similarity") >= pl.col("least"))
    return good.height / expected.height


def _fewest_rows(found: pl.DataFrame, queries: int) -> int:
    counts = np.bincount(found["query_index"].to_numpy(), minlength=queries)
    return int(counts.min(initial=found.height))
