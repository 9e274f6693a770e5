from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest

from pricing_platform.catalog import near_duplicates
from pricing_platform.catalog.near_duplicates import link_titles, nearest_pairs
from pricing_platform_tests.unit.catalog.listing_rows import (
    Listing,
    hashed_words,
    write_products,
)

FILLER = [
    Listing(f"z{i:03}", f"{adjective} {noun} by {maker}", brand=maker)
    for i, (adjective, noun, maker) in enumerate(
        (adjective, noun, maker)
        for adjective in ("Red", "Small", "Oak", "Steel", "Folding")
        for noun in ("bench", "kettle", "ladder", "router", "wallet", "helmet")
        for maker in ("Orbin", "Tesk", "Valmor")
    )
]
"""Other products, so that words have the frequencies of a catalogue."""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def linked(
    connection: duckdb.DuckDBPyConnection, folder: Path, *listings: Listing
) -> dict[tuple[str, str], str]:
    """The evidence by pair of item ids, among the given listings and the filler."""
    products = write_products(folder, (*listings, *FILLER))
    link_titles(connection, products, hashed_words, folder)
    found = connection.execute(
        "SELECT least(a.first_item, b.first_item), greatest(a.first_item, b.first_item), evidence"
        " FROM links JOIN titles AS a ON a.title = left_title"
        " JOIN titles AS b ON b.title = right_title"
    ).fetchall()
    given = {listing.item_id for listing in listings}
    return {(a, b): evidence for a, b, evidence in found if a in given and b in given}


def test_an_equal_model_number_links_unlike_titles(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    a = Listing("a", "Lexmark C9202 Toner 14000 pages", "one", "x", "Lexmark", "C9202KH")
    b = Listing("b", "High yield black cartridge", "two", "y", "LEXMARK", "C9202-KH")
    assert linked(connection, tmp_path, a, b) == {("a", "b"): "model_number"}


def test_a_model_number_spread_over_words_of_a_title_is_recognised(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    a = Listing("a", "Brother toner cartridge", "one", brand="Brother", model_number="TN560")
    b = Listing("b", "New Brother TN 560 toner cartridge case pack", "two", brand="Brother")
    assert linked(connection, tmp_path, a, b) == {("a", "b"): "model_number"}


def test_an_accessory_that_names_a_device_is_no_duplicate_of_it(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    a = Listing("a", "Polaroid digital camera 12 MP", brand="Polaroid", model_number="i1237")
    b = Listing("b", "Nylon hard shell pink case for Polaroid i1237", brand="rooCase")
    assert linked(connection, tmp_path, a, b) == {}


def test_contradicting_brands_void_a_model_number(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    a = Listing("a", "Asus Prime B650M-A II", brand="Asus", model_number="B650M-A")
    b = Listing("b", "MSI Pro B650M-A wifi", brand="MSI", model_number="B650M-A")
    assert linked(connection, tmp_path, a, b) == {}


@pytest.mark.parametrize("number", ["X1", "PHANTOM"])
def test_what_is_short_or_has_no_digit_is_no_model_number(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, number: str
) -> None:
    a = Listing("a", "Wide chassis", brand="Nexar", model_number=number)
    b = Listing("b", "Quiet keyboard", brand="Nexar", model_number=number)
    assert linked(connection, tmp_path, a, b) == {}


def test_a_number_that_many_share_is_no_model_number(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    words = [f"{a}{b}" for a in "bcdfg" for b in "aeiou"]
    many = [Listing(w, f"{w}rt {w}lm", brand="Nexar", model_number="IPHONE4") for w in words]
    assert linked(connection, tmp_path, *many) == {}


def test_reworded_titles_are_near_duplicates(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    a = Listing("a", "Netgear universal wireless range extender, white", "one")
    b = Listing("b", "NETGEAR Universal Wireless Range Extender (White) new", "two")
    assert linked(connection, tmp_path, a, b) == {("a", "b"): "minhash"}


def test_another_size_is_another_product(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    a = Listing("a", "Kanguru Defender USB flash drive with encryption 16GB")
    b = Listing("b", "Kanguru Defender USB flash drive with encryption 32 GB")
    c = Listing("c", "Kanguru Defender USB flash drive with encryption 32GB black")
    assert linked(connection, tmp_path, a, b, c) == {("b", "c"): "minhash"}


def test_near_texts_link_titles_that_are_less_alike(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    described = "Keeps drinks hot for a day, closes tight, fits every cup holder. " * 4
    a = Listing("a", "Thermal travel mug aluminium", description=described)
    b = Listing("b", "Thermal travel mug insulated", description=described)
    assert linked(connection, tmp_path, a, b) == {("a", "b"): "embedding"}
    plain = tmp_path / "plain"
    plain.mkdir()
    with duckdb.connect() as other:
        assert (
            linked(
                other,
                plain,
                Listing("a", a.title, description="For tea on the road."),
                Listing("b", b.title, description="A vessel made of steel and cork."),
            )
            == {}
        )


def test_one_text_is_one_product_in_every_store(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    a, b = Listing("a", "Oak desk", "one", "x"), Listing("b", "Oak desk", "two", "y")
    linked(connection, tmp_path, a, b)
    assert (
        "same_title",
        float("inf"),
    ) in connection.execute("SELECT evidence, strength FROM links").fetchall()


def test_titles_without_a_word_are_not_alike(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    linked(connection, tmp_path, Listing("a", "***"), Listing("b", "???"), Listing("c", "***"))
    keyed = connection.execute(
        "SELECT title_key, item_count FROM titles WHERE title_key IN ('***', '???') ORDER BY ALL"
    ).fetchall()
    assert keyed == [("***", 2), ("???", 1)]


def unit_rows(count: int, dimensions: int = 64) -> np.ndarray:
    """Random rows of unit length, each even one beside a near copy of itself."""
    random = np.random.default_rng(7)
    rows = random.standard_normal((count, dimensions)).astype(np.float32)
    rows[1::2] = rows[::2] + 0.02 * rows[1::2]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def found_pairs(vectors: np.ndarray, minimum: float) -> set[tuple[int, int]]:
    return {
        (int(a), int(b))
        for left, right in nearest_pairs(vectors, minimum)
        for a, b in zip(left, right, strict=True)
    }


def test_exact_pairs_are_those_of_a_full_comparison() -> None:
    vectors = unit_rows(3_000)
    cosines = np.triu(vectors @ vectors.T, 1)
    wanted = {(int(a), int(b)) for a, b in zip(*np.nonzero(cosines >= 0.95), strict=True)}
    assert len(wanted) == 1_500
    assert found_pairs(vectors, 0.95) == wanted


def test_trees_find_nearly_all_that_a_full_comparison_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = unit_rows(4_000)
    exact = found_pairs(vectors, 0.95)
    monkeypatch.setattr(near_duplicates, "EXACT_LIMIT", 1_000)
    monkeypatch.setattr(near_duplicates, "LEAF_SIZE", 250)
    found = found_pairs(vectors.astype(np.float16), 0.95)
    assert found <= exact
    assert len(found) >= 0.98 * len(exact)


def test_a_crowd_of_equals_does_not_square() -> None:
    vectors = np.tile(unit_rows(2)[:1], (600, 1)) + 1e-3 * unit_rows(600)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = len(found_pairs(vectors, 0.95))
    assert found <= 600 * (near_duplicates.NEIGHBOURS + 1), "equals at the edge all count"
