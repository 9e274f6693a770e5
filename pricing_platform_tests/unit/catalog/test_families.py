from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.catalog.families import (
    assign_families,
    connect,
    cut_links,
    family_limit,
    group_products,
)
from pricing_platform.catalog.items import build_items
from pricing_platform.catalog.splits import SET_ASIDE, split_of, two_sided
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.catalog.listing_rows import (
    Listing,
    hashed_words,
    warehouse_with,
    write_products,
)

WORDS = ["red", "oak", "steel", "mug", "lamp", "desk", "usb", "drive", "8gb", "16 GB", "x-200"]

listings = st.lists(
    st.builds(
        Listing,
        item_id=st.integers(0, 10_000).map("{:05}".format),
        title=st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join),
        source=st.sampled_from(["one", "two"]),
        category=st.sampled_from(["tools", "toys"]),
        brand=st.sampled_from([None, "Acme", "Orbin"]),
        model_number=st.sampled_from([None, "X200", "TN560"]),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda listing: listing.item_id,
)


def families_of(observations: list[Listing]) -> pl.DataFrame:
    with tempfile.TemporaryDirectory() as name, duckdb.connect() as connection:
        folder = Path(name)
        products = write_products(folder, observations)
        return group_products(connection, products, hashed_words, folder)


@settings(max_examples=15, deadline=None)
@given(listings, st.randoms(use_true_random=False))
def test_families_are_a_partition_that_keeps_its_promises(observations, random) -> None:
    families = families_of(observations)

    shuffled = observations.copy()
    random.shuffle(shuffled)
    assert families.equals(families_of(shuffled))

    assert families["item_id"].to_list() == sorted(listing.item_id for listing in observations)
    of = dict(families.select("item_id", "family_id").iter_rows())
    members = families.group_by("family_id").agg(
        pl.col("item_id").min().alias("smallest"),
        pl.len().alias("counted"),
        pl.col("family_size").unique().alias("sizes"),
        pl.col("split").unique().alias("splits"),
    )
    for family_id, smallest, counted, sizes, splits in members.iter_rows():
        assert of[family_id] == family_id == smallest
        assert sizes == [counted]
        assert splits == [split_of(family_id)]
        assert counted <= family_limit(len(observations)) or has_one_title_too_many(
            observations, of, family_id
        )
    alone = families.filter(pl.col("evidence") == "alone")
    assert set(alone["item_id"]) == set(families.filter(pl.col("family_size") == 1)["item_id"])

    by_title: dict[tuple[str, str, str], set[str]] = {}
    for listing in observations:
        key = (listing.source, listing.category, listing.title.casefold())
        by_title.setdefault(key, set()).add(of[listing.item_id])
    assert all(len(found) == 1 for found in by_title.values())


def has_one_title_too_many(observations: list[Listing], of: dict[str, str], family_id: str) -> bool:
    """Only equal titles and equal texts may make a family larger than the limit."""
    inside = [listing for listing in observations if of[listing.item_id] == family_id]
    return len({listing.title for listing in inside}) == 1


links_between = st.integers(1, 30).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(1, 4), min_size=count, max_size=count),
        st.lists(
            st.tuples(
                st.integers(0, count - 1),
                st.integers(0, count - 1),
                st.sampled_from([0.5, 0.65, 0.75, 0.85, 0.95, 1.0]),
            ),
            max_size=60,
        ),
        st.integers(4, 20),
    )
)


@given(links_between)
def test_components_are_transitive_and_within_the_limit(case) -> None:
    sizes, links, limit = case
    left, right, strength = (np.array([link[i] for link in links]) for i in range(3))
    components, kept = connect(
        np.array(sizes), left.astype(int), right.astype(int), strength.astype(float), limit
    )
    assert all(
        components[a] == components[b] for (a, b, _), k in zip(links, kept, strict=True) if k
    )
    assert np.bincount(components, weights=sizes).max() <= max(limit, max(sizes))
    if sum(sizes) <= limit:
        assert kept.all()


