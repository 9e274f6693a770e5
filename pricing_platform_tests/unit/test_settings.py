"""What can be configured, what is refused, and that tests are not configured by anybody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings, load_settings


def test_tests_do_not_use_what_is_configured_where_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PRICING_POSTGRES_URL=postgresql://precious/data\n")
    monkeypatch.chdir(tmp_path)
    assert Settings().postgres_url is None
    configured = [name for name in os.environ if name.upper().startswith("PRICING_")]
    assert all(name.startswith("PRICING_TEST_") for name in configured)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PRICING_MEMORY_LIMIT", "abc", "no amount of memory"),
        ("PRICING_THREADS", "0", "greater than or equal to 1"),
        ("PRICING_TIME_ZONE", "Mars/X", "no time zone"),
        ("PRICING_TIME_ZONE", "../etc", "no time zone"),
        ("PRICING_DELETION_SHARE_LIMIT", "20", "less than or equal to 1"),
        ("PRICING_SEED", "-1", "greater than or equal to 0"),
        ("PRICING_LANGUAGE_TEST_ITEMS", "1", "no size of a sample"),
        ("PRICING_LANGUAGE_TEST_ITEMS", "every", "no size of a sample"),
        ("PRICING_LANGUAGE_VALIDATION_ITEMS", "-5", "no size of a sample"),
        ("PRICING_LANGUAGE_VALIDATION_ITEMS", "2.5", "no size of a sample"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(PlatformError, match=f"{name}: .*{told}") as raised:
        load_settings()
    assert str(raised.value).count(name) == 1


def test_a_sample_is_a_number_of_items_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (load_settings().language_test_items, load_settings().language_validation_items) == (
        150,
        100,
    )
    monkeypatch.setenv("PRICING_LANGUAGE_TEST_ITEMS", "all")
    monkeypatch.setenv("PRICING_LANGUAGE_VALIDATION_ITEMS", "2")
    assert load_settings().language_test_items == "all"
    assert load_settings().language_validation_items == 2


def test_prices_between_which_nothing_lies_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICING_PRICE_MINIMUM", "1000")
    with pytest.raises(PlatformError, match="\nPRICING_PRICE_MINIMUM must be below"):
        load_settings()


def test_an_empty_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICING_POSTGRES_URL", "")
    monkeypatch.setenv("PRICING_TIME_ZONE", "Europe/Vienna")
    assert load_settings().postgres_url is None
    assert load_settings().time_zone == "Europe/Vienna"


def test_no_value_is_told_since_it_may_be_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICING_SEED", "hunter2")
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("PRICING_SEEED", "PRICING_SEED"), ("pricing_hoem", "PRICING_HOME"),
     ("PRICING_LLM_BUDGET_UDS", "PRICING_LLM_BUDGET_USD")],
)  # fmt: skip
def test_a_misspelled_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "3")
    with pytest.raises(PlatformError, match=f"{name.upper()} is no setting; {meant} is"):
        load_settings()


def test_a_misspelled_name_in_the_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PRICING_SEEED=3\n")
    monkeypatch.setitem(Settings.model_config, "env_file", str(tmp_path / ".env"))
    with pytest.raises(PlatformError, match="PRICING_SEEED is no setting"):
        load_settings()


def test_names_that_are_like_none_belong_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICING_WAREHOUSE_OWNER", "us")
    monkeypatch.setenv("PRICING_TEST_PICTURES", "1")
    load_settings()
