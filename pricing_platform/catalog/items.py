"""The catalogue as it stands now: one row a product as last observed, and the checks of that table.

Here belongs how ``curated.items`` follows from the kept observations and the families. Cleaning a
listing belongs to ``curation``, finding its family to ``families``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import Warehouse

ITEMS_VERSION = "1"
"""Raised when the same listings and families would give other items."""

TokenCounter = Callable[[list[str]], list[int]]
"""Counts the tokens of texts as the encoder reads them, special tokens included."""

LAST_OBSERVED = """
    SELECT listings.*
    FROM curated.listings
    JOIN (
        SELECT
            item_id,
            max({
                'observed_at': observed_at, 'snapshot': snapshot, 'row_number': row_number
            }) AS last
        FROM curated.price_observations
        GROUP BY item_id
    ) AS latest
        ON listings.item_id = latest.item_id
        AND listings.observed_at = latest.last.observed_at
        AND listings.snapshot = latest.last.snapshot
        AND listings.row_number = latest.last.row_number
"""
"""The last observation of every product."""

_TEXTS_PER_BATCH = 8_192


def build_items(warehouse: Warehouse, count_tokens: TokenCounter, target: Path) -> None:
    """Writes the rows of ``curated.items`` to a Parquet file.

    Reads ``curated.listings`` and ``curated.item_families``. Tokens are counted once for each
    distinct text, in batches and with no connection open; the joins are DuckDB's and spill to disk.

    Raises:
        PlatformError: when a kept product has no family yet.
    """
    with warehouse.staging_folder() as staging:
        listings, texts, counts = (
            staging / f"{n}.parquet" for n in ("listings", "texts", "counts")
        )
        _export_last_observed(warehouse, listings, texts)
        _write_token_counts(texts, count_tokens, counts)
        partial = target.with_suffix(".partial")
        with warehouse.scratch() as connection:
            connection.execute(
                """
                COPY (
                    SELECT
                        listings.* EXCLUDE (snapshot, row_number, observed_at, description),
                        observed_at AS price_observed_at,
                        token_count
                    FROM read_parquet($listings) AS listings
                    JOIN read_parquet($counts) USING (content_hash)
                    ORDER BY item_id
                ) TO $partial (FORMAT parquet)
                """,
                {"listings": str(listings), "counts": str(counts), "partial": str(partial)},
            )
        partial.replace(target)


def duplicate_items(warehouse: Warehouse) -> pl.DataFrame:
    """Items that stand in ``curated.items`` more than once: ``item_id`` and ``rows``."""
    return warehouse.frame(
        "SELECT item_id, count(*) AS rows FROM curated.items"
        " GROUP BY item_id HAVING count(*) > 1 ORDER BY item_id"
    )


def items_without_one_family(warehouse: Warehouse) -> pl.DataFrame:
    """Items without exactly one family and one split: ``item_id`` and ``families``."""
    return warehouse.frame(
        """
        SELECT items.item_id, count(families.family_id) AS families
        FROM (SELECT DISTINCT item_id, family_id, split FROM curated.items) AS items
        LEFT JOIN curated.item_families AS families
            ON families.item_id = items.item_id
            AND families.family_id = items.family_id
            AND families.split = items.split
        GROUP BY items.item_id
        HAVING count(families.family_id) <> 1 OR count(*) <> 1
        ORDER BY items.item_id
        """
    )


def unmatched_products(warehouse: Warehouse) -> pl.DataFrame:
    """Kept products that are no item, and items that are no kept product.

    Returns:
        ``item_id`` and ``missing_from``: items or listings.
    """
    return warehouse.frame(
        """
        SELECT
            coalesce(kept.item_id, items.item_id) AS item_id,
            CASE WHEN items.item_id IS NULL THEN 'items' ELSE 'listings' END AS missing_from
        FROM (SELECT DISTINCT item_id FROM curated.listings) AS kept
        FULL JOIN (SELECT DISTINCT item_id FROM curated.items) AS items
            ON kept.item_id = items.item_id
        WHERE kept.item_id IS NULL OR items.item_id IS NULL
        ORDER BY item_id
        """
    )


def catalogue_currency(warehouse: Warehouse) -> str:
    """The currency of most of the items, as an ISO 4217 code; estimates are in it."""
    return str(warehouse.frame("SELECT coalesce(mode(currency), 'USD') FROM curated.items").item())


def _export_last_observed(warehouse: Warehouse, listings: Path, texts: Path) -> None:
    with warehouse.read() as connection:
        ((orphans, example),) = connection.execute(
            "SELECT count(DISTINCT item_id), min(item_id) FROM curated.listings"
            " WHERE item_id NOT IN (SELECT item_id FROM curated.item_families)"
        ).fetchall()
        if orphans:
            raise PlatformError(
                f"{orphans} kept products have no family, {example} among them.",
                "Materialize item_families after listings, then items again.",
            )
        connection.execute(
            f"COPY (SELECT listings.*, families.family_id, families.split"
            f" FROM ({LAST_OBSERVED}) AS listings"
            f" JOIN curated.item_families AS families USING (item_id)) TO ? (FORMAT parquet)",
            [str(listings)],
        )
    with warehouse.scratch() as connection:
        connection.execute(
            "COPY (SELECT content_hash, any_value(text) AS text FROM read_parquet($listings)"
            " GROUP BY content_hash) TO $texts (FORMAT parquet)",
            {"listings": str(listings), "texts": str(texts)},
        )


def _write_token_counts(texts: Path, count_tokens: TokenCounter, counts: Path) -> None:
    """Writes content_hash and token_count of every distinct text."""
    schema = pa.schema([("content_hash", pa.string()), ("token_count", pa.int32())])
    with pq.ParquetWriter(counts, schema) as writer:
        for batch in _batches(texts):
            tokens = count_tokens(batch["text"].to_list())
            writer.write_table(
                pa.table(
                    {"content_hash": batch["content_hash"].to_list(), "token_count": tokens}, schema
                )
            )


def _batches(texts: Path) -> Iterator[pl.DataFrame]:
    with pq.ParquetFile(texts) as file:
        for batch in file.iter_batches(_TEXTS_PER_BATCH):
            yield pl.DataFrame(pl.from_arrow(batch))