def test_a_chain_is_cut_at_its_weakest_links_and_only_there() -> None:
    sizes = np.ones(6, dtype=np.int64)
    left, right = np.array([0, 1, 2, 3, 4]), np.array([1, 2, 3, 4, 5])
    strength = np.array([0.9, 0.9, 0.55, 0.9, 0.9])
    components, kept = connect(sizes, left, right, strength, 3)
    assert kept.tolist() == [True, True, False, True, True]
    assert components.tolist() == [0, 0, 0, 1, 1, 1]


def test_equal_texts_are_never_cut() -> None:
    sizes = np.ones(5, dtype=np.int64)
    left, right = np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4])
    _, kept = connect(sizes, left, right, np.array([np.inf, np.inf, 1.0, np.inf]), 2)
    assert kept.tolist() == [True, True, False, True]


@pytest.mark.parametrize(("items", "limit"), [(10, 8), (4_000, 20), (10_000_000, 64)])
def test_the_limit_grows_with_the_catalogue_up_to_a_bound(items: int, limit: int) -> None:
    assert family_limit(items) == limit


def test_the_evidence_says_what_linked_an_item(tmp_path: Path) -> None:
    warehouse = warehouse_with(
        tmp_path,
        [
            Listing("a", "Oak desk with drawer", "one"),
            Listing("b", "OAK DESK, with drawer", "one", price=12.0),
            Listing("c", "Toner high yield", "one", brand="Brother", model_number="TN-560"),
            Listing("d", "Black cartridge", "two", brand="brother", model_number="TN 560"),
            Listing("e", "Netgear universal wireless range extender white", "one"),
            Listing("f", "Netgear universal wireless range extender white new", "two"),
            Listing("g", "Folding ladder", "two"),
        ],
    )
    families = assign_families(warehouse, hashed_words)
    assert families.select("item_id", "family_id", "family_size", "evidence").rows() == [
        ("a", "a", 2, "same_title"),
        ("b", "a", 2, "same_title"),
        ("c", "c", 2, "model_number"),
        ("d", "c", 2, "model_number"),
        ("e", "e", 2, "minhash"),
        ("f", "e", 2, "minhash"),
        ("g", "g", 1, "alone"),
    ]
    assert families["links_cut"].sum() == 0


def test_only_the_last_observation_of_a_product_counts(tmp_path: Path) -> None:
    warehouse = warehouse_with(
        tmp_path,
        [
            Listing("a", "Oak desk", month=1, snapshot="2024-01"),
            Listing("a", "Steel shelf", month=2, snapshot="2024-02"),
            Listing("b", "Oak desk", month=2, snapshot="2024-02"),
        ],
    )
    assert assign_families(warehouse, hashed_words)["family_id"].to_list() == ["a", "b"]


def test_the_frame_is_what_the_table_takes(tmp_path: Path) -> None:
    warehouse = warehouse_with(tmp_path, [Listing("a", "Oak desk"), Listing("b", "Lamp")])
    warehouse.replace("curated.item_families", assign_families(warehouse, hashed_words))
    rows = warehouse.frame("SELECT item_id, split FROM curated.item_families ORDER BY item_id")
    assert rows.rows() == [("a", split_of("a")), ("b", split_of("b"))]


