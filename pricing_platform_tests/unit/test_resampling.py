from __future__ import annotations

import numpy as np
import pytest

from pricing_platform import resampling
from pricing_platform.resampling import (
    ClusterSums,
    FamilyResampling,
    cluster_weights,
    holm,
    percentile_interval,
    resampled_sums,
    sign_flip_p_values,
)


def weights_of(clusters: int, resamples: int, seed: int) -> np.ndarray:
    return np.concatenate(list(cluster_weights(clusters, resamples, seed)), axis=1).T


def test_each_resample_draws_as_many_families_as_there_are() -> None:
    weights = weights_of(50, 200, seed=1)

    assert weights.shape == (200, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.var(axis=1).mean() == pytest.approx(1, abs=0.1)  # Poisson-like: with replacement


def test_the_draws_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = weights_of(30, 40, seed=1)
    monkeypatch.setattr(resampling, "_WEIGHTS_AT_ONCE", 100)
    blocks = list(cluster_weights(30, 40, seed=1))

    assert len(blocks) == 14
    assert (at_once == np.concatenate(blocks, axis=1).T).all()
    assert (weights_of(30, 40, seed=2) != at_once).any()


def test_groups_share_the_resamples() -> None:
    everything = ClusterSums(np.arange(10), np.arange(10.0)[:, None])
    even = ClusterSums(np.arange(0, 10, 2), np.arange(0.0, 10, 2)[:, None])
    odd = ClusterSums(np.arange(1, 10, 2), np.arange(1.0, 10, 2)[:, None])

    whole, evens, odds = resampled_sums([everything, even, odd], clusters=10, resamples=50, seed=4)

    assert np.allclose(whole, evens + odds)


def clustered_sample(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Values around 10 of 80 families of 1 to 5, whose members share most of their deviation."""
    sizes = generator.integers(1, 6, 80)
    family = np.repeat(np.arange(80), sizes)
    return family, 10 + generator.normal(0, 2, 80)[family] + generator.normal(0, 0.5, len(family))


def mean_interval(family: np.ndarray, values: np.ndarray, seed: int) -> tuple[float, float]:
    count = int(family.max()) + 1
    sums = np.column_stack([np.bincount(family, values), np.bincount(family)])
    group = ClusterSums(np.arange(count), sums)
    (totals,) = resampled_sums([group], clusters=count, resamples=400, seed=seed)
    return percentile_interval(totals[:, 0] / totals[:, 1])


def test_the_interval_covers_the_truth_as_often_as_it_says_only_when_it_knows_the_families() -> (
    None
):
    generator = np.random.default_rng(11)
    by_family, by_item, narrower = 0, 0, 0
    for seed in range(300):
        family, values = clustered_sample(generator)
        low, high = mean_interval(family, values, seed)
        item_low, item_high = mean_interval(np.arange(len(values)), values, seed)
        by_family += low <= 10 <= high
        by_item += item_low <= 10 <= item_high
        narrower += item_high - item_low < high - low

    assert 0.91 <= by_family / 300 <= 0.98
    assert by_item / 300 < 0.85
    assert narrower == 300


def test_an_interval_leaves_resamples_without_a_value_out() -> None:
    values = np.append(np.arange(101.0), np.nan)

    assert percentile_interval(values, confidence=0.8) == pytest.approx((10, 90))
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()


def test_sign_flips_by_family_agree_with_scipy() -> None:
    from scipy.stats import permutation_test

    differences = np.random.default_rng(5).normal(0.5, 1, 12)
    exact = permutation_test(
        (differences, np.zeros(12)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    (p_value,) = sign_flip_p_values(
        [ClusterSums(np.arange(12), differences[:, None])], clusters=12, permutations=20_000, seed=1
    )

    assert p_value == pytest.approx(exact.pvalue, abs=0.015)


def test_without_a_difference_one_test_in_twenty_finds_one() -> None:
    generator = np.random.default_rng(6)
    groups = [ClusterSums(np.arange(40), generator.normal(0, 1, (40, 1))) for _ in range(800)]

    p_values = sign_flip_p_values(groups, clusters=40, permutations=400, seed=2)

    assert 0.025 <= np.mean(np.array(p_values) < 0.05) <= 0.075


def test_a_p_value_is_never_zero_and_one_without_any_difference() -> None:
    clear = ClusterSums(np.arange(60), np.full((60, 1), 3.0))
    equal = ClusterSums(np.arange(60), np.zeros((60, 1)))

    p_values = sign_flip_p_values([clear, equal], clusters=60, permutations=999, seed=0)

    assert p_values == [0.001, 1.0]


def test_holm_corrects_as_published() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_values_that_are_missing_take_no_part_in_a_mean_by_family() -> None:
    generator = np.random.default_rng(4)
    values = generator.normal(3, 1, 80)
    names = [f"family-{number // 2}" for number in range(80)]
    gaps = np.where(np.arange(80) < 40, values, np.nan)

    def of(families: list[str]) -> FamilyResampling:
        return FamilyResampling.of(families, seed=1, resamples=300, permutations=300)

    low, high = of(names).interval(values)
    assert low is not None
    assert high is not None
    assert low < values.mean() < high
    gap_low, gap_high = of(names).interval(gaps)
    assert gap_low is not None
    assert gap_high is not None
    assert gap_low < gaps[:40].mean() < gap_high
    assert gap_high - gap_low > high - low  # half as many, so less is known
    assert of(["one"] * 80).interval(values) == (None, None)
    assert of(names).p_value(values) < 0.01
    assert of(names).p_value(values - values.mean()) > 0.9
