"""The identity of the language model that is asked: what fits and predictions follow from."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pricing_platform.pricing.base_model import BaseModelFitting

from pricing_platform.language.local import LocalLanguageModel, local_model
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing import asked_model
from pricing_platform.pricing.asked_model import AskedModel
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.base_model.made_items import TINY
from pricing_platform_tests.unit.language.local.model_folders import build


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "whole_numbers"
    return str(build("whole_numbers", folder))


@pytest.fixture(params=["named", "own"])
def asked(request: pytest.FixtureRequest, named: str, tmp_path: Path) -> AskedModel:
    """A model on this machine: one that is named, and the platform's own, yet to be trained."""
    settings = Settings(home=tmp_path, base_model=named if request.param == "named" else None)
    fitting = BaseModelFitting("items", "documents", "encoder", TINY, Currency("USD"), 1, tmp_path)
    return AskedModel(settings, fitting)


def test_the_identity_follows_how_the_model_computes(
    asked: AskedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for precision in ("float32", "mixed"):
        chosen: Any = partial(_chosen, precision)
        monkeypatch.setattr(local_model, "network_precision", chosen)
        monkeypatch.setattr(asked_model, "default_precision", chosen)
        seen.add(asked.identity)
    assert len(seen) == 2


def _chosen(precision: str, *_: object) -> str:
    return precision


def test_the_identity_follows_how_prices_are_read(
    asked: AskedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for version in (1, 2):
        monkeypatch.setattr(asked_model, "READING_VERSION", version)
        seen.add(asked.identity)
    assert len(seen) == 2


def test_the_identity_follows_the_highest_price(asked: AskedModel) -> None:
    dearer = asked.settings.model_copy(update={"price_maximum": 500.0})
    assert replace(asked, settings=dearer).identity != asked.identity


def test_the_identity_of_the_own_model_follows_its_training(tmp_path: Path) -> None:
    fitting = BaseModelFitting("items", "documents", "encoder", TINY, Currency("USD"), 1, tmp_path)
    settings = Settings(home=tmp_path)
    one, other = (AskedModel(settings, replace(fitting, seed=seed)) for seed in (1, 2))
    assert one.identity != other.identity
    quantized = replace(one, settings=settings.model_copy(update={"quantization": "8bit"}))
    assert quantized.identity == one.identity, "the own model is never quantized"


def test_what_the_identity_says_is_what_the_opened_model_says(named: str) -> None:
    model = LocalLanguageModel.open("tiny", Path(named), highest_price=500)
    content = next(iter(model.base_weights.values()))
    told = local_model.answering_identity(content, highest_price=500, precision=model.precision)
    assert told == model.identity
