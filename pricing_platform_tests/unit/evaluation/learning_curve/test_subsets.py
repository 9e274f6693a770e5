from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.catalog.item_set import ItemSet, family_names
from pricing_platform.evaluation.learning_curve.subsets import nested_subset, sizes_below
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import item_set


def items_of(families: list[int]) -> ItemSet:
    """Item k belongs to the k-th family; -1 stands for none."""
    return item_set(
        pl.DataFrame(
            {
                "item_id": [f"item-{number}" for number in range(len(families))],
                "title": ["a lamp"] * len(families),
                "text": ["a lamp"] * len(families),
                "family_id": [None if at < 0 else f"family-{at}" for at in families],
            },
            schema_overrides={"family_id": pl.String},
        )
    )


def ids(items: ItemSet) -> set[str]:
    return set(items.frame["item_id"])


@given(
    families=st.lists(st.integers(-1, 12), min_size=1, max_size=60),
    sizes=st.lists(st.integers(1, 70), min_size=2, max_size=4),
    seed=st.integers(0, 3),
)
def test_parts_are_nested_and_split_no_family(
    families: list[int], sizes: list[int], seed: int
) -> None:
    items = items_of(families)
    parts = [nested_subset(items, size, seed=seed) for size in sorted(sizes)]

    for smaller, larger in pairwise(parts):
        assert ids(smaller) <= ids(larger)
    for part in parts:
        assert len(part) > 0
        outside = items.where(~items.frame["item_id"].is_in(part.frame["item_id"].to_list()))
        assert set(family_names(part)).isdisjoint(family_names(outside))


def test_a_part_is_as_near_to_its_size_as_whole_families_come(items: ItemSet) -> None:
    train = items.split("train")  # pairs
    assert [len(nested_subset(train, size, seed=5)) for size in (1, 2, 40, 319, 1000)] == [
        2,
        2,
        40,
        318,
        320,
    ]


def test_another_seed_draws_another_order_and_the_same_one_the_same(items: ItemSet) -> None:
    train = items.split("train")
    shuffled = train.take(list(reversed(range(len(train)))))

    assert ids(nested_subset(train, 80, seed=5)) == ids(nested_subset(shuffled, 80, seed=5))
    assert ids(nested_subset(train, 80, seed=5)) != ids(nested_subset(train, 80, seed=6))


@pytest.mark.parametrize(
    ("items", "sizes"), [(3860, (250, 500, 1000, 2000)), (2000, (250, 500, 1000)), (200, ())]
)
def test_sizes_are_those_below_all_items(items: int, sizes: tuple[int, ...]) -> None:
    assert sizes_below(items) == sizes
