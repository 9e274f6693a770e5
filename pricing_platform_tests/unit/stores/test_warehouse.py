"""The warehouse against real DuckDB files, with real other processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.stores import warehouse as warehouse_module
from pricing_platform.stores.provenance import inputs_fingerprint, refresh
from pricing_platform.stores.warehouse import Warehouse, fingerprint

FAMILIES = "curated.item_families"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "home" / "warehouse.duckdb", lock_timeout_seconds=20)


def families(*item_ids: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": item_ids,
            "family_id": item_ids,
            "family_size": [1] * len(item_ids),
            "evidence": ["alone"] * len(item_ids),
            "split": ["train"] * len(item_ids),
        }
    )


def other_process(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_schema_describes_every_column(warehouse: Warehouse) -> None:
    warehouse.create_schema()
    tables = warehouse.frame(
        "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables()"
        " WHERE schema_name <> 'meta'"
    )["name"].to_list()
    assert "curated.items" in tables
    undescribed = [
        f"{table}.{column.name}"
        for table in tables
        for column in warehouse.columns(table)
        if not column.description
    ]
    assert undescribed == []


def test_replacing_leaves_only_the_new_rows(warehouse: Warehouse) -> None:
    warehouse.replace(FAMILIES, families("a", "b"))
    state = warehouse.replace(FAMILIES, families("c"))
    assert warehouse.frame(f"SELECT item_id FROM {FAMILIES}")["item_id"].to_list() == ["c"]
    assert state.row_count == 1


def test_what_is_no_longer_defined_is_dropped_once(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions = warehouse_module._definitions()
    gone = {
        "curated.old": ("1", "CREATE TABLE curated.old (a INTEGER)"),
        "evaluation.old": ("1", "CREATE VIEW evaluation.old AS SELECT 1 AS a"),
    }
    monkeypatch.setattr(warehouse_module, "_definitions", lambda: definitions | gone)
    warehouse.replace("curated.old", pl.DataFrame({"a": [1]}))
    monkeypatch.setattr(warehouse_module, "_definitions", lambda: definitions)
    Warehouse(warehouse.path).create_schema()
    tables = "SELECT table_name FROM information_schema.tables WHERE table_name = 'old'"
    assert warehouse.frame(tables).is_empty()
    assert warehouse.state("curated.old") is None

    def write() -> None:
        raise AssertionError("the schema is current, so nothing is to be written")

    again = Warehouse(warehouse.path)
    monkeypatch.setattr(again, "write", write)
    again.create_schema()


@pytest.mark.parametrize(("schema", "kept"), [("raw", [1]), ("curated", [])])
def test_a_changed_definition_empties_what_is_recomputed_and_keeps_what_was_observed(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, schema: str, kept: list[int]
) -> None:
    table, definitions = f"{schema}.changed", warehouse_module._definitions()

    def define(version: str, columns: str) -> None:
        changed = {table: (version, f"CREATE OR REPLACE TABLE {table} ({columns})")}
        monkeypatch.setattr(warehouse_module, "_definitions", lambda: definitions | changed)

    define("1", "a INTEGER, b INTEGER")
    warehouse.replace(table, pl.DataFrame({"a": [1], "b": [2]}))
    define("2", "c VARCHAR, a INTEGER")
    Warehouse(warehouse.path).create_schema()
    assert warehouse.columns(table)[0].name == "c"
    assert warehouse.frame(f"SELECT a FROM {table}")["a"].to_list() == kept
    assert warehouse.state(table) is None


def test_a_partition_is_replaced_alone(warehouse: Warehouse) -> None:
    rows = pl.DataFrame({"technique": ["x"], "item_id": ["1"]})
    warehouse.replace("evaluation.predictions", rows, partition=("technique", "x"))
    other = pl.DataFrame({"technique": ["y", "y"], "item_id": ["1", "2"]})
    warehouse.replace("evaluation.predictions", other, partition=("technique", "y"))
    warehouse.replace("evaluation.predictions", rows.head(0), partition=("technique", "x"))
    found = warehouse.frame("SELECT technique FROM evaluation.predictions")["technique"]
    assert found.to_list() == ["y", "y"]


def test_partitions_that_are_not_kept_are_dropped(warehouse: Warehouse) -> None:
    for key in ("x", "y"):
        rows = pl.DataFrame({"technique": [key], "item_id": ["1"]})
        warehouse.replace("evaluation.predictions", rows, partition=("technique", key))
    assert warehouse.drop_partitions("evaluation.predictions", "technique", keep=["y"]) == ["x"]
    assert warehouse.frame("SELECT technique FROM evaluation.predictions").rows() == [("y",)]
    assert warehouse.state("evaluation.predictions", "x") is None


def test_the_data_version_follows_content_not_order_or_time(warehouse: Warehouse) -> None:
    first = warehouse.replace(FAMILIES, families("a", "b"))
    again = warehouse.replace(FAMILIES, families("b", "a"))
    other = warehouse.replace(FAMILIES, families("a", "a", "b", "b"))
    assert first.data_version == again.data_version
    assert other.data_version != first.data_version


def test_the_data_version_leaves_out_volatile_columns(warehouse: Warehouse) -> None:
    versions = set()
    for latency in (1.0, 2.0):
        rows = pl.DataFrame({"technique": ["x"], "estimate": [5.0], "latency_ms": [latency]})
        versions.add(warehouse.replace("evaluation.predictions", rows).data_version)
    assert len(versions) == 1


def test_a_failing_replacement_leaves_the_old_rows(warehouse: Warehouse) -> None:
    warehouse.replace(FAMILIES, families("a"))
    wrong = families("b").with_columns(pl.lit("many").alias("family_size"))
    with pytest.raises(duckdb.Error):
        warehouse.replace(FAMILIES, wrong)
    assert warehouse.frame(f"SELECT item_id FROM {FAMILIES}").rows() == [("a",)]


def test_several_tables_are_replaced_together_or_not_at_all(warehouse: Warehouse) -> None:
    refused = pl.DataFrame({"source": ["s"], "rule": ["title_missing"]})
    warehouse.replace_all({FAMILIES: families("a"), "curated.rejected_listings": refused})
    wrong = pl.DataFrame({"row_number": ["not a number"]})
    with pytest.raises(duckdb.Error):
        warehouse.replace_all({FAMILIES: families("b"), "curated.rejected_listings": wrong})
    assert warehouse.frame(f"SELECT item_id FROM {FAMILIES}").rows() == [("a",)]
    assert warehouse.frame("SELECT rule FROM curated.rejected_listings").height == 1


def test_names_are_checked_before_they_reach_sql(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="not a table or column name"):
        warehouse.replace("curated.items; DROP TABLE curated.items", families("a"))
    with pytest.raises(ValueError, match="not a table or column name"):
        warehouse.replace(FAMILIES, families("a"), partition=("split = '' --", "train"))


def test_reading_before_anything_was_built_says_what_to_do(warehouse: Warehouse) -> None:
    with pytest.raises(PlatformError, match="pricing-platform run"):
        warehouse.frame("SELECT 1")


def test_a_file_that_is_no_database_is_named(warehouse: Warehouse) -> None:
    warehouse.path.parent.mkdir(parents=True)
    warehouse.path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(PlatformError, match=r"warehouse\.duckdb cannot be read"):
        warehouse.frame("SELECT 1")


def test_a_held_lock_is_waited_for(warehouse: Warehouse) -> None:
    warehouse.replace(FAMILIES, families("a"))
    code = """
        import duckdb, sys, time
        connection = duckdb.connect(sys.argv[1])
        print("held", flush=True)
        time.sleep(1.0)
        connection.close()
    """
    with other_process(code, warehouse.path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert warehouse.frame(f"SELECT count(*) AS n FROM {FAMILIES}").item() == 1


def test_a_lock_held_for_too_long_names_its_holder(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", lock_timeout_seconds=0.3)
    warehouse.create_schema()
    code = """
        import duckdb, sys, time
        connection = duckdb.connect(sys.argv[1])
        print("held", flush=True)
        time.sleep(60)
    """
    with other_process(code, warehouse.path) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(PlatformError, match=rf"held by process {holder.pid} \(.*python"):
            warehouse.replace(FAMILIES, families("a"))
        holder.kill()


def test_other_processes_read_while_tables_are_replaced(warehouse: Warehouse) -> None:
    """Every read sees a whole version: all rows of one replacement, never a mixture."""
    warehouse.replace(FAMILIES, families(*(f"0-{i}" for i in range(1000))))
    code = """
        import sys, pathlib, time
        from pricing_platform.stores.warehouse import Warehouse
        warehouse = Warehouse(pathlib.Path(sys.argv[1]), lock_timeout_seconds=20)
        seen, reads, deadline = set(), 0, time.monotonic() + 60
        while reads < 30 or (len(seen) < 2 and time.monotonic() < deadline):
            reads += 1
            frame = warehouse.frame(
                "SELECT split_part(item_id, '-', 1) AS version, count(*) AS n"
                " FROM curated.item_families GROUP BY ALL")
            assert frame["n"].to_list() == [1000], frame
            seen.add(frame["version"].item())
        print(len(seen))
    """
    with other_process(code, warehouse.path) as reader:
        version = 0
        while reader.poll() is None:
            version += 1
            rows = families(*(f"{version}-{i}" for i in range(1000)))
            warehouse.replace(FAMILIES, rows)
            time.sleep(0.01)
        out, err = reader.communicate()
    assert reader.returncode == 0, err
    assert int(out) >= 2, "the reader saw no replacement"


def test_a_killed_writer_leaves_the_old_rows(warehouse: Warehouse) -> None:
    warehouse.replace(FAMILIES, families("a"))
    code = """
        import os, pathlib, signal, sys
        from pricing_platform.stores.warehouse import Warehouse
        warehouse = Warehouse(pathlib.Path(sys.argv[1]))
        with warehouse.write() as connection:
            connection.execute("DELETE FROM curated.item_families")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    with other_process(code, warehouse.path) as writer:
        assert writer.wait(30) == -signal.SIGKILL
    assert warehouse.frame(f"SELECT item_id FROM {FAMILIES}").rows() == [("a",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_told_and_the_old_rows_stay(tmp_path: Path) -> None:
    home = tmp_path / "small"
    home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(home)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        warehouse = Warehouse(home / "warehouse.duckdb")
        warehouse.replace(FAMILIES, families("a"))
        large = families(*(fingerprint(i) for i in range(400_000)))
        with pytest.raises(PlatformError, match=r"disk .* is full"):
            warehouse.replace(FAMILIES, large)
        assert warehouse.frame(f"SELECT item_id FROM {FAMILIES}").rows() == [("a",)]
    finally:
        subprocess.run(["umount", str(home)], check=True)


def test_unchanged_inputs_build_nothing(warehouse: Warehouse) -> None:
    built = []

    def build(_folder: Path) -> dict[str, pl.DataFrame]:
        built.append(1)
        return {FAMILIES: families("a")}

    for _ in range(2):
        inputs = inputs_fingerprint(warehouse, "1", ["curated.listings"])
        refreshed = refresh(warehouse, [FAMILIES], build, inputs=inputs)
    assert refreshed.reused
    assert len(built) == 1
    assert not refresh(warehouse, [FAMILIES], build, inputs=inputs, force=True).reused


def test_changed_inputs_build_again(warehouse: Warehouse) -> None:
    def inputs(version: str = "1") -> str:
        return inputs_fingerprint(warehouse, version, ["evaluation.predictions"])

    before = inputs()
    rows = pl.DataFrame({"technique": ["x"], "item_id": ["1"]})
    warehouse.replace("evaluation.predictions", rows, partition=("technique", "x"))
    after = inputs()
    assert len({before, after, inputs("2")}) == 3


def test_staging_folders_are_removed_also_after_an_error(warehouse: Warehouse) -> None:
    def fail(folder: Path) -> dict[str, pl.DataFrame]:
        (folder / "half-written.parquet").write_bytes(b"x")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        refresh(warehouse, [FAMILIES], fail, inputs="1")
    assert list((warehouse.path.parent / "cache" / "staging").iterdir()) == []


def test_staging_folders_of_killed_processes_go_and_those_in_use_stay(warehouse: Warehouse) -> None:
    code = """
        import os, pathlib, signal, sys
        from pricing_platform.stores.warehouse import Warehouse
        with Warehouse(pathlib.Path(sys.argv[1])).staging_folder() as folder:
            (folder / "half-written.parquet").touch()
            print(folder, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    with other_process(code, warehouse.path) as killed:
        left = Path(killed.communicate()[0].strip())
    assert (left / "half-written.parquet").exists()
    with warehouse.staging_folder() as first:
        assert not left.exists()
        with warehouse.staging_folder() as second:
            assert {path.name for path in first.parent.iterdir()} == {first.name, second.name}
    assert list(first.parent.iterdir()) == []


def test_too_little_memory_is_told(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", memory_limit="1KB")
    with pytest.raises(PlatformError, match="too little memory") as raised:
        warehouse.create_schema()
    assert "PRICING_MEMORY_LIMIT" in raised.value.remedy
