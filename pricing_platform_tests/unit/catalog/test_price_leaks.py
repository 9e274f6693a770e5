from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricing_platform.catalog.price_leaks import (
    REFUSED_ON,
    WITHHELD_ON,
    find_price_leaks,
    remaining_price_leaks,
)
from pricing_platform.stores.warehouse import Warehouse

Listing = dict[str, Any]
NAME = st.text("abcdefghijkxyz_ ", min_size=3, max_size=12).map(str.strip).filter(len)
SLOW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def catalogue(rng: random.Random, rows: int = 150, unpriced: int = 0) -> list[Listing]:
    """Listings whose prices depend on their attributes, with noise: nothing gives one away."""
    listings = []
    for number in range(rows + unpriced):
        size = rng.choice([120, 240, 250, 480, 500, 960, 1000, 2000])
        count = rng.choice([1, 1, 2, 3, 6, 12])
        price = round(0.08 * size * count**0.9 * rng.lognormvariate(0, 0.3), 2)
        listings.append(
            {
                "listing_id": f"L{number}",
                "title": f"Acme thing {number % 7} {size} GB, pack of {count}",
                "price": price if number < rows else None,
                "attributes": {
                    "size": f"{size} GB",
                    "modules": f"{count} x {size}",
                    "wattage": str(rng.randint(40, 900)),
                    "year": str(rng.choice([2021, 2022, 2023])),
                    "rating": f"{rng.uniform(1, 5):.1f}",
                    "constant": "7",
                    "prose": f"Made of {rng.randint(1, 9)} parts and other things, at {number}",
                },
                "size": size,
                "count": count,
            }
        )
    return listings


def found(
    folder: Path, listings: list[Listing], categories: list[str] | None = None, **limits: float
) -> pl.DataFrame:
    warehouse = Warehouse(folder / "warehouse.duckdb")
    warehouse.create_schema()
    rows = [
        {
            "source": "shop",
            "snapshot": "s",
            "row_number": number,
            "listing_id": listing["listing_id"],
            "observed_at": datetime(2024, 1, 1, tzinfo=UTC),
            "title": listing["title"],
            "category": categories[number - 1] if categories else "drives",
            "keys": list(listing["attributes"]),
            "values": list(listing["attributes"].values()),
            "price": listing["price"],
        }
        for number, listing in enumerate(listings, 1)
    ]
    frame = pl.DataFrame(rows, schema_overrides={"price": pl.Float64})
    with warehouse.write() as connection:
        connection.register("rows", frame.to_arrow())
        connection.execute(
            "INSERT INTO raw.listings BY NAME"
            " SELECT * EXCLUDE (keys, values), map(keys, values) AS attributes FROM rows"
        )
    return find_price_leaks(warehouse, **limits)


def withheld(leaks: pl.DataFrame) -> set[str]:
    return {name for names in leaks["attributes"] for name in names}


