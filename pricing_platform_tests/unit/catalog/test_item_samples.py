"""Samples that stand for all items."""

from __future__ import annotations

from random import Random

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.catalog.item_samples import stratified_sample
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform_tests.unit.pricing.generated_items import generated_items

ITEMS = generated_items(200)


@given(most=st.integers(2, 500), seed=st.integers(0, 5))
def test_it_has_as_many_as_asked_for_and_each_category_by_its_share(most: int, seed: int) -> None:
    sample = stratified_sample(ITEMS, most, seed=seed)
    assert len(sample) == min(most, len(ITEMS))
    assert sample.frame["item_id"].is_unique().all()
    share = len(sample) / len(ITEMS)
    for category, count in ITEMS.frame["category"].value_counts().iter_rows():
        found = sample.frame.filter(category=category).height
        # A category has a stratum for each of four bands of prices, each rounded by itself.
        assert abs(found - share * count) <= 4


def test_it_is_the_same_in_every_order_and_stays_nearly_so() -> None:
    sample = set(stratified_sample(ITEMS, 60, seed=1).frame["item_id"])
    shuffled = ITEMS.take(list(reversed(range(len(ITEMS)))))
    assert set(stratified_sample(shuffled, 60, seed=1).frame["item_id"]) == sample
    fewer = ITEMS.take(list(range(len(ITEMS) - 1)))
    assert len(sample - set(stratified_sample(fewer, 60, seed=1).frame["item_id"])) <= 6
    assert set(stratified_sample(ITEMS, 60, seed=2).frame["item_id"]) != sample


@given(
    described=st.lists(
        st.tuples(st.sampled_from(["drives", "kettles", None]), st.integers(1, 30)),
        min_size=3,
        max_size=60,
    ),
    most=st.integers(2, 60),
    random=st.randoms(use_true_random=False),
)
def test_of_any_catalogue_it_has_as_many_as_asked_for_whatever_the_order(
    described: list[tuple[str | None, int]], most: int, random: Random
) -> None:
    frame = pl.DataFrame(
        {
            "item_id": [f"item-{number:03d}" for number in range(len(described))],
            "category": [category for category, _ in described],
            "price": [float(price) for _, price in described],
        },
        schema_overrides={"category": pl.String},
    )
    items = ItemSet(frame, np.zeros((len(described), 2), np.float32))
    places = list(range(len(items)))
    random.shuffle(places)

    sample = stratified_sample(items, most, seed=1)
    shuffled = stratified_sample(items.take(places), most, seed=1)

    assert len(sample) == min(most, len(items))
    assert sample.frame["item_id"].is_sorted()
    assert sample.frame.equals(shuffled.frame.sort("item_id"))


def test_prices_of_a_sample_are_spread_as_all_are() -> None:
    sample = stratified_sample(ITEMS, 100, seed=1).prices()
    whole = pl.Series(ITEMS.prices())
    for level in (0.25, 0.5, 0.75):
        share = float((sample < whole.quantile(level)).mean())
        assert abs(share - level) < 0.06


def test_all_and_more_than_there_are_take_everything() -> None:
    assert stratified_sample(ITEMS, "all", seed=1) is ITEMS
    assert stratified_sample(ITEMS, 10_000, seed=1) is ITEMS
    empty = ItemSet(ITEMS.frame.head(0), ITEMS.embeddings[:0])
    assert len(stratified_sample(empty, 5, seed=1)) == 0
