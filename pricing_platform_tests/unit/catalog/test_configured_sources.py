"""Whose sources are read: the user's, those of the working folder, or the bundled catalogue's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.catalog.bundled import SHOP_NAMES
from pricing_platform.catalog.configured_sources import configured_source_names
from pricing_platform.errors import PlatformError
from pricing_platform.resources import WarehouseResource
from pricing_platform.settings import Settings

MINE = """[[source]]
name = "mine"
path = "mine.csv"
format = "generic"
columns = { listing_id = "sku", title = "name", price = "price" }
"""


def names_in_a_run(settings: Settings) -> tuple[str, ...]:
    """What an asset sees, whose settings have been through Dagster's configuration."""
    return configured_source_names(WarehouseResource.from_settings(settings).settings())


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.csv").write_text("sku,name,price\n1,Bottle,9.5\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_any_the_bundled_catalogue_is_read(working_folder: Path) -> None:
    settings = Settings(home=working_folder / "home")
    assert configured_source_names(settings) == SHOP_NAMES
    assert names_in_a_run(settings) == SHOP_NAMES


def test_those_of_the_working_folder_are_read(working_folder: Path) -> None:
    (working_folder / "sources.toml").write_text(MINE)
    assert names_in_a_run(Settings(home=working_folder / "home")) == ("mine",)


def test_those_that_are_named_are_read_or_missed(working_folder: Path) -> None:
    (working_folder / "other.toml").write_text(MINE)
    named = Settings(home=working_folder / "home", sources=Path("other.toml"))
    assert names_in_a_run(named) == ("mine",)
    missing = Settings(home=working_folder / "home", sources=Path("missing.toml"))
    with pytest.raises(PlatformError, match=r"missing\.toml"):
        names_in_a_run(missing)
