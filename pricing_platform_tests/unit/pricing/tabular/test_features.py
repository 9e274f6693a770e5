"""Training features must not know the price of their own item, nor of its family."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.estimates import log_prices
from pricing_platform.pricing.tabular.features import fit_features
from pricing_platform.pricing.tabular.structured_features import (
    StructuredFeatures,
    measures_in,
    numbers_in,
)
from pricing_platform.pricing.tabular.text_model import families_of, family_folds

FAMILY = "family-0003"


def with_family_price(items: ItemSet, price: float) -> ItemSet:
    changed = pl.when(pl.col("family_id") == FAMILY).then(price).otherwise(pl.col("price"))
    return ItemSet(items.frame.with_columns(price=changed), items.embeddings)


def test_no_training_feature_changes_with_the_price_of_the_own_family(train: ItemSet) -> None:
    own = (train.frame["family_id"] == FAMILY).to_numpy()
    assert own.sum() == 2
    before = fit_features(with_family_price(train, 20.0)).table
    after = fit_features(with_family_price(train, 900.0)).table
    np.testing.assert_array_equal(before.numbers[own], after.numbers[own])
    np.testing.assert_array_equal(before.components[own], after.components[own])
    # The price does reach the features of others: otherwise this test could not fail.
    assert not np.array_equal(before.numbers[~own], after.numbers[~own], equal_nan=True)


def test_each_source_has_an_estimate_of_its_own(train: ItemSet, test_items: ItemSet) -> None:
    features = fit_features(train).features
    assert set(features.text.by_source) == {"north", "south"}
    table = features.transform(test_items)
    column = table.numbers[:, table.names.index("text estimate within source")]
    assert np.isfinite(column).all()
    elsewhere = test_items.frame.with_columns(source=pl.lit("elsewhere"))
    table = features.transform(ItemSet(elsewhere, test_items.embeddings))
    assert np.isnan(table.numbers[:, table.names.index("text estimate within source")]).all()


def test_a_family_stands_in_one_fold(train: ItemSet) -> None:
    folds = family_folds(families_of(train))
    by_family = pl.DataFrame({"family": families_of(train), "fold": folds}).group_by("family")
    assert (by_family.agg(pl.n_unique("fold"))["fold"] == 1).all()
    assert set(folds) == {0, 1, 2, 3}


def test_new_items_have_the_columns_of_training_items(train: ItemSet, test_items: ItemSet) -> None:
    fitted = fit_features(train)
    table = fitted.features.transform(test_items)
    assert table.numbers.shape == (len(test_items), len(fitted.table.names))
    assert table.components.shape[1] == fitted.table.components.shape[1]
    assert len(set(table.names)) == len(table.names)


def test_structured_columns_hold_attributes_units_and_sale_units(train: ItemSet) -> None:
    folds = family_folds(families_of(train))
    fitted, table = StructuredFeatures.fit(train.frame, log_prices(train), folds)
    column = dict(zip(fitted.names, table.T, strict=True))
    sizes = [float(a["capacity"].split()[0]) for a in train.frame["attributes"].to_list()]
    np.testing.assert_array_equal(column["capacity 0"], sizes)
    np.testing.assert_array_equal(column["gb in text"], sizes)
    np.testing.assert_array_equal(column["sold by count"], train.frame["source"] == "north")
    assert np.isnan(column["price of brand"]).sum() == train.frame["brand"].null_count()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1,024 MB", [1024.0]), ("3, 1600", [3.0, 1600.0]), ("7.6 x 4.8", [7.6, 4.8]), ("none", [])],
)
def test_numbers_in(text: str, numbers: list[float]) -> None:
    assert numbers_in(text) == numbers


def test_measures_in() -> None:
    found = measures_in('16GB kit, 15.6-inch, 2 x 8 GB, 24" wide, 1,500 W, 5th')
    assert found == {"gb": 16.0, "inch": 15.6, "x": 2.0, '"': 24.0, "w": 1500.0, "th": 5.0}
