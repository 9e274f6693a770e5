"""A run works with the settings that the definitions were built with, and shows no secret."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from pricing_platform.resources.configured import ConfiguredResource
from pricing_platform.settings import Settings

SECRET = "postgresql://me:hunter2@server/prices"


def settings_in_a_run(resource: ConfiguredResource) -> Settings:
    seen: list[Settings] = []

    @dg.asset
    def looks(configured: ConfiguredResource) -> None:
        seen.append(configured.settings())

    assert dg.materialize([looks], resources={"configured": resource}).success
    return seen[0]


def test_settings_given_in_code_are_those_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Settings(home=tmp_path, postgres_url=SECRET, executor="in_process", seed=42)
    resource = ConfiguredResource.from_settings(given)
    for name, value in (
        ("PRICING_POSTGRES_URL", "postgresql://elsewhere/other"),
        ("PRICING_EXECUTOR", "multiprocess"),
        ("PRICING_SEED", "7"),
        ("PRICING_THREADS", "3"),
    ):
        monkeypatch.setenv(name, value)
    assert settings_in_a_run(resource) == given


def test_no_server_given_is_no_server_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = ConfiguredResource.from_settings(Settings(home=tmp_path))
    monkeypatch.setenv("PRICING_POSTGRES_URL", SECRET)
    assert settings_in_a_run(resource).postgres_url is None


def test_a_resource_without_settings_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICING_POSTGRES_URL", SECRET)
    url = settings_in_a_run(ConfiguredResource()).postgres_url
    assert url is not None
    assert url.get_secret_value() == SECRET


def test_no_secret_stands_in_what_dagster_shows(tmp_path: Path) -> None:
    resource = ConfiguredResource.from_settings(Settings(home=tmp_path, postgres_url=SECRET))
    definitions = dg.Definitions(resources={"configured": resource})
    known = definitions.get_repository_def().get_top_level_resources()["configured"]
    shown = str(known.config_schema.default_value)
    assert str(tmp_path) in shown
    assert "hunter2" not in f"{shown} {resource!r}"
