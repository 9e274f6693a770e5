"""The identity of the language model that is asked: what fits and predictions follow from."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.errors import ModelNotAskedError
from pricing_platform.language.local import LocalLanguageModel, local_model
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.prompting import asked_model
from pricing_platform.pricing.prompting.asked_model import AskedModel
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.local.model_folders import build


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "whole_numbers"
    return str(build("whole_numbers", folder))


@pytest.fixture
def asked(named: str, tmp_path: Path) -> AskedModel:
    return AskedModel(Settings(home=tmp_path, base_model=named), Currency("USD"))


def test_the_identity_follows_how_the_model_computes(
    asked: AskedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for precision in ("float32", "mixed"):
        chosen: Any = partial(_chosen, precision)
        monkeypatch.setattr(local_model, "network_precision", chosen)
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


@pytest.mark.parametrize("changed", [{"price_maximum": 500.0}, {"quantization": "8bit"}])
def test_the_identity_follows_the_settings(asked: AskedModel, changed: dict[str, object]) -> None:
    other = asked.settings.model_copy(update=changed)
    assert replace(asked, settings=other).identity != asked.identity


def test_what_the_identity_says_is_what_the_opened_model_says(named: str) -> None:
    model = LocalLanguageModel.open("tiny", Path(named), highest_price=500)
    content = next(iter(model.base_weights.values()))
    told = local_model.answering_identity(content, highest_price=500, precision=model.precision)
    assert told == model.identity


def test_a_model_that_is_not_there_is_told_as_not_asked(asked: AskedModel, tmp_path: Path) -> None:
    settings = asked.settings.model_copy(update={"base_model": str(tmp_path / "nowhere")})
    gone = replace(asked, settings=settings)
    with pytest.raises(ModelNotAskedError, match="nowhere"):
        _ = gone.identity
    with pytest.raises(ModelNotAskedError, match="nowhere"):
        gone.open()
