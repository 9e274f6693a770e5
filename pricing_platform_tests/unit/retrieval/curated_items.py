"""Items for tests, as curation leaves them in the warehouse."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import numpy as np
import polars as pl

from pricing_platform.stores.warehouse import Warehouse

_KINDS = ("drill", "lamp", "router", "kettle", "chair")
_TRAITS = ("steel", "black", "cordless", "small", "bright", "used", "blue", "oak", "quiet", "big")


def items(count: int, *, categories: int = 4) -> pl.DataFrame:
    """Deterministic items with overlapping words; two in a row are of one family."""
    random = np.random.default_rng(7)
    rows = range(count)
    words = [
        [_KINDS[random.integers(5)], *(_TRAITS[i] for i in random.integers(10, size=4)), f"N{row}"]
        for row in rows
    ]
    texts = [" ".join(found) for found in words]
    days = [datetime(2026, 1, 1 + row % 28, tzinfo=UTC) for row in rows]
    return pl.DataFrame(
        {
            "item_id": [f"shop:{row:05d}" for row in rows],
            "source": ["shop"] * count,
            "listing_id": [f"{row:05d}" for row in rows],
            "title": [text.title() for text in texts],
            "text": texts,
            "category": [f"category {row % categories}" for row in rows],
            "price": [1.0 + row for row in rows],
            "currency": ["USD"] * count,
            "price_observed_at": days,
            "family_id": [f"family {row // 2}" for row in rows],
            "split": ["test" if row % 10 == 0 else "train" for row in rows],
        },
        schema_overrides={"price_observed_at": pl.Datetime("us", "UTC")},
    )


def put(warehouse: Warehouse, frame: pl.DataFrame) -> None:
    warehouse.replace(
        "curated.items",
        frame.with_columns(
            content_hash=pl.col("text").map_elements(
                lambda text: hashlib.sha256(text.encode()).hexdigest(), return_dtype=pl.String
            )
        ),
    )


def with_text(frame: pl.DataFrame, item_ids: list[str], suffix: str) -> pl.DataFrame:
    """The same items, some of them with another text."""
    changed = pl.when(pl.col("item_id").is_in(item_ids))
    return frame.with_columns(text=changed.then(pl.col("text") + suffix).otherwise(pl.col("text")))
