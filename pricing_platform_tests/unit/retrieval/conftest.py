"""A warehouse with items, and a cached encoder that costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.retrieval.curated_items import items, put
from pricing_platform_tests.unit.retrieval.hashing_encoder import HashingEncoder


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    found = Warehouse(tmp_path / "warehouse.duckdb")
    put(found, items(60))
    return found


@pytest.fixture
def hashing() -> HashingEncoder:
    return HashingEncoder()


@pytest.fixture
def encoder(tmp_path: Path, hashing: HashingEncoder) -> CachedEncoder:
    return CachedEncoder(hashing, tmp_path / "cache" / "embeddings.sqlite")
