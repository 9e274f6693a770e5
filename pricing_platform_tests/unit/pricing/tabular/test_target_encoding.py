from __future__ import annotations

import numpy as np

from pricing_platform.pricing.tabular.target_encoding import TargetEncoding, encode_out_of_fold

GROUPS = ["a", "a", "a", "b", None, "b"]
LOG_PRICE = np.array([1.0, 2.0, 3.0, 5.0, 7.0, 9.0])


def test_groups_are_shrunk_towards_the_prior_and_the_unknown_stays_unknown() -> None:
    encoding = TargetEncoding.fit(GROUPS, LOG_PRICE)
    encoded = encoding.encode(["a", "b", "c", None], np.array([0.0, 7.0, 1.0, 1.0]))
    np.testing.assert_array_equal(encoded.mean, [6 / 7, 42 / 6, np.nan, np.nan])
    assert encoded.items.tolist() == [3, 2, 0, 0]


def test_out_of_fold_is_what_a_fit_on_the_other_folds_says() -> None:
    folds = np.array([0, 1, 1, 0, 0, 2])
    prior = np.linspace(0, 1, 6)
    encoded = encode_out_of_fold(GROUPS, LOG_PRICE, prior, folds)
    for item, fold in enumerate(folds):
        outside = np.flatnonzero(folds != fold)
        others = TargetEncoding.fit([GROUPS[i] for i in outside], LOG_PRICE[outside])
        expected = others.encode([GROUPS[item]], prior[[item]])
        np.testing.assert_allclose(encoded.mean[item], expected.mean[0])
        assert encoded.items[item] == expected.items[0]
