"""A small catalogue: prices follow from brand, kind, size and finish, with noise.

Families are pairs of near-equal items, as two stores list them. Embeddings are random directions of
the words, summed up, so that similar texts lie near each other as an encoder's would.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from pricing_platform.catalog.item_set import ItemSet

BRANDS = {"Acme": 1.0, "Bolt": 1.4, "Corva": 2.2, "Delmo": 0.7}
KINDS = {"drive": 40.0, "kettle": 25.0, "lamp": 15.0}
SIZES = (250, 500, 1000, 2000)
FINISHES = {"matte": 1.0, "steel": 1.3, "gold": 1.8}


def generated_items(families: int = 200, seed: int = 0) -> ItemSet:
    """Two items a family, about 80 % of the families in train and 10 % in either other split."""
    random = np.random.default_rng(seed)
    rows = []
    for family in range(families):
        brand, kind = random.choice(list(BRANDS)), random.choice(list(KINDS))
        size, finish = int(random.choice(SIZES)), random.choice(list(FINISHES))
        code = f"{kind[0].upper()}{family:04d}"
        price = BRANDS[brand] * KINDS[kind] * FINISHES[finish] * (size / 500) ** 0.5
        place = family % 10
        for store in ("north", "south"):
            rows.append(
                {
                    "item_id": f"{store}-{family:04d}",
                    "source": store,
                    "title": f"{brand} {code} {kind}",
                    "text": f"{brand} {code} {kind}\ncapacity: {size} GB\nfinish: {finish}",
                    "brand": None if family % 7 == 0 else str(brand),
                    "category": str(kind),
                    "price": round(price * float(np.exp(random.normal(0, 0.1))), 2),
                    "quantity": 1.0 if store == "north" else None,
                    "unit": "count" if store == "north" else None,
                    "attributes": {"capacity": f"{size} GB", "finish": str(finish)},
                    "family_id": f"family-{family:04d}",
                    "split": "test" if place == 9 else "validation" if place == 8 else "train",
                }
            )
    frame = pl.DataFrame(
        rows,
        schema_overrides={"attributes": pl.Map(pl.String, pl.String)},
        infer_schema_length=None,
    )
    return ItemSet(frame.sort("item_id"), embeddings_of(frame.sort("item_id")["text"].to_list()))


def embeddings_of(texts: list[str]) -> np.ndarray:
    """Unit vectors of shape (texts, 384)."""
    rows = []
    for text in texts:
        words = text.lower().split()
        rows.append(np.sum([_direction(word) for word in words or [""]], axis=0))
    vectors = np.array(rows, np.float32).reshape(-1, 384)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _direction(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(size=384)


def plain_texts(texts: list[str]) -> ItemSet:
    """What the command line prices: texts, and nothing else known of them."""
    count = len(texts)
    frame = pl.DataFrame(
        {
            "item_id": [f"text-{n}" for n in range(count)],
            "source": [None] * count,
            "title": texts,
            "text": texts,
            "brand": [None] * count,
            "category": [None] * count,
            "price": [None] * count,
            "quantity": [None] * count,
            "unit": [None] * count,
            "attributes": [None] * count,
            "family_id": [None] * count,
            "split": [None] * count,
        },
        schema_overrides={
            **dict.fromkeys(
                ("source", "title", "text", "brand", "category", "unit", "family_id", "split"),
                pl.String,
            ),
            "price": pl.Float64,
            "quantity": pl.Float64,
            "attributes": pl.Map(pl.String, pl.String),
        },
    )
    return ItemSet(frame, embeddings_of(texts))