def test_no_listings_are_no_families(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    warehouse.create_schema()
    families = assign_families(warehouse, hashed_words)
    assert families.is_empty()
    assert cut_links(warehouse) == {"links_cut": 0, "links_cut_across_splits": 0}


def test_links_that_are_cut_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pricing_platform.catalog.families.FAMILY_SIZE_BOUNDS", (1, 1))
    listings = [
        Listing("c", "Toner high yield", "one", brand="Brother", model_number="TN-560"),
        Listing("d", "Black cartridge", "two", brand="brother", model_number="TN 560"),
        Listing("e", "Netgear universal wireless range extender white", "one"),
        Listing("f", "Netgear universal wireless range extender white new", "two"),
    ]
    warehouse = warehouse_with(tmp_path, listings)
    families = assign_families(warehouse, hashed_words)
    warehouse.replace("curated.item_families", families)
    split = dict(families.select("item_id", "split").iter_rows())
    across = (split["c"] != split["d"]) + (split["e"] != split["f"])
    assert families["family_size"].to_list() == [1, 1, 1, 1]
    assert cut_links(warehouse) == {"links_cut": 2, "links_cut_across_splits": across}


def test_nothing_is_left_in_staging_and_the_warehouse_is_free(tmp_path: Path) -> None:
    warehouse = warehouse_with(tmp_path, [Listing("a", "Oak desk"), Listing("b", "Lamp")])

    def while_encoding(texts: list[str]) -> np.ndarray:
        with warehouse.write() as connection:
            connection.execute("CREATE TABLE meta.written_meanwhile (a INTEGER)")
        return hashed_words(texts)

    assign_families(warehouse, while_encoding)
    assert list((tmp_path / "cache" / "staging").iterdir()) == []


def splits_after(warehouse: Warehouse, observations: list[Listing]) -> dict[str, str]:
    """Each item's split, after the listings were assigned once more."""
    rows = [listing.row() for listing in observations]
    warehouse.replace("curated.listings", pl.DataFrame(rows, infer_schema_length=None))
    found = assign_families(warehouse, hashed_words)
    warehouse.replace("curated.item_families", found)
    return dict(found.select("item_id", "split").iter_rows())


def test_over_twenty_rounds_no_item_changes_its_side(tmp_path: Path) -> None:
    """Every round brings new products and near-duplicates with smaller ids, as a shop does."""
    random = np.random.default_rng(5)
    names = ["mug", "lamp", "desk", "drive", "kettle", "chair", "saw", "drill"]
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", threads=2)
    seen: list[Listing] = []
    known: dict[str, str] = {}
    aside = 0
    for round_number in range(20):
        for number in range(8):
            name = f"{names[number]} {round_number} " + " ".join(random.choice(WORDS, 3))
            seen.append(Listing(f"{random.integers(10**6):07}-{round_number}-{number}", name))
        for _ in range(4):
            twin = seen[random.integers(len(seen))]
            seen.append(replace(twin, item_id=f"0{random.integers(10**6):06}", source="two"))
        seen = list({listing.item_id: listing for listing in seen}.values())
        splits = splits_after(warehouse, seen)
        for item_id, split in known.items():
            assert splits[item_id] in (split, SET_ASIDE)
        for item_id, split in splits.items():
            if split != SET_ASIDE:
                known.setdefault(item_id, split)
        aside += sum(split == SET_ASIDE for split in splits.values())
        recorded = warehouse.frame("SELECT item_id, split FROM curated.split_assignments")
        assert recorded["item_id"].is_unique().all()
        assert recorded.height == len(seen)
    assert len(set(known.values())) == 3


def test_of_two_families_that_become_one_the_later_is_set_aside(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", threads=2)
    trained = next(f"{n:05}" for n in range(100) if split_of(f"{n:05}") == "train")
    tested = next(f"{n:05}" for n in range(100) if split_of(f"{n:05}") == "test")
    first, second = Listing(tested, "red oak desk"), Listing(trained, "steel usb lamp")
    assert splits_after(warehouse, [first]) == {tested: "test"}
    assert splits_after(warehouse, [first, second]) == {tested: "test", trained: "train"}
    joined = [first, replace(second, title=first.title), Listing("new", first.title)]
    assert splits_after(warehouse, joined) == {
        tested: "test",
        trained: SET_ASIDE,
        "new": "test",
    }
    items(warehouse, joined)
    assert two_sided(warehouse).is_empty()
    apart = [first, second, Listing("new", first.title)]
    assert splits_after(warehouse, apart) == {tested: "test", trained: "train", "new": "test"}


def test_a_split_that_was_changed_is_found(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", threads=2)
    ((item_id, split),) = splits_after(warehouse, [Listing("a", "red oak desk")]).items()
    other = "test" if split == "train" else "train"
    families = warehouse.frame("SELECT * FROM curated.item_families")
    warehouse.replace("curated.item_families", families.with_columns(split=pl.lit(other)))
    assert ("assignment", item_id, [split, other]) in two_sided(warehouse).rows()


def items(warehouse: Warehouse, observations: list[Listing]) -> None:
    warehouse.replace("curated.listings", pl.DataFrame(
        [listing.row() for listing in observations], infer_schema_length=None
    ))  # fmt: skip
    build_items(warehouse, lambda texts: [1] * len(texts), warehouse.path.parent / "items.parquet")
    warehouse.replace("curated.items", warehouse.path.parent / "items.parquet")
