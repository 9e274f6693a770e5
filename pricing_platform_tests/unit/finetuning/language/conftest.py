"""A tiny base model and one fit on it, shared by the tests of this package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.finetuning.language.price_model import (
    FitFolders,
    FittedPriceModel,
    LearntExamples,
    PricedExamples,
    PriceModelBase,
    PriceRecipe,
    fit_price_model,
)
from pricing_platform_tests.unit.finetuning.language.tiny_base import (
    priced_examples,
    write_tiny_base,
)

ADAPTERS = AdapterConfiguration(rank=4, alpha=8, adapted_share=1 / 3)
TRAINING = AdapterTraining(learning_rate=3e-3, head_learning_rate=3e-3, saved_steps=5)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base"))


@dataclass(frozen=True)
class Fit:
    model: FittedPriceModel
    metrics: dict[str, float]
    train: PricedExamples
    watched: list[float]


@pytest.fixture(scope="session")
def fitted(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    train, watched = priced_examples(160), list[float]()
    folder = tmp_path_factory.mktemp("fitted")
    model, metrics = fit_price_model(
        PriceModelBase(tiny_base, "tiny"),
        LearntExamples.all_of(train),
        PriceRecipe(3.0, ADAPTERS, TRAINING, seed=1),
        FitFolders(folder, folder / "work", folder / "pooled"),
        watch=lambda _model, _head, share: watched.append(share),
        watched_at=(0.5, 1.0),
    )
    return Fit(model, metrics, train, watched)
