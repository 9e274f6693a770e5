"""The histogram over log-price bins: its targets are distributions, its quantiles are read back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.finetuning.price_histogram import PriceHistogram

prices = st.lists(st.floats(0.5, 1e6), min_size=1, max_size=30).map(np.array)


@settings(deadline=None)
@given(prices)
def test_targets_are_distributions_whose_median_is_the_price(given_prices: np.ndarray) -> None:
    histogram = PriceHistogram.covering(given_prices)
    targets = histogram.targets(given_prices)
    assert targets.shape == (len(given_prices), 96)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    assert (targets >= 0).all()
    # An outer bin holds 2.3 % less of the Gaussian on one side, and mass is even within a bin.
    tolerance = 0.02 + (histogram.highest - histogram.lowest) / histogram.bins / 2
    median = histogram.log_quantile(targets, 0.5)
    np.testing.assert_allclose(median, np.log1p(given_prices), atol=tolerance)


@settings(deadline=None)
@given(prices, st.integers(0, 2**32), st.tuples(st.floats(0.001, 0.999), st.floats(0.001, 0.999)))
def test_quantiles_rise_with_the_level_and_stay_within_the_bins(
    given_prices: np.ndarray, seed: int, levels: tuple[float, float]
) -> None:
    histogram = PriceHistogram.covering(given_prices, bins=24)
    answers = np.random.default_rng(seed).dirichlet(np.full(24, 0.1), size=8)
    lower, upper = (histogram.log_quantile(answers, level) for level in sorted(levels))
    assert (lower <= upper + 1e-12).all()
    assert (lower >= histogram.lowest - 1e-12).all()
    assert (upper <= histogram.highest + 1e-12).all()


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 0.99))
def test_so_much_mass_lies_below_a_quantile(seed: int, level: float) -> None:
    histogram = PriceHistogram(lowest=0.0, highest=7.0, bins=14, smoothing=0.15)
    answer = np.random.default_rng(seed).dirichlet(np.ones(14), size=1)
    at = histogram.log_quantile(answer, level)[0]
    below = np.interp(at, histogram.edges, np.concatenate([[0], np.cumsum(answer[0])]))
    assert below == pytest.approx(level, abs=1e-9)


def test_the_inner_part_of_the_targets_is_the_gaussian_s() -> None:
    histogram = PriceHistogram(lowest=0.0, highest=8.0, bins=400, smoothing=0.2)
    target = histogram.targets(np.array([50.0]))
    for level, deviations in ((0.1, -1.2816), (0.5, 0.0), (0.9, 1.2816)):
        expected = np.log1p(50.0) + 0.2 * deviations
        assert histogram.log_quantile(target, level)[0] == pytest.approx(expected, abs=1e-3)


def test_the_prior_is_the_mean_of_the_targets() -> None:
    some = np.random.default_rng(0).lognormal(3, 1, size=25_000)
    histogram = PriceHistogram.covering(some)
    np.testing.assert_allclose(
        histogram.prior(some), histogram.targets(some).mean(axis=0), rtol=1e-4, atol=1e-7
    )
    assert histogram.quantile(histogram.prior(some)[None], 0.5)[0] == pytest.approx(
        np.median(some), rel=0.03
    )


def test_one_price_alone_has_bins_around_it() -> None:
    same = np.full(10, 12.5)
    histogram = PriceHistogram.covering(same)
    assert histogram.quantile(histogram.targets(same), 0.5) == pytest.approx(same, rel=1e-3)


def test_a_price_beyond_the_bins_falls_into_the_outer_ones() -> None:
    histogram = PriceHistogram.covering(np.array([1.0, 100.0]))
    far = histogram.targets(np.array([0.0, 1e9]))
    np.testing.assert_allclose(far.sum(axis=1), 1, rtol=1e-6)
    assert far[0].argmax() == 0
    assert far[1].argmax() == histogram.bins - 1


@pytest.mark.parametrize("unusable", [[], [-1.0], [np.nan], [np.inf]])
def test_prices_that_are_none_are_refused(unusable: list[float]) -> None:
    with pytest.raises(ValueError, match="finite prices"):
        PriceHistogram.covering(np.array(unusable))
