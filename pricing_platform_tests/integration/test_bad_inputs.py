"""What users get wrong: one clear message, exit status 1, and what stood before still stands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.integration.built_home import BuiltHome

GENERIC = """
[[source]]
name = "mine"
path = "mine.{suffix}"
format = "generic"
columns = {{ listing_id = "sku", title = "title", price = "price" }}
"""


def products(rows: int, price: float | None = 9.5) -> str:
    return "".join(
        json.dumps({"sku": str(i), "title": f"Steel bottle number {i}", "price": price}) + "\n"
        for i in range(rows)
    )


def missing_file(folder: Path) -> str:
    return GENERIC.format(suffix="jsonl")


def empty_file(folder: Path) -> str:
    (folder / "mine.jsonl").touch()
    return GENERIC.format(suffix="jsonl")


def not_the_format(folder: Path) -> str:
    (folder / "mine.parquet").write_text("sku,title\n1,a\n")
    return GENERIC.format(suffix="parquet")


def unknown_column(folder: Path) -> str:
    (folder / "mine.csv").write_text("id,title,price\n1,Bottle,9.5\n")
    return GENERIC.format(suffix="csv")


def no_priced_rows(folder: Path) -> str:
    (folder / "mine.jsonl").write_text(products(200, price=None))
    return GENERIC.format(suffix="jsonl")


def two_of_one_name(folder: Path) -> str:
    (folder / "mine.jsonl").write_text(products(200))
    return GENERIC.format(suffix="jsonl") * 2


def too_few_items(folder: Path) -> str:
    (folder / "mine.jsonl").write_text(products(60))
    return GENERIC.format(suffix="jsonl")


def not_toml(folder: Path) -> str:
    return "[[source]\nname ="


BAD_SOURCES: list[tuple[Callable[[Path], str], str]] = [
    (missing_file, "no file matches"),
    (empty_file, "is empty"),
    (not_the_format, "mine.parquet"),
    (unknown_column, "sku"),
    (no_priced_rows, "no priced"),
    (two_of_one_name, "two sources named 'mine'"),
    (too_few_items, "at least 100"),
    (not_toml, "not valid TOML"),
]


@pytest.fixture
def standing(built_home: BuiltHome, tmp_path: Path) -> BuiltHome:
    """A home in which something stands already, and whose sources can be replaced."""
    home = BuiltHome(tmp_path, tmp_path / "sources.toml")
    (tmp_path / "home").mkdir()
    shutil.copy(built_home.settings.warehouse_path, home.settings.warehouse_path)
    return home


def tables(home: BuiltHome) -> pl.DataFrame:
    """All that was made of the raw rows; these, and the leaks found in them, follow the sources."""
    return Warehouse.from_settings(home.settings).frame(
        "SELECT table_name, partition_key, data_version FROM meta.table_states"
        " WHERE table_name NOT LIKE 'raw.%' AND table_name <> 'curated.price_leaks' ORDER BY ALL"
    )


def assert_told(ran: subprocess.CompletedProcess[str], part: str) -> None:
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert part in ran.stderr, ran.stderr
    assert ran.stderr.count("error:") == 1
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("prepare", "message"), BAD_SOURCES, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_bad_source_is_told_and_changes_nothing(
    standing: BuiltHome, prepare: Callable[[Path], str], message: str
) -> None:
    """But what was refused, which says why there is too little."""
    refused = pl.col("table_name") == "curated.rejected_listings"
    before = tables(standing)
    standing.sources.write_text(prepare(standing.folder))
    assert_told(standing.command("run"), message)
    assert tables(standing).filter(~refused).equals(before.filter(~refused))


def test_a_postgres_that_is_down_is_told(built_home: BuiltHome) -> None:
    url = "postgresql://someone:hunter2@127.0.0.1:9/catalogue"
    ran = built_home.command("run", environment={"PRICING_POSTGRES_URL": url})
    assert_told(ran, "cannot be reached")
    assert "hunter2" not in ran.stdout + ran.stderr


def test_a_wrong_setting_is_told_without_its_value(built_home: BuiltHome) -> None:
    ran = built_home.command("doctor", environment={"PRICING_SEED": "hunter2"})
    assert_told(ran, "PRICING_SEED")
    assert "hunter2" not in ran.stdout + ran.stderr


def test_tampered_weights_are_refused(built_home: BuiltHome) -> None:
    folder = built_home.settings.checkpoints_folder / "encoder_finetuned"
    weights = next(folder.glob("*/**/*.safetensors"))
    genuine = weights.read_bytes()
    try:
        weights.write_bytes(genuine[:-4] + b"evil")
        ran = built_home.command("price", "--technique", "encoder_finetuned", "Oak desk")
        assert_told(ran, "sha256")
    finally:
        weights.write_bytes(genuine)


def test_an_unknown_technique_is_told(built_home: BuiltHome) -> None:
    assert_told(built_home.command("price", "--technique", "guess", "Oak desk"), "'guess'")


def test_a_file_to_price_without_texts_is_told(built_home: BuiltHome, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("sku,colour\n1,red\n")
    target = tmp_path / "priced.parquet"
    ran = built_home.command("price", "--file", str(tmp_path / "new.csv"), "--out", str(target))
    assert_told(ran, "title")
    assert not target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_told_and_a_run_afterwards_succeeds(
    built_home: BuiltHome, tmp_path: Path
) -> None:
    small = tmp_path / "home"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        ran = BuiltHome(tmp_path, built_home.sources).command("run")
        assert_told(ran, "is full")
        assert not list(small.rglob("*.partial"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
