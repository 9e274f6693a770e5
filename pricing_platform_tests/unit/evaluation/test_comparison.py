from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pricing_platform.evaluation.comparison import compare_techniques
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import (
    ask_for_a_sample,
    warehouse_of,
)


def test_the_better_technique_stands_first_with_its_paired_difference(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    prices = np.full(200, 100.0)
    shared = generator.normal(0, 30, 200)  # hard items are hard for both: pairing removes it
    warehouse = warehouse_of(
        tmp_path,
        prices.tolist(),
        {
            "aaa_worse": (prices + np.abs(shared) + 3).tolist(),
            "zzz_better": (prices + np.abs(shared) + generator.normal(0, 1, 200)).tolist(),
            "noise_floor": prices.tolist(),
        },
    )

    (row,) = compare_techniques(warehouse, seed=1, resamples=300, permutations=999).to_dicts()

    assert (row["technique"], row["compared_with"]) == ("zzz_better", "aaa_worse")
    assert -3.5 < row["low"] < row["mean_difference"] < row["high"] < -2.5
    assert row["p_value"] == row["p_value_holm"] == 0.001
    assert (row["items"], row["clusters"], row["is_sparse"]) == (200, 200, False)


def test_a_refused_item_is_compared_with_what_it_is_charged(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [100.0, 100.0, 100.0, 100.0],
        {"stack": [101.0, 103.0, 120.0, 105.0], "comparables": [110.0, 110.0, None, 110.0]},
        family_id=["one", "one", "two", "two"],
    )

    (row,) = compare_techniques(warehouse, seed=1, resamples=50, permutations=99).to_dicts()

    assert row["technique"] == "stack"
    assert row["mean_difference"] == pytest.approx((1 + 3 + 20 + 5) / 4 - (10 + 10 + 0 + 10) / 4)
    assert (row["items"], row["clusters"]) == (4, 2)


def test_more_pairs_ask_for_more_evidence(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    prices = np.full(100, 100.0)
    estimates = {
        name: (prices + generator.normal(0, 10, 100)).tolist() for name in ("a", "b", "c", "d")
    }

    compared = compare_techniques(
        warehouse_of(tmp_path, prices.tolist(), estimates), seed=1, resamples=50, permutations=500
    )

    assert compared.height == 6
    assert (compared["p_value_holm"] >= compared["p_value"]).all()
    assert compared["p_value_holm"].min() == pytest.approx(min(1.0, 6 * compared["p_value"].min()))
    assert (compared["mean_difference"] <= 0).all()


def test_one_technique_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [100.0], {"stack": [100.0]})

    assert compare_techniques(warehouse, seed=1).is_empty()


@pytest.mark.parametrize(("families", "is_sparse"), [(29, True), (30, False)])
def test_a_pair_on_few_families_says_so(tmp_path: Path, families: int, is_sparse: bool) -> None:
    count = 60  # items are many in either case
    warehouse = warehouse_of(
        tmp_path,
        [100.0] * count,
        {"stack": [101.0] * count, "comparables": [110.0] * count},
        family_id=[f"family-{number % families:02d}" for number in range(count)],
    )

    (row,) = compare_techniques(warehouse, seed=1, resamples=50, permutations=99).to_dicts()

    assert (row["items"], row["clusters"], row["is_sparse"]) == (count, families, is_sparse)


def test_two_that_were_asked_about_different_items_are_no_pair(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path, [100.0] * 4, {"rag": [101.0] * 4, "stack": [103.0] * 4, "chain": [105.0] * 4}
    )
    ask_for_a_sample(warehouse, "rag", ["item-0000", "item-0001"])
    ask_for_a_sample(warehouse, "chain", ["item-0002"])

    rows = compare_techniques(warehouse, seed=1, resamples=50, permutations=99)

    assert rows.select("technique", "compared_with", "items").rows() == [
        ("rag", "stack", 2),
        ("stack", "chain", 1),
    ]
