from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.tabular.category_median import CategoryMedian
from pricing_platform.pricing.tabular.learned_comparables.learned_comparables import (
    LearnedComparables,
)
from pricing_platform.pricing.tabular.learned_comparables.retrieval_network import NetworkSizes
from pricing_platform.pricing.tabular.learned_comparables.retrieval_training import Schedule
from pricing_platform.pricing.tabular.log_price_technique import LogPriceTechnique
from pricing_platform.pricing.tabular.nearest_comparables import Comparables
from pricing_platform.pricing.tabular.stack import Stack
from pricing_platform.pricing.tabular.tfidf_ridge import TfidfRidge
from pricing_platform_tests.unit.pricing.generated_items import generated_items

SMALL = NetworkSizes(width=32, key_width=16, neighbours=8)
SHORT = Schedule(learning_rate=5e-3, fewest_epochs=12, most_epochs=12)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Networks this small are faster so, and do not wait for tests that run beside them."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def catalogue() -> ItemSet:
    return generated_items()


@pytest.fixture(scope="session")
def train(catalogue: ItemSet) -> ItemSet:
    return catalogue.split("train")


@pytest.fixture(scope="session")
def validation(catalogue: ItemSet) -> ItemSet:
    return catalogue.split("validation")


@pytest.fixture(scope="session")
def test_items(catalogue: ItemSet) -> ItemSet:
    return catalogue.split("test")


@pytest.fixture(scope="session")
def fitted(train: ItemSet, validation: ItemSet) -> dict[str, LogPriceTechnique]:
    """Every technique of this package that fits by itself, fitted once."""
    return {
        "category_median": CategoryMedian.fit(train, validation, seed=1),
        "tfidf_ridge": TfidfRidge.fit(train, validation, seed=1),
        "comparables": Comparables.fit(train, validation, seed=1),
        "stack": Stack.fit(train, validation, seed=1),
        "learned_comparables": LearnedComparables.fit(
            train, validation, seed=1, sizes=SMALL, schedule=SHORT
        ),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    empty = tmp_path / "saved"
    empty.mkdir()
    return empty
