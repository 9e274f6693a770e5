"""The embeddings of items: ``curated.items`` of the warehouse, served from Postgres.

Here belongs what is particular to items. How rows and embeddings are brought to agree belongs to
``reconciliation``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.catalog.normalising import TEXT_TEMPLATE_VERSION
from pricing_platform.errors import PlatformError
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.reconciliation import (
    EmbeddedTable,
    ReconciliationSummary,
    reconcile,
    stored_dimensions,
)
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse, fingerprint

CHUNKER_VERSION = "whole text"  # an item is one chunk
ITEM_EMBEDDINGS_VERSION = f"1.{TEXT_TEMPLATE_VERSION}"

_BATCH = 20_000
_ITEMS = EmbeddedTable(
    rows="catalog.items",
    embeddings="catalog.item_embeddings",
    key="item_id",
    columns={
        "source": "text",
        "listing_id": "text",
        "title": "text",
        "brand": "text",
        "category": "text",
        "family_id": "text",
        "split": "text",
        "price": "float8",
        "currency": "text",
        "price_observed_at": "timestamptz",
        "url": "text",
        "content_hash": "text",
        "fingerprint": "text",
    },
    index="item_embeddings_hnsw",
)


class _CuratedItems:
    """The items as the warehouse has them; a connection is open only while a batch is read."""

    def __init__(self, warehouse: Warehouse, identity: str) -> None:
        self._warehouse = warehouse
        self._identity = identity

    def batches(self) -> Iterator[pl.DataFrame]:
        columns = ["item_id", *_ITEMS.columns]
        stored = [name for name in columns if name != "fingerprint"]
        for batch in self._read(f"SELECT {', '.join(stored)} FROM curated.items"):
            yield self._with_fingerprint(batch).select(columns)

    def identified(self) -> Iterator[pl.DataFrame]:
        """item_id, title and content_hash of all items, a batch at a time."""
        return self._read("SELECT item_id, title, content_hash FROM curated.items")

    def _read(self, select: str) -> Iterator[pl.DataFrame]:
        """By way of a file, so that no connection is open while the batches are worked on."""
        with self._warehouse.staging_folder() as folder:
            path = folder / "items.parquet"
            with self._warehouse.read() as connection:
                connection.execute(
                    f"COPY ({select}) TO $path (FORMAT PARQUET)", {"path": str(path)}
                )
            for batch in pq.ParquetFile(path).iter_batches(_BATCH):
                yield pl.DataFrame(pl.from_arrow(batch))

    def texts(self, keys: Sequence[str]) -> pl.DataFrame:
        found = self._warehouse.frame(
            "SELECT item_id AS key, text, content_hash FROM curated.items"
            " WHERE item_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY item_id",
            [list(keys)],
        )
        return self._with_fingerprint(found)

    def _with_fingerprint(self, rows: pl.DataFrame) -> pl.DataFrame:
        found = _fingerprints(rows["content_hash"], self._identity)
        return rows.with_columns(pl.Series("fingerprint", found, dtype=pl.String))


def reconcile_item_embeddings(
    warehouse: Warehouse,
    postgres: Postgres,
    encoder: CachedEncoder,
    *,
    deletion_share_limit: float,
    progress: Progress = silent,
) -> ReconciliationSummary:
    """Makes ``catalog.items`` and ``catalog.item_embeddings`` follow ``curated.items``.

    Raises:
        PlatformError: when more items than the limit would be deleted, or the encoder's vectors
            fit no column.
    """
    return reconcile(
        postgres,
        _ITEMS,
        _CuratedItems(warehouse, encoder.identity),
        encoder,
        deletion_share_limit=deletion_share_limit,
        progress=progress,
    )


def items_without_embedding(warehouse: Warehouse, postgres: Postgres) -> pl.DataFrame:
    """The items (item_id, title) that have no embedding of their current text in Postgres."""
    key = ["item_id", "content_hash"]
    missing = [
        batch.join(_embedded(postgres, batch["item_id"]), on=key, how="anti")
        for batch in _CuratedItems(warehouse, "").identified()
    ]
    schema = {"item_id": pl.String, "title": pl.String, "content_hash": pl.String}
    found = pl.concat([pl.DataFrame(schema=schema), *missing])
    return found.drop("content_hash").sort("item_id")


def _embedded(postgres: Postgres, item_ids: pl.Series) -> pl.DataFrame:
    """Those of the items that have a current embedding, and the hash of the text that it is of."""
    return postgres.frame(
        "SELECT item_id, content_hash FROM catalog.items AS r"
        " JOIN catalog.item_embeddings AS e USING (item_id)"
        " WHERE e.fingerprint = r.fingerprint AND item_id = ANY(%s)",
        [item_ids.to_list()],
    )


def load_item_set(
    warehouse: Warehouse,
    postgres: Postgres,
    encoder: str,
    where: str = "true",
    parameters: Mapping[str, Any] | None = None,
) -> ItemSet:
    """The items of ``curated.items`` beside their embeddings, in the order of their ids.

    Args:
        encoder: the identity of the encoder whose embeddings are asked for.
        where: a condition in DuckDB's SQL, with ``$name`` for each of the parameters.

    Raises:
        PlatformError: when an item has no embedding of its current text by this encoder.
    """
    frame = warehouse.frame(
        f"SELECT * FROM curated.items WHERE {where} ORDER BY item_id", parameters or ()
    )
    expected = _fingerprints(frame["content_hash"], encoder)
    with postgres.connection(read_only=True) as connection:
        dimensions = stored_dimensions(connection, _ITEMS.embeddings)
    embeddings = np.empty((frame.height, dimensions), dtype=np.float32)
    missing = 0
    for start in range(0, frame.height, _BATCH):
        wanted = dict(zip(frame["item_id"][start : start + _BATCH], expected[start:], strict=False))
        vectors = _stored_vectors(postgres, wanted)
        for row, item_id in enumerate(wanted, start):
            if item_id in vectors:
                embeddings[row] = vectors[item_id]
            else:
                missing += 1
    if missing:
        raise PlatformError(
            f"{missing:,} of {frame.height:,} items have no embedding of their current text by"
            f" {encoder.split(':')[0]} in Postgres.",
            "Materialize item_embeddings: pricing-platform run does.",
        )
    return ItemSet(frame, embeddings)


def _stored_vectors(
    postgres: Postgres, wanted: Mapping[str, str]
) -> dict[str, npt.NDArray[np.float16]]:
    """The embeddings of the items whose stored fingerprint is the one that is wanted."""
    with postgres.connection(read_only=True) as connection:
        rows = connection.cursor(binary=True).execute(
            "SELECT item_id, fingerprint, embedding FROM catalog.item_embeddings"
            " WHERE item_id = ANY(%s)",
            [list(wanted)],
            prepare=False,  # a plan would outlive the column's dimensions
        )
        return {key: vector.to_numpy() for key, found, vector in rows if found == wanted[key]}


def _fingerprints(content_hashes: pl.Series, encoder: str) -> list[str]:
    """Of all that an embedding follows from; the text enters by its sha256."""
    return [
        fingerprint(content, TEXT_TEMPLATE_VERSION, CHUNKER_VERSION, encoder)
        for content in content_hashes
    ]