@SLOW
@given(seed=st.integers(0, 2**20))
def test_nothing_is_found_where_nothing_leaks(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    leaks = found(tmp_path_factory.mktemp("clean"), catalogue(random.Random(seed), unpriced=40))
    assert leaks.rows() == []


@SLOW
@given(
    seed=st.integers(0, 2**20),
    name=NAME,
    scale=st.sampled_from([1.0, 100.0, 1.19, 0.01]),
    written=st.sampled_from(["{:.2f}", "${:,.2f}", "{:.2f} USD", "EUR {:.3f}"]),
)
def test_an_attribute_that_is_the_price_in_disguise_is_found(
    tmp_path_factory: pytest.TempPathFactory, seed: int, name: str, scale: float, written: str
) -> None:
    listings = catalogue(random.Random(seed))
    for listing in listings:
        listing["attributes"][name] = written.format(listing["price"] * scale)
    leaks = found(tmp_path_factory.mktemp("single"), listings)
    assert withheld(leaks) == {name}
    assert {(row["expression"], row["category"]) for row in leaks.to_dicts()} == {
        (name, "drives"),
        (name, None),
    }


@SLOW
@given(
    seed=st.integers(0, 2**20),
    name=NAME,
    kind=st.sampled_from(["price / size", "price / modules", "size / price", "price / pack"]),
    unpriced=st.sampled_from([0, 60]),
)
def test_a_product_or_quotient_that_is_the_price_is_found(
    tmp_path_factory: pytest.TempPathFactory, seed: int, name: str, kind: str, unpriced: int
) -> None:
    listings = catalogue(random.Random(seed), unpriced=unpriced)
    for listing in listings:
        size, count, price = listing["size"], listing["count"], listing["price"]
        if kind == "price / pack":
            del listing["attributes"]["modules"]
        if price is not None:
            value = {
                "price / size": price / size,
                "price / modules": price / (size * count),
                "size / price": size / price,
                "price / pack": price / count,
            }[kind]
            listing["attributes"][name] = f"{value:.5f}"
    leaks = found(tmp_path_factory.mktemp("pair"), listings)
    assert withheld(leaks) == {name}, leaks.rows()
    assert leaks["share_explained"].min() >= WITHHELD_ON.share


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_or_difference_that_is_the_price_is_found(tmp_path: Path, sign: int) -> None:
    listings = catalogue(random.Random(5))
    for number, listing in enumerate(listings):
        fee = 2 + number % 9
        listing["title"] = "thing"
        listing["attributes"] = {
            "net": f"{listing['price'] - sign * fee:.2f}",
            "fee": str(fee),
        }
    leaks = found(tmp_path, listings)
    assert withheld(leaks) == {"net"}
    assert set(leaks["expression"]) == {"fee + net" if sign == 1 else "net - fee"}


def test_a_partner_that_stands_in_the_title_only_is_found(tmp_path: Path) -> None:
    listings = catalogue(random.Random(1))
    for listing in listings:
        listing["attributes"] = {"unit_value": f"{listing['price'] / listing['size']:.4f}"}
    leaks = found(tmp_path, listings)
    assert withheld(leaks) == {"unit_value"}
    assert "title: gb * unit_value" in leaks["expression"].to_list()


def test_a_partner_that_is_seldom_told_is_not_taken_for_the_carrier(tmp_path: Path) -> None:
    listings = catalogue(random.Random(7), rows=600, unpriced=60)
    for number, listing in enumerate(listings):
        count = listing["count"]
        price = listing["price"] or 10 * count
        listing["title"] = "thing"
        listing["attributes"] = {"serving": f"{price / count:.4f}"}
        listing["attributes"]["amount" if number % 10 else "in the box"] = str(count)
    leaks = found(tmp_path, listings)
    assert withheld(leaks) == {"serving"}
    assert set(leaks["expression"]) == {"amount * serving"}


def test_lists_and_thousands_are_read_as_meant(tmp_path: Path) -> None:
    listings = catalogue(random.Random(2))
    for listing in listings:
        size, count = listing["size"], listing["count"]
        listing["title"] = "thing"
        listing["attributes"] = {
            "modules": f"[{count},{size}]",
            "per": f"{1_000_000 * listing['price'] / (size * count):,.0f}",
        }
    assert withheld(found(tmp_path, listings)) == {"per"}


def test_a_few_rows_or_a_few_prices_prove_nothing(tmp_path: Path) -> None:
    few = catalogue(random.Random(3), rows=25)
    coarse = catalogue(random.Random(4), rows=200)
    for number, listing in enumerate(coarse):
        listing["price"] = float(10 * (1 + number % 8))
    for listing in (*few, *coarse):
        listing["attributes"]["ledger"] = str(listing["price"])
    for place, listings in (("few", few), ("coarse", coarse)):
        (tmp_path / place).mkdir()
        assert found(tmp_path / place, listings).is_empty()


def test_dirt_does_not_hide_what_the_kept_rows_give_away(tmp_path: Path) -> None:
    listings = catalogue(random.Random(8), rows=400)
    for number, listing in enumerate(listings):
        listing["attributes"]["ledger"] = f"{listing['price']:.2f}"
        if number % 5 == 0:
            listing["price"] = 1_000_000.0 + number
    assert withheld(found(tmp_path, listings, price_minimum=0.5, price_maximum=9_999)) == {"ledger"}


def test_only_the_last_observation_of_a_listing_counts(tmp_path: Path) -> None:
    listings = catalogue(random.Random(10), rows=200)
    later = [dict(listing, attributes=dict(listing["attributes"])) for listing in listings]
    for listing in later:
        listing["attributes"]["ledger"] = f"{listing['price']:.2f}"
    for listing in listings:
        listing["attributes"]["ledger"] = str(listing["count"] * 7 + listing["size"] % 9)
    assert withheld(found(tmp_path, [*listings, *later])) == {"ledger"}


def test_what_is_refused_in_the_items_was_withheld_with_room_to_spare() -> None:
    assert REFUSED_ON.share >= WITHHELD_ON.share + 0.1
    assert REFUSED_ON.rows >= 1.5 * WITHHELD_ON.rows
    assert REFUSED_ON.distinct >= 1.5 * WITHHELD_ON.distinct


def test_an_attribute_that_mostly_gives_the_price_away_is_withheld(tmp_path: Path) -> None:
    listings = catalogue(random.Random(9), rows=400)
    for number, listing in enumerate(listings):
        told = listing["price"] if number % 10 else number + 1
        listing["attributes"]["ledger"] = f"{told:.2f}"
    assert withheld(found(tmp_path, listings)) == {"ledger"}


def test_a_leak_in_one_category_is_told_for_it(tmp_path: Path) -> None:
    rng = random.Random(5)
    drives, others = catalogue(rng, rows=100), catalogue(rng, rows=1500)
    for number, listing in enumerate((*drives, *others)):
        listing["listing_id"] = f"M{number}"
        listing["attributes"]["ledger"] = str(listing["price"] if number < 100 else number)
    categories = ["drives"] * len(drives) + ["others"] * len(others)
    leaks = found(tmp_path, [*drives, *others], categories)
    assert leaks.select("category", "expression").rows() == [("drives", "ledger")]


def test_two_that_cannot_be_told_apart_are_both_withheld(tmp_path: Path) -> None:
    rng = random.Random(6)
    listings = catalogue(rng)
    for listing in listings:
        factor = rng.uniform(1, 9)
        listing["attributes"] |= {"one": f"{factor:.6f}", "two": f"{listing['price'] / factor:.6f}"}
    assert withheld(found(tmp_path, listings)) == {"one", "two"}


def items(folder: Path, text: str) -> Warehouse:
    warehouse = Warehouse(folder / "warehouse.duckdb")
    frame = pl.DataFrame({"item_id": ["a"], "source": ["shop"], "title": ["x"], "text": [text],
                          "category": ["c"], "price": [3.0]})  # fmt: skip
    warehouse.replace("curated.items", frame)
    return warehouse


def test_money_left_in_a_text_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    left = remaining_price_leaks(items(tmp_path / "a", "yours for $12.99"))
    assert left["expression"].to_list() == ["an amount of money in the text"]
    assert remaining_price_leaks(
        items(tmp_path / "b", "Size EUR 42, 12 oz\nSet of: 4\nEuro cover")
    ).is_empty()
