"""The whole platform as a user sees it: the real command on a home of its own."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pricing_platform.pricing.reference_rows import NOISE_FLOOR
from pricing_platform.pricing.registry import technique_names
from pricing_platform.pricing.serving.price_service import PricingService
from pricing_platform.settings import sql_folder
from pricing_platform.stores.queries import query_postgres, query_warehouse
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.integration.built_home import BuiltHome

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "sklearn",
    "lightgbm",
    "sentence_transformers",
    "openai",
    "bm25s",
)


def test_the_run_prints_a_leaderboard_and_where_the_report_is(built_home: BuiltHome) -> None:
    for name in (*technique_names(), NOISE_FLOOR):
        assert name in built_home.output
    report = built_home.settings.reports_folder / "evaluation.html"
    assert str(report) in built_home.output
    assert report.stat().st_size > 50_000


def test_the_noise_floor_is_below_every_technique(built_home: BuiltHome) -> None:
    """A technique below it on test has seen what it must not see."""
    board = Warehouse.from_settings(built_home.settings).frame(
        "SELECT technique, mae_low, mae FROM evaluation.leaderboard"
    )
    floor = board.filter(pl.col("technique") == NOISE_FLOOR)["mae"].item()
    techniques = board.filter(pl.col("technique") != NOISE_FLOOR)
    assert techniques.height == len(technique_names())
    assert techniques["mae"].min() > floor  # type: ignore[operator]


def test_a_second_run_encodes_and_trains_nothing(built_home: BuiltHome) -> None:
    ran = built_home.command("run")
    assert ran.returncode == 0, ran.stderr
    assert "0 texts encoded, 0 techniques trained" in ran.stdout
    told = [line for line in ran.stderr.splitlines() if "✓" in line]
    assert sum("✓ predictions[" in line for line in told) == len(technique_names()) + 1
    # That a source was asked again is an observation of its own.
    made = [line for line in told if "unchanged" not in line]
    assert [line.split()[1] for line in made] == ["fact_observations"]


def test_a_text_is_priced_with_comparables(built_home: BuiltHome) -> None:
    ran = built_home.command("price", "--json", "Stainless steel water bottle, 1 litre, insulated")
    assert ran.returncode == 0, ran.stderr
    priced = json.loads(ran.stdout)
    assert 0.5 <= priced["low"] <= priced["estimate"] <= priced["high"]
    assert len(priced["comparables"]) >= 5
    assert {"title", "price", "age_days"} <= priced["comparables"][0].keys()


def test_a_text_unlike_all_of_the_catalogue_is_priced_with_a_warning(
    built_home: BuiltHome,
) -> None:
    ran = built_home.command("price", "Seventeenth century treaty of peace, signed by both kings")
    assert ran.returncode == 0, ran.stderr
    assert "Nothing in the catalogue is much like this" in ran.stderr


@pytest.mark.parametrize("technique", technique_names())
def test_every_technique_prices_a_text(built_home: BuiltHome, technique: str) -> None:
    with PricingService.open(built_home.settings, technique) as service:
        priced = service.price_text("Oak desk, 120 x 60 cm, solid wood")
    assert priced.technique == technique
    assert 0 < priced.low <= priced.estimate <= priced.high


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_is_priced_row_by_row(built_home: BuiltHome, tmp_path: Path, suffix: str) -> None:
    products = pl.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "row": ["third", "second", "first"],
            "title": ["Steel bottle 1 l", "Oak desk", "Cotton towel, pack of 6"],
            "description": ["insulated", None, "soft"],
            "estimate": ["guessed", "guessed", "guessed"],
        }
    )
    source, target = tmp_path / f"new.{suffix}", tmp_path / "priced.parquet"
    getattr(products, {"csv": "write_csv", "jsonl": "write_ndjson"}.get(suffix, "write_parquet"))(
        source
    )
    ran = built_home.command("price", "--file", str(source), "--out", str(target))
    assert ran.returncode == 0, ran.stderr
    priced = pl.read_parquet(target)
    assert priced.columns[:2] == ["item_id", "row"]
    assert priced.select("item_id", "row", "title").equals(
        products.select("item_id", "row", "title")
    )
    assert "estimate gave way" in ran.stderr
    assert priced["failure"].null_count() == priced["unlike_all"].count() == 3
    assert priced.filter(pl.col("estimate") > 0).height == 3
    assert (priced["low"] <= priced["high"]).all()


def test_rows_that_are_not_priced_are_told(built_home: BuiltHome, tmp_path: Path) -> None:
    source, target = tmp_path / "new.csv", tmp_path / "priced.csv"
    source.write_text('title\nOak desk\n$12.99\n!!!\n"Treaty of peace, signed by both kings"\n')
    ran = built_home.command("price", "--file", str(source), "--out", str(target))
    assert ran.returncode == 0, ran.stderr
    assert "2 rows priced" in ran.stdout
    assert "1 not priced: nothing is left without prices and marks" in ran.stderr
    assert "1 not priced: no letter or digit" in ran.stderr
    assert "like nothing in the catalogue" in ran.stderr
    source.write_text("title\n!!!\n")
    assert built_home.command("price", "--file", str(source)).returncode == 1


def test_bytes_that_are_no_text_are_priced_as_what_is_left(built_home: BuiltHome) -> None:
    ran = built_home.command("price", os.fsdecode(b"\xff\xfe steel pan"))
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr


def test_sql_answers_in_all_formats_and_changes_nothing(built_home: BuiltHome) -> None:
    query = "SELECT technique, mae FROM evaluation.leaderboard ORDER BY mae"
    as_csv = built_home.command("sql", query, "--format", "csv")
    as_json = built_home.command("sql", query, "--format", "json")
    rows = list(csv.DictReader(io.StringIO(as_csv.stdout)))
    assert [r["technique"] for r in rows] == [
        json.loads(line)["technique"] for line in as_json.stdout.splitlines()
    ]
    assert "technique" in built_home.command("sql", query).stdout
    for statement in (
        "DELETE FROM curated.items",
        "COPY (SELECT 1) TO 'stolen.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
    ):
        refused = built_home.command("sql", statement)
        assert refused.returncode == 1
        assert "refused" in refused.stderr
        assert "Traceback" not in refused.stderr
    refused = built_home.command("sql", "--postgres", "DELETE FROM catalog.items")
    assert refused.returncode == 1
    assert "read-only" in refused.stderr


def test_postgres_answers_too(built_home: BuiltHome) -> None:
    counted = built_home.command(
        "sql", "--postgres", "--format", "csv", "SELECT count(*) FROM catalog.item_embeddings"
    )
    items = Warehouse.from_settings(built_home.settings).state("curated.items")
    assert items is not None
    assert counted.stdout.split() == ["count", str(items.row_count)]


@pytest.mark.parametrize(
    "path", sorted((sql_folder() / "queries").glob("*.sql")), ids=lambda p: p.stem
)
def test_every_shipped_query_has_an_answer(built_home: BuiltHome, path: Path) -> None:
    item_id = query_warehouse(
        built_home.settings, "SELECT item_id FROM curated.items ORDER BY item_id LIMIT 1", {}
    ).item()
    first, last = query_warehouse(
        built_home.settings, "SELECT min(observed_at), max(observed_at) FROM curated.listings", {}
    ).row(0)
    text = path.read_text(encoding="utf-8")
    known = {
        "item_id": item_id,
        "technique": "stack",
        "rows": "5",
        "count": "5",
        "days": "3650",
        "date": "2100-01-01",
        "subject": "Kvist Acoustics",
        "since": first,
        "until": last,
        "share": "0.001",
    }
    given = {n: v for n, v in known.items() if f"${n}" in text or f"%({n})s" in text}
    ask = query_postgres if path.name.endswith(".postgres.sql") else query_warehouse
    answer = ask(built_home.settings, text, given)
    assert answer.width
    # Of these a good run has none.
    none = ("failures", "llm_failures", "facts_stale.postgres", "refresh_failures.postgres")
    assert answer.height or path.stem in none


def test_a_query_file_is_asked_by_the_command(built_home: BuiltHome) -> None:
    path = sql_folder() / "queries" / "worst_misses.sql"
    arguments = ["-p", "technique=stack", "-p", "rows=3", "--format", "json"]
    ran = built_home.command("sql", f"@{path}", *arguments)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 3


def test_doctor_finds_all_well(built_home: BuiltHome) -> None:
    ran = built_home.command("doctor")
    assert ran.returncode == 0, ran.stdout
    for part in ("duckdb", "pgvector", "all-MiniLM-L6-v2", "best technique"):
        assert part in ran.stdout


def test_the_definitions_load_without_the_heavy_libraries(tmp_path: Path) -> None:
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in HEAVY)
    code = f"import sys; {blocked}; from pricing_platform.definitions import defs; defs()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_a_changed_snapshot_encodes_only_changed_texts(
    built_home: BuiltHome, tmp_path: Path
) -> None:
    """The new snapshot is a copy of the newest one in which two titles differ."""
    copy = tmp_path / "copy"
    # Embeddings of unchanged texts come from the cache, wherever the database is.
    shutil.copytree(built_home.folder / "catalogue", copy / "catalogue")
    (copy / "home").mkdir()
    shutil.copy(built_home.settings.warehouse_path, copy / "home" / "warehouse.duckdb")
    shutil.copytree(built_home.settings.cache_folder, copy / "home" / "cache")
    home = BuiltHome(copy, copy / "catalogue" / built_home.sources.name)
    newest = max((copy / "catalogue").glob("*/*.jsonl.gz"), key=lambda p: p.name)
    lines = gzip.decompress(newest.read_bytes()).splitlines()
    changed = 0
    for position, line in enumerate(lines):
        try:
            record = json.loads(line)
            float(record["price"])
        except (ValueError, TypeError, KeyError):
            continue
        if changed < 2 and isinstance(record.get("title"), str) and len(record["title"]) > 20:
            record["title"] = f"{record['title']} special edition {changed}"
            lines[position] = json.dumps(record).encode()
            changed += 1
    snapshot = newest.with_name("2031-01-31.jsonl.gz")
    snapshot.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
    from pricing_platform.build import build_platform

    encoded = build_platform(home.settings, stages=["ingest_and_embed"]).encoded
    assert encoded == 2


def test_a_failed_blocking_check_is_told_without_a_traceback(
    built_home: BuiltHome, tmp_path: Path
) -> None:
    home = BuiltHome(tmp_path, built_home.sources)
    built = built_home.settings
    for folder in (built.cache_folder, built.checkpoints_folder):
        shutil.copytree(folder, tmp_path / "home" / folder.name)
    shutil.copy(built.warehouse_path, tmp_path / "home")
    with Warehouse.from_settings(home.settings).write() as connection:
        connection.execute(
            "DELETE FROM evaluation.predictions WHERE technique = 'stack' AND item_id = ("
            "SELECT min(item_id) FROM evaluation.predictions WHERE split = 'test')"
        )
    ran = home.command("run")
    assert ran.returncode == 1
    expected = "Every technique has one row for every item that it was to price. (found 1)"
    assert f"check items_are_priced failed; expected: {expected}" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_port_in_use_is_told(built_home: BuiltHome) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = built_home.command("ui", "--port", str(taken.getsockname()[1]))
    assert ran.returncode == 1
    assert "--port" in ran.stderr
    assert "Traceback" not in ran.stderr
