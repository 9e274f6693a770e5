"""The asset of techniques that ask a language model, where an endpoint is to fine-tune one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from pricing_platform.assets.reporting import RefreshConfig
from pricing_platform.assets.technique_inputs import TechniqueInputs
from pricing_platform.assets.training import language_techniques
from pricing_platform.finetuning.hosted.configuration import HostedTraining
from pricing_platform.language.endpoint import EndpointLanguageModel
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.response_cache import ResponseCache
from pricing_platform.pricing.registry import LANGUAGE_TECHNIQUES
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.assets.given_inputs import given_inputs
from pricing_platform_tests.unit.finetuning.hosted.fine_tuning_server import (
    BASE,
    KEY,
    FineTuningServer,
)


@pytest.fixture
def server() -> Iterator[tuple[FineTuningServer, str]]:
    server = FineTuningServer()
    with server.running() as url:
        yield server, url


def materialized(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, *, fine_tuning: bool
) -> tuple[Any, dict[str, Any]]:
    """The inputs of the asset and what it told."""
    named = {
        "llm_base_url": SecretStr(url),
        "llm_api_key": SecretStr(KEY),
        "llm_model": BASE,
        "llm_fine_tuning": fine_tuning,
        "llm_fine_tuning_items": 100,
    }
    settings = Settings(home=folder, **named)
    cache = ResponseCache.from_settings(settings)
    model = EndpointLanguageModel(EndpointConfiguration.from_settings(settings), cache)
    given = given_inputs(folder, model, **named)
    hosted = HostedTraining.from_settings(settings)
    if hosted is not None:
        hosted = replace(hosted, first_look_seconds=0.001, longest_look_seconds=0.01)
    inputs = replace(given, fitting=replace(given.fitting, hosted=hosted))
    monkeypatch.setattr(TechniqueInputs, "current", lambda *_: inputs)
    result: Any = language_techniques(
        context=dg.build_asset_context(),
        config=RefreshConfig(),
        warehouse=WarehouseResource.from_settings(settings),
        postgres=PostgresResource.from_settings(settings),
        models=ModelsResource.from_settings(settings),
        progress=LoggedProgress(),
    )
    cache.close()
    return inputs, result.metadata


def test_it_is_fitted_though_its_base_model_answers_no_prompts(
    tmp_path: Path, server: tuple[FineTuningServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = server
    inputs, told = materialized(tmp_path, url, monkeypatch, fine_tuning=True)
    assert set(told["unfitted"]) == set(LANGUAGE_TECHNIQUES)
    assert told["trained"] == 1
    assert told["endpoint_finetuned/trained_tokens"] > 0
    assert inputs.fitting.require("endpoint_finetuned").manifest.metrics["trained_examples"] == 100
    spent = inputs.store.frame(
        "SELECT technique, tokens_in FROM evaluation.llm_calls WHERE step = 'fine_tuning'"
    )
    (row,) = spent.rows()
    assert row == ("fitting/endpoint_finetuned", told["endpoint_finetuned/trained_tokens"])


def test_where_nobody_asks_for_it_nothing_is_uploaded_and_nothing_said_of_it(
    tmp_path: Path, server: tuple[FineTuningServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, url = server
    _, told = materialized(tmp_path, url, monkeypatch, fine_tuning=False)
    assert "endpoint_finetuned" not in str(told)
    assert at.files == {}
