"""The assets of a style, on a tiny model: trained once, measured, and told where they can't be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from pricing_platform.assets.style import style, style_adapter
from pricing_platform.cli import app
from pricing_platform.errors import PlatformError
from pricing_platform.resources import LoggedProgress, PostgresResource, WarehouseResource
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.finetuning.language.tiny_base import write_tiny_base
from pricing_platform_tests.unit.finetuning.style.made_style import made_style


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base"), family="three_digits")


@pytest.fixture
def settings(tmp_path: Path, base: Path, empty_database: str) -> Settings:
    pairs = [
        {"message": pair.message, "reply": pair.reply, "conversation": pair.conversation}
        for pair in made_style().pairs
    ]
    lines = "".join(json.dumps(pair) + "\n" for pair in pairs)
    (tmp_path / "pairs.jsonl").write_text(lines, encoding="utf-8")
    sources = tmp_path / "sources.toml"
    sources.write_text('[[style]]\nname = "made"\npairs = "pairs.jsonl"\n', encoding="utf-8")
    return Settings(
        home=tmp_path / "home",
        sources=sources,
        base_model=str(base),
        postgres_url=empty_database,
        style_seconds=2,
        style_replies=3,
    )


def materialized(settings: Settings) -> dict[str, dict[str, Any]]:
    """What the assets tell, by asset and key."""
    result = dg.materialize(
        [style_adapter, style],
        resources={
            "warehouse": WarehouseResource.from_settings(settings),
            "postgres": PostgresResource.from_settings(settings),
            "progress": LoggedProgress(),
        },
    )
    return {
        name: {
            key: value.value
            for key, value in result.asset_materializations_for_node(name)[0].metadata.items()
        }
        for name in ("style_adapter", "style")
    }


def configure(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """For a command, which reads the environment."""
    assert settings.postgres_url is not None
    for name, value in (
        ("HOME", settings.home),
        ("SOURCES", settings.sources),
        ("BASE_MODEL", settings.base_model),
        ("POSTGRES_URL", settings.postgres_url.get_secret_value()),
    ):
        monkeypatch.setenv(f"PRICING_{name}", str(value))


def test_a_style_is_trained_and_measured_once(settings: Settings) -> None:
    first, second = materialized(settings), materialized(settings)
    assert (first["style_adapter"]["trained"], second["style_adapter"]["trained"]) == (1, 0)
    assert (first["style"]["reused"], second["style"]["reused"]) == (False, True)
    assert second["style_adapter"]["checkpoints"] == first["style_adapter"]["checkpoints"]
    told = first["style"]
    assert told["made/fine_tuned/perplexity"] < told["made/base/perplexity"]
    assert "made: " in told["summary"]
    assert "| message |" in told["replies"] or "message" in told["replies"].splitlines()[0]
    assert any(key.startswith("style_perplexity/") for key in told)
    store = Warehouse.from_settings(settings)
    assert store.frame("SELECT count(*) FROM evaluation.style_replies").item() == 3 * 5
    commented = store.columns("evaluation.style")
    assert all(column.description for column in commented)


def test_without_a_model_both_say_so_and_stop_nothing(settings: Settings, tmp_path: Path) -> None:
    told = materialized(settings.model_copy(update={"base_model": str(tmp_path / "nowhere")}))
    assert told["style_adapter"]["summary"].startswith("not trained: ")
    assert told["style"]["summary"].startswith("not measured: ")


def test_without_a_style_there_is_nothing_to_train(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text("", encoding="utf-8")
    told = materialized(settings.model_copy(update={"base_model": str(tmp_path / "nowhere")}))
    assert told["style_adapter"]["summary"] == "no style is configured"
    assert told["style"]["summary"] == "no style is configured"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ask", "Who?", "--style", "made", "--extract"], "--style is for an answer"),
        (["ask", "Who?", "--style", "grand"], "There is no style 'grand'; there is made."),
        (["reply", " "], "The message is empty"),
        (["reply", "Who?", "--style", "grand"], "There is no style 'grand'; there is made."),
        (["reply", "Who?"], "The style made has not been trained yet"),
    ],
)
def test_words_that_mean_nothing_are_told(
    settings: Settings, words: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PostgresResource.from_settings(settings).open() as server:
        server.migrate()
    configure(monkeypatch, settings)
    with pytest.raises(PlatformError, match=told):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_a_trained_style_replies(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    materialized(settings)
    configure(monkeypatch, settings)
    result = CliRunner().invoke(app, ["reply", "the steel lamp", "--json"], catch_exceptions=False)
    told = json.loads(result.stdout)
    assert told["question"] == "the steel lamp"
    assert (told["sentence"] is not None) == (result.exit_code == 0)
