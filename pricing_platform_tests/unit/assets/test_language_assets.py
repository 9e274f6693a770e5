"""The assets that ask a language model: which technique they measure, and what they tell of a model
that is not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from pricing_platform.assets import language_evaluation
from pricing_platform.assets.language_evaluation import (
    _measured_or_kept,
    _swept,
    context_sweep,
    injection_resistance,
)
from pricing_platform.assets.reporting import RefreshConfig
from pricing_platform.assets.technique_inputs import TechniqueInputs
from pricing_platform.assets.training import base_model
from pricing_platform.errors import ModelNotAskedError, PlatformError
from pricing_platform.evaluation.context_sweep import KINDS
from pricing_platform.evaluation.injections import KINDS_PER_ITEM
from pricing_platform.language.model import Completion, CompletionRequest, PriceAnswer, Prompt
from pricing_platform.pricing.fitting import fit, load
from pricing_platform.pricing.prompting import rag
from pricing_platform.pricing.prompting.rag import Rag, RagOptions
from pricing_platform.pricing.registry import LANGUAGE_TECHNIQUES
from pricing_platform.progress import silent
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.settings import Settings
from pricing_platform.stores.provenance import Refreshed
from pricing_platform_tests.unit.assets.given_inputs import GivenInputs, given_inputs
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

    swept = pl.concat(_swept(kind, inputs, silent) for kind in KINDS)

    asked = {prompt.as_text() for prompt in model.priced}
    validation = inputs.items().split("validation")
    counts = swept.filter(kind="comparables")["count"].to_list()
    assert len(counts) > 2
    for count in counts:
        shown = fitted.with_options(replace(fitted.options, count=count)).prompts(validation)
        assert len({at.prompt.as_text() for at in shown} & asked) == 5


def fitted_inputs(folder: Path, model: ScriptedModel, *names: str, **settings: Any) -> GivenInputs:
    inputs = given_inputs(folder, model, **settings)
    for name in names:
        with inputs.kept_calls(f"fitting/{name}") as language:
            asked = language if name in LANGUAGE_TECHNIQUES else None
            fit(name, inputs.fitting, inputs.items, language=asked)
    return inputs


def measured(
    asset: dg.AssetsDefinition, inputs: GivenInputs, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What an asset tells that works on these inputs."""
    monkeypatch.setattr(TechniqueInputs, "current", lambda *_: inputs)
    result: Any = asset(
        context=dg.build_asset_context(),
        config=RefreshConfig(),
        warehouse=WarehouseResource.from_settings(inputs.settings),
        postgres=PostgresResource.from_settings(inputs.settings),
        models=ModelsResource.from_settings(inputs.settings),
        progress=LoggedProgress(),
    )
    return dict(result.metadata)


def hung_up(_prompt: Prompt, _request: CompletionRequest) -> Completion:
    raise PlatformError("The endpoint hung up.", "Start it again.")


def resistance(inputs: GivenInputs) -> dict[str, pl.DataFrame]:
    """The estimates that injections moved, by technique."""
    rows = inputs.store.frame("SELECT * FROM evaluation.injected_estimates ORDER BY ALL")
    return {str(name): part for (name,), part in rows.group_by("technique")}


def test_a_technique_that_cannot_be_asked_takes_no_injections_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_evaluation, "_REFERENCES", ("category_median",))
    monkeypatch.setattr(rag, "_WORD_WEIGHTS", (0.6,))
    names = ("category_median", *LANGUAGE_TECHNIQUES)
    inputs = fitted_inputs(tmp_path, ScriptedModel(first_shown), *names, injected_items=2)
    told = measured(injection_resistance, inputs, monkeypatch)
    before = resistance(inputs)
    assert set(before) == set(names)
    assert "not measured" not in told["summary"]
    assert not told["reused"]
    assert measured(injection_resistance, inputs, monkeypatch)["reused"]

    more = given_inputs(tmp_path, ScriptedModel(first_shown, hung_up), injected_items=3)
    told = measured(injection_resistance, more, monkeypatch)

    after = resistance(more)
    unasked = {"prompt_chain", "prompt_tools"}
    assert {name for name in names if after[name].equals(before[name])} == unasked
    assert {after[name].height for name in set(names) - unasked} == {3 * KINDS_PER_ITEM}
    assert told["summary"].endswith(
        "; not measured: prompt_chain, prompt_tools (The endpoint hung up.)"
    )
    assert "rag/percent_moved" in told
    assert "prompt_chain/percent_moved" not in told


def test_a_kind_of_context_that_cannot_be_asked_about_takes_no_sweep_from_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = fitted_inputs(
        tmp_path, ScriptedModel(first_shown), "prompt_multi_shot", measured_items=5
    )
    told = measured(context_sweep, inputs, monkeypatch)
    assert "not measured: comparables (There is no checkpoint of rag " in told["summary"]
    kinds = inputs.store.frame("SELECT DISTINCT kind FROM evaluation.context_sweep")["kind"]
    assert kinds.to_list() == ["shots"]
    assert "shots/mae" in told


def test_where_no_technique_can_be_asked_that_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> str:
        raise ModelNotAskedError("There is no such model.")

    given = given_inputs(tmp_path)
    inputs = replace(given, fitting=replace(given.fitting, language_model=nowhere))
    told = measured(context_sweep, inputs, monkeypatch)
    assert told["summary"] == "not measured: There is no such model."
    assert told["reused"]


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
