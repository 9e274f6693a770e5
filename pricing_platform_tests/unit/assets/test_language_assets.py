"""The assets that ask a language model: which technique they measure, and what they tell of a model
that is not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pricing_platform.assets.language_evaluation import _measured_or_kept, _swept
from pricing_platform.assets.training import base_model
from pricing_platform.errors import ModelNotAskedError, PlatformError
from pricing_platform.language.model import PriceAnswer, Prompt
from pricing_platform.pricing import rag
from pricing_platform.pricing.fitting import fit, load
from pricing_platform.pricing.rag import Rag, RagOptions
from pricing_platform.progress import silent
from pricing_platform.resources import ModelsResource
from pricing_platform.settings import Settings
from pricing_platform.stores.provenance import Refreshed
from pricing_platform_tests.unit.assets.given_inputs import given_inputs
from pricing_platform_tests.unit.language.local.model_folders import build
from pricing_platform_tests.unit.language.scripted_model import USAGE, ScriptedModel

SHOWN = re.compile(r"Price: \$(\d+)")


def first_shown(prompt: Prompt) -> PriceAnswer:
    """Believes what stands first, so that the nearest had better stand there."""
    shown = [int(price) for price in SHOWN.findall(prompt.as_text())] or [30]
    return PriceAnswer(USAGE, text=f"{shown[0]}")


def test_the_sweep_shows_what_the_fitted_techniques_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rag, "_WORD_WEIGHTS", (0.6,))
    model = ScriptedModel(first_shown, context_window=400, prompt_forms=("chat", "plain"))
    inputs = given_inputs(tmp_path, model, measured_items=5)
    for name in ("prompt_multi_shot", "rag"):
        with inputs.kept_calls(f"fitting/{name}") as language:
            checkpoint, _ = fit(name, inputs.fitting, inputs.items, language=language)
            fitted = load(name, checkpoint, language())
    assert isinstance(fitted, Rag)
    assert fitted.options != RagOptions(count=fitted.options.count)  # or nothing is tested
    model.priced.clear()

    swept = _swept(inputs, silent)

    asked = {prompt.as_text() for prompt in model.priced}
    validation = inputs.items().split("validation")
    counts = swept.filter(kind="comparables")["count"].to_list()
    assert len(counts) > 2
    for count in counts:
        shown = fitted.with_options(replace(fitted.options, count=count)).prompts(validation)
        assert len({at.prompt.as_text() for at in shown} & asked) == 5


def materialized(home: Path, **settings: Any) -> tuple[str, dict[str, Any]]:
    """The data version of the base model, and what is told of it."""
    named = ModelsResource.from_settings(Settings(home=home, **settings))
    result: Any = base_model(dg.build_asset_context(), named)
    return result.data_version.value, result.metadata


def test_the_base_model_is_told_and_versioned_by_its_content(tmp_path: Path) -> None:
    folder = build("single_digits", tmp_path / "model")
    version, told = materialized(tmp_path, base_model=str(folder))
    assert told["name"] == str(folder)
    assert told["folder"].path == str(folder)
    for number in ("parameters", "layers", "vocabulary", "context_window", "bytes"):
        assert told[number] > 0
    assert "Licence: not stated" in told["model_card"].md_str
    assert materialized(tmp_path, base_model=str(folder))[0] == version
    (folder / "generation_config.json").write_text("{}")
    assert materialized(tmp_path, base_model=str(folder))[0] != version


def test_it_is_told_where_prompts_go_to_an_endpoint(tmp_path: Path) -> None:
    folder = str(build("single_digits", tmp_path / "model"))
    endpoint = {"llm_base_url": "http://127.0.0.1:9/v1", "llm_model": "large"}
    _, told = materialized(tmp_path, base_model=folder, **endpoint)
    assert told["summary"] == "prompts go to large on an endpoint"
    assert told["name"] == folder


def test_a_base_model_that_is_not_there_is_told_and_stops_nothing(tmp_path: Path) -> None:
    version, told = materialized(tmp_path, base_model=str(tmp_path / "nowhere"))
    assert told["summary"].startswith("not there: PRICING_BASE_MODEL is ")
    assert version


def raising(error: Exception) -> Callable[[], Refreshed]:
    def measured() -> Refreshed:
        raise error

    return measured


def test_what_a_model_keeps_from_being_measured_is_told() -> None:
    down = ModelNotAskedError("The endpoint is down.", "Start it.")
    refreshed, told = _measured_or_kept(dg.build_asset_context(), raising(down), dict)
    assert refreshed.reused
    assert told == {"summary": "not measured: The endpoint is down."}


def test_what_else_keeps_it_from_being_measured_stops_the_run() -> None:
    full = PlatformError("The disk is full.")
    with pytest.raises(PlatformError, match="disk is full"):
        _measured_or_kept(dg.build_asset_context(), raising(full), dict)
