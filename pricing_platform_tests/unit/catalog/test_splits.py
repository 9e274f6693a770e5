from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.catalog.splits import (
    SPLIT_SHARES,
    split_expression,
    split_of,
    split_shares,
    two_sided,
)
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.catalog.listing_rows import Listing, warehouse_with


def families(warehouse: Warehouse, rows: list[tuple[str, str, str]]) -> None:
    frame = pl.DataFrame(rows, schema=["item_id", "family_id", "split"], orient="row")
    warehouse.replace(
        "curated.item_families", frame.with_columns(family_size=1, evidence=pl.lit("alone"))
    )


def items(warehouse: Warehouse, rows: list[tuple[str, str, str, str]]) -> None:
    frame = pl.DataFrame(
        rows, schema=["item_id", "family_id", "split", "content_hash"], orient="row"
    )
    missing = [c for c in warehouse.columns("curated.items") if c.name not in frame.columns]
    warehouse.replace(
        "curated.items", frame.with_columns(pl.lit(None).alias(c.name) for c in missing)
    )


def test_shares_come_out_as_planned() -> None:
    counted = Counter(split_of(f"family {i}") for i in range(20_000))
    for split, share in SPLIT_SHARES.items():
        assert counted[split] / 20_000 == pytest.approx(share, abs=0.01)


def test_a_split_is_the_same_in_another_process() -> None:
    names = [f"family {i}" for i in range(50)]
    code = f"from pricing_platform.catalog.splits import split_of\nprint([*map(split_of, {names})])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str([split_of(name) for name in names])


def test_known_families_never_move() -> None:
    """A change here would move products from training into the test set of earlier results."""
    pinned = {"drill": "train", "saw": "validation", "toner": "validation"}
    assert {name: split_of(name) for name in pinned} == pinned


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=200))
def test_the_expression_agrees_with_the_function(names: list[str]) -> None:
    frame = pl.DataFrame({"position": range(len(names)), "name": names})
    with duckdb.connect() as connection:
        connection.register("families", frame.to_arrow())
        found = connection.execute(
            f"SELECT {split_expression('name')} FROM families ORDER BY position"
        ).fetchall()
    assert [row[0] for row in found] == [split_of(name) for name in names]


def test_nothing_is_two_sided_in_a_sound_catalogue(tmp_path: Path) -> None:
    warehouse = warehouse_with(tmp_path, [Listing("a", "drill"), Listing("b", "saw")])
    families(warehouse, [("a", "a", "train"), ("b", "a", "train"), ("c", "c", "test")])
    items(warehouse, [("a", "a", "train", "1"), ("b", "a", "train", "1"), ("c", "c", "test", "2")])
    assert two_sided(warehouse).is_empty()


@pytest.mark.parametrize(
    ("assigned", "written", "expected"),
    [
        pytest.param(
            [("a", "a", "train"), ("b", "a", "test")],
            [("a", "a", "train", "1"), ("b", "a", "test", "2")],
            ("family", "a", ["test", "train"]),
            id="a family on two sides",
        ),
        pytest.param(
            [("a", "a", "train")],
            [("a", "a", "validation", "1")],
            ("item", "a", ["train", "validation"]),
            id="an item elsewhere than its family",
        ),
        pytest.param(
            [("a", "a", "train"), ("b", "b", "test")],
            [("a", "a", "train", "1"), ("b", "b", "test", "1")],
            ("text", "1", ["test", "train"]),
            id="one text in two families",
        ),
    ],
)
def test_what_is_two_sided_is_found(
    tmp_path: Path,
    assigned: list[tuple[str, str, str]],
    written: list[tuple[str, str, str, str]],
    expected: tuple[str, str, list[str]],
) -> None:
    warehouse = warehouse_with(tmp_path, [Listing("a", "drill")])
    families(warehouse, assigned)
    items(warehouse, written)
    assert expected in two_sided(warehouse).rows()


def test_one_listing_under_two_identities_is_found(tmp_path: Path) -> None:
    earlier = Listing("a", "drill", snapshot="2024-01")
    warehouse = warehouse_with(tmp_path, [earlier])
    later = pl.DataFrame([earlier.row() | {"item_id": "b", "snapshot": "2024-02"}])
    warehouse.replace("curated.listings", later, partition=("snapshot", "2024-02"))
    families(warehouse, [("a", "a", "train"), ("b", "b", "test")])
    assert two_sided(warehouse).rows() == [("listing", "store L-a", ["test", "train"])]


def test_shares_within_and_outside_of_tolerance(tmp_path: Path) -> None:
    warehouse = warehouse_with(tmp_path, [Listing("a", "drill")])
    names = [f"family {i}" for i in range(2_000)]
    families(warehouse, [(name, name, split_of(name)) for name in names])
    assert split_shares(warehouse)["within"].all()
    families(warehouse, [(name, name, "train") for name in names])
    shares = split_shares(warehouse)
    assert not shares["within"].any()
    assert shares["share"].to_list() == [1.0, 0.0, 0.0]
