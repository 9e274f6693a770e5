"""Paired differences: their values, and how sure they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.forgetting.comparison import Interval, compare
from pricing_platform_tests.unit.finetuning.forgetting.measures import BASE, measure


def test_shares_are_of_the_base() -> None:
    found = compare(BASE, measure(90, 25.0, kl=0.3), seed=1)

    assert found.probe_accuracy.value == pytest.approx(0.45)
    assert found.accuracy_lost.value == pytest.approx(0.25)
    assert found.perplexity.value == pytest.approx(25)
    assert found.perplexity_gained.value == pytest.approx(0.25)
    assert found.kl_divergence == Interval(
        pytest.approx(0.3), pytest.approx(0.3), pytest.approx(0.3)
    )
    assert found.share == pytest.approx(0.25)


def test_what_is_gained_is_below_nothing() -> None:
    found = compare(BASE, measure(132, 18.0), seed=1)

    assert found.accuracy_lost.value == pytest.approx(-0.1)
    assert found.perplexity_gained.value == pytest.approx(-0.1)


def test_intervals_are_of_pairs_and_cover_the_value() -> None:
    found = compare(BASE, measure(114, 21.0), seed=1)
    unpaired = replace(measure(114, 21.0), is_correct=np.arange(200)[::-1] < 114)
    shuffled = compare(BASE, unpaired, seed=1)

    for interval in (found.accuracy_lost, found.perplexity_gained, found.probe_accuracy):
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= interval.value <= interval.high
    # All chunks differ alike, so how much chunks differ from each other plays no part.
    assert found.perplexity_gained.high - found.perplexity_gained.low < 1e-6
    assert found.perplexity.high - found.perplexity.low > 0.1
    width, wider = (at.accuracy_lost.high - at.accuracy_lost.low for at in (found, shuffled))
    assert shuffled.accuracy_lost.value == pytest.approx(found.accuracy_lost.value)
    assert width < 0.5 * wider


def test_the_same_seed_gives_the_same_interval() -> None:
    assert compare(BASE, measure(100, 25), seed=1) == compare(BASE, measure(100, 25), seed=1)
    assert compare(BASE, measure(100, 25), seed=1) != compare(BASE, measure(100, 25), seed=2)


def test_a_model_without_numbers_has_lost_all() -> None:
    broken = replace(measure(0, 20.0), nll=np.full(40, np.inf), divergence=np.full(40, np.inf))

    found = compare(BASE, broken, seed=1)

    assert found.accuracy_lost == Interval(1.0, 1.0, 1.0)
    assert found.perplexity_gained == Interval(float("inf"), None, None)
    assert found.share == float("inf")


def test_a_base_that_knows_nothing_has_nothing_to_lose() -> None:
    with pytest.raises(PlatformError, match="none of the probes"):
        compare(measure(0, 20.0), measure(10, 20.0), seed=1)
