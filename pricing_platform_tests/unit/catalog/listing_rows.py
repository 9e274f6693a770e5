"""Rows of ``curated.listings`` for the tests of families, splits and items.

Here belongs how such rows come about; what is made of them belongs to the tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.stores.warehouse import Warehouse


@dataclass(frozen=True)
class Listing:
    """One observation; the text follows from the title, the brand and the description."""

    item_id: str
    title: str
    source: str = "store"
    category: str = "tools"
    brand: str | None = None
    model_number: str | None = None
    description: str = ""
    price: float = 10.0
    snapshot: str = "2024-01"
    row_number: int = 1
    month: int = 1

    def row(self) -> dict[str, object]:
        text = "\n".join(part for part in (self.title, self.brand, self.description) if part)
        return {
            **{name: value for name, value in asdict(self).items() if name != "month"},
            "listing_id": f"L-{self.item_id}",
            "observed_at": datetime(2024, self.month, 1, tzinfo=UTC),
            "currency": "USD",
            "text": text,
            "content_hash": hashlib.sha256(text.encode()).hexdigest(),
            "quantity": None,
            "unit": None,
            "attributes": None,
            "url": None,
        }


def warehouse_with(folder: Path, listings: Iterable[Listing]) -> Warehouse:
    """A warehouse whose ``curated.listings`` holds the observations, in their order."""
    warehouse = Warehouse(folder / "warehouse.duckdb", threads=2)
    rows = [listing.row() for listing in listings]
    warehouse.replace("curated.listings", pl.DataFrame(rows, infer_schema_length=None))
    return warehouse


def write_products(folder: Path, listings: Iterable[Listing]) -> Path:
    """The Parquet file that families are made from, in the listings' order."""
    products = folder / "products.parquet"
    rows = [listing.row() for listing in listings]
    pl.DataFrame(rows, infer_schema_length=None).drop("attributes").write_parquet(products)
    return products


def hashed_words(texts: list[str]) -> npt.NDArray[np.float32]:
    """Embeddings of unit length by hashing words and pairs of words: near where texts are alike."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(n_features=512, ngram_range=(1, 2), token_pattern=r"\S+")
    return np.asarray(hashing.transform(texts).toarray(), dtype=np.float32)
