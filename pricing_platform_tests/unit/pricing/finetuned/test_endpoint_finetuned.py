"""The technique from the catalogue to prices, against an endpoint that fine-tunes over HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import SecretStr, ValidationError

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.definitions import build_defs
from pricing_platform.errors import ModelNotAskedError
from pricing_platform.language import prompts
from pricing_platform.language.endpoint import EndpointLanguageModel
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.prompts import Currency
from pricing_platform.language.response_cache import ResponseCache
from pricing_platform.pricing.finetuned.endpoint_finetuned import EndpointFinetuned
from pricing_platform.pricing.fitting import EvaluationSample, Fitting, fit, load, predict
from pricing_platform.pricing.predictions import CALLS, PREDICTIONS, PredictionMaker, not_asked
from pricing_platform.pricing.prompting.language_technique import LanguageContext
from pricing_platform.pricing.registry import technique_names
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.finetuning.hosted.fine_tuning_server import (
    BASE,
    KEY,
    FineTuningServer,
)
from pricing_platform_tests.unit.language.scripted_model import ScriptedModel
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import bound_to, observed

TECHNIQUE = EndpointFinetuned.name


class Home:
    """A small catalogue, and the endpoint at a URL as the settings name it."""

    def __init__(self, folder: Path, url: str, **changes: Any) -> None:
        seen = observed(generated_items())
        self.items = ItemSet(seen.frame.with_columns(content_hash="text"), seen.embeddings)
        usual: dict[str, Any] = {
            "llm_api_key": SecretStr(KEY),
            "llm_model": BASE,
            "llm_fine_tuning": True,
            "llm_fine_tuning_items": 200,
            "llm_usd_per_million_training": 8.0,
            "llm_usd_per_million_input": 1.0,
        }
        named: dict[str, Any] = {"llm_base_url": SecretStr(url), **usual, **changes}
        self.settings = Settings(home=folder, **named)
        self.cache = ResponseCache.from_settings(self.settings)

    @property
    def fitting(self) -> Fitting:
        model = self.language.model
        found = Fitting(
            "1",
            "encoder",
            lambda: model.identity,
            lambda: "a base",
            3,
            1,
            self.settings.checkpoints_folder,
        )
        configured = Fitting.current(
            Warehouse(self.settings.home_folder / "warehouse.duckdb"),
            "encoder",
            lambda: "",
            lambda: "",
            self.settings,
        ).hosted
        assert configured is not None
        quick = replace(configured, first_look_seconds=0.001, longest_look_seconds=0.01)
        return replace(found, hosted=quick)

    @property
    def language(self) -> LanguageContext:
        model = EndpointLanguageModel(
            EndpointConfiguration.from_settings(self.settings), self.cache
        )
        return bound_to(model, technique=f"fitting/{TECHNIQUE}")


@pytest.fixture
def server() -> FineTuningServer:
    return FineTuningServer()


@pytest.fixture
def home(tmp_path: Path, server: FineTuningServer) -> Iterator[Home]:
    with server.running() as url:
        home = Home(tmp_path, url)
        Warehouse(tmp_path / "warehouse.duckdb").create_schema()
        yield home
        home.cache.close()


def test_it_is_trained_on_train_alone_and_prices_with_what_was_trained(
    home: Home, server: FineTuningServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    language = home.language
    checkpoint, reused = fit(TECHNIQUE, home.fitting, lambda: home.items, language=lambda: language)

    assert not reused
    uploaded = {chat["messages"][-2]["content"] for chat in server.chats()}
    texts = {
        split: {prompts.zero_shot(text, Currency("USD")).messages[-1].content for text in found}
        for split, found in (
            (split, home.items.split(split).frame["text"].to_list())
            for split in ("train", "validation", "test")
        )
    }
    assert len(uploaded) > 100
    assert uploaded <= texts["train"]
    watched = {chat["messages"][-2]["content"] for chat in server.chats("validation")}
    assert watched <= texts["validation"]
    sent = b"".join(server.received).decode(errors="replace")
    assert not any(json.dumps(text)[1:-1] in sent for text in texts["test"])
    assert KEY not in sent + caplog.text

    ledger = language.ledger.frame()
    trained = ledger.filter(pl.col("step") == "fine_tuning").row(0, named=True)
    metrics = checkpoint.manifest.metrics
    assert trained["model"] == BASE
    assert trained["tokens_in"] == metrics["trained_tokens"] > 0
    assert trained["cost_usd"] == pytest.approx(8 * metrics["trained_tokens"] / 1_000_000)
    assert not trained["from_cache"]
    made = server.jobs["ftjob-1"].model
    priced = ledger.filter(pl.col("step") == "price")
    assert priced["model"].unique().to_list() == [made]
    assert metrics["validation_failures"] == 0
    spent = ledger.filter(~pl.col("from_cache"))["cost_usd"].sum()
    assert home.cache.spending().total.usd == pytest.approx(spent)

    fitted = load(TECHNIQUE, checkpoint, home.language)
    assert fitted.model == made
    assert fitted.configuration["job"] == "ftjob-1"
    rows = predict(TECHNIQUE, checkpoint, home.items, language=home.language)
    test = rows.filter(pl.col("split") == "test")
    assert rows["model"].unique().to_list() == [made]
    error = (test["estimate"] - test["price"]).abs().mean()
    guess = (test["price"] - home.items.split("train").frame["price"].median()).abs().mean()
    assert error < 0.7 * guess  # type: ignore[operator]
    covered = ((test["low"] <= test["price"]) & (test["price"] <= test["high"])).mean()
    assert covered == pytest.approx(0.8, abs=0.2)


def test_fitted_anew_it_trains_nothing_anew(home: Home, server: FineTuningServer) -> None:
    def fitted(*, force: bool) -> list[bool]:
        """Whether what the ledger says of trainings was paid for before."""
        language = home.language
        fit(TECHNIQUE, home.fitting, lambda: home.items, language=lambda: language, force=force)
        trained = language.ledger.frame().filter(pl.col("step") == "fine_tuning")
        return trained["from_cache"].to_list()

    assert fitted(force=False) == [False]
    assert fitted(force=True) == [True]
    assert server.count("POST /fine_tuning/jobs") == 1


def test_it_is_shown_no_more_items_than_asked_for(tmp_path: Path, server: FineTuningServer) -> None:
    with server.running() as url:
        home = Home(tmp_path, url, llm_fine_tuning_items=40)
        fit(TECHNIQUE, home.fitting, lambda: home.items, language=lambda: home.language)
    assert len(server.chats()) == 40


def test_items_of_another_split_never_leave(home: Home, server: FineTuningServer) -> None:
    everything, validation = home.items, home.items.split("validation")
    with pytest.raises(ValueError, match="of train, items of test, validation are given"):
        EndpointFinetuned.fit(
            everything, validation, seed=1, language=home.language, training=home.fitting.hosted
        )
    assert server.received == []


def test_a_training_that_comes_to_nothing_leaves_rows_that_say_so_and_is_gone_on_with(
    home: Home, server: FineTuningServer
) -> None:
    server.goes_on = True
    assert home.fitting.hosted is not None
    impatient = replace(home.fitting, hosted=replace(home.fitting.hosted, wait_seconds=0.0))
    with pytest.raises(ModelNotAskedError, match=r"ftjob-1 .* is still queued") as told:
        fit(TECHNIQUE, impatient, lambda: home.items, language=lambda: home.language)
    store = Warehouse(home.settings.home_folder / "warehouse.duckdb")

    def maker() -> PredictionMaker:
        return PredictionMaker(
            store,
            home.fitting,
            lambda: home.items,
            references=pl.DataFrame,
            language=lambda: home.language,
            fine_tuning=lambda: pytest.fail("nothing is fine-tuned here"),
            told_version=lambda: "1",
            sample=EvaluationSample(10, 20, 3),
        )

    with pytest.raises(ModelNotAskedError, match="no checkpoint"):
        maker().refresh(TECHNIQUE)
    maker().record_failure(TECHNIQUE, told.value)
    assert "is still queued" in not_asked(store)[TECHNIQUE]

    server.goes_on = False
    fit(TECHNIQUE, home.fitting, lambda: home.items, language=lambda: home.language)
    maker().refresh(TECHNIQUE)
    rows = store.frame(f"SELECT * FROM {PREDICTIONS}")
    assert rows.height == 30
    assert np.isfinite(rows["estimate"].to_numpy()).all()
    assert store.frame(f"SELECT * FROM {CALLS} WHERE technique = ?", [TECHNIQUE]).height == 30
    assert server.count("POST /fine_tuning/jobs") == 1


def test_a_model_on_this_machine_can_not_be_trained_so(home: Home) -> None:
    language = bound_to(ScriptedModel())
    with pytest.raises(ModelNotAskedError, match="none is asked to do so"):
        fit(TECHNIQUE, home.fitting, lambda: home.items, language=lambda: language)
    checkpoint, _ = fit(TECHNIQUE, home.fitting, lambda: home.items, language=lambda: home.language)
    with pytest.raises(ModelNotAskedError, match="none is configured"):
        load(TECHNIQUE, checkpoint, language)


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_it_is_compared_only_where_it_is_asked_for(is_asked_for: bool, tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        llm_base_url=SecretStr("http://127.0.0.1:9/v1"),
        llm_model=BASE,
        llm_fine_tuning=is_asked_for,
    )
    names = technique_names(settings)
    assert (TECHNIQUE in names) == is_asked_for
    assert names[-1] == "ensemble"
    job = build_defs(settings).resolve_job_def("retrain_and_evaluate")
    assert job.partitions_def is not None
    partitions = job.partitions_def.get_partition_keys()
    assert tuple(partitions[:-1]) == names


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"llm_base_url": None}, "needs PRICING_LLM_BASE_URL"),
        ({"llm_model": None}, "and PRICING_LLM_MODEL"),
        ({"llm_api": "completions"}, "needs PRICING_LLM_API=chat"),
    ],
)
def test_settings_with_which_it_can_not_be_done_are_refused(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ValidationError, match=problem):
        Home(tmp_path, "http://127.0.0.1:9/v1", **changes)
