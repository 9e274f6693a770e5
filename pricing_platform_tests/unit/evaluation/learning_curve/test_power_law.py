from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.evaluation.learning_curve.curve import overtaking
from pricing_platform.evaluation.learning_curve.power_law import (
    PowerLaw,
    fit_power_law,
    form_of,
)

SIZES = [250, 500, 1000, 2000, 4000]
GRID = np.geomspace(250, 400_000, 2000)


def law_of(floor: float, above: float, exponent: float) -> PowerLaw:
    """With an error of ``floor + above`` after 250 items."""
    return PowerLaw(floor, above * 250**exponent, exponent)


@settings(deadline=None, max_examples=40)
@given(floor=st.floats(0, 60), above=st.floats(5, 100), exponent=st.floats(0.2, 1.5))
def test_the_fit_recovers_a_law(floor: float, above: float, exponent: float) -> None:
    law = law_of(floor, above, exponent)

    found = fit_power_law(SIZES, law.at(SIZES))

    assert found.exponent == pytest.approx(exponent, rel=0.02, abs=0.01)
    assert found.floor == pytest.approx(floor, abs=0.02 * (floor + above))
    assert found.at(8000) == pytest.approx(float(law.at(8000)), rel=0.01)


def test_two_sizes_are_met_without_a_floor() -> None:
    found = fit_power_law([250, 4000], [40.0, 20.0])

    assert found.floor == 0
    assert found.at([250, 1000, 4000]) == pytest.approx([40, 28.28, 20], rel=1e-3)


def test_an_error_that_rises_is_fitted_as_flat() -> None:
    found = fit_power_law(SIZES, [20, 21, 22, 23, 24])
    assert found.at([250, 1_000_000]) == pytest.approx([22, 22], rel=1e-3)


def test_a_start_nearby_leads_to_the_same_law() -> None:
    law = law_of(20, 30, 0.7)
    noisy = law.at(SIZES) * np.array([1.01, 0.99, 1.0, 1.01, 0.99])

    near, alone = fit_power_law(SIZES, noisy, near=law), fit_power_law(SIZES, noisy)

    assert near.at(8000) == pytest.approx(float(alone.at(8000)), rel=1e-3)


@pytest.mark.parametrize(
    ("sizes", "form"),
    [([250, 500, 4000], "power_with_floor"), ([250, 250, 4000], "power"), ([250, 250], None)],
)
def test_what_so_many_sizes_can_tell(sizes: list[int], form: str | None) -> None:
    assert form_of(sizes) == form


def test_one_size_is_refused() -> None:
    with pytest.raises(ValueError, match="two different numbers"):
        fit_power_law([250, 250], [30, 31])


def test_a_steeper_law_overtakes_where_both_meet() -> None:
    flat, steep = PowerLaw(20, 0, 0.5), PowerLaw(0, 20 * 1000**0.5, 0.5)

    assert overtaking(steep, flat, GRID) == pytest.approx(1000, rel=0.001)
    assert overtaking(flat, steep, GRID) == np.inf


def test_who_is_ahead_from_the_start_overtakes_there() -> None:
    better, worse = PowerLaw(20, 0, 0.5), PowerLaw(21, 0, 0.5)

    assert overtaking(better, worse, GRID) == 250
    assert overtaking(worse, better, GRID) == np.inf
    assert overtaking(better, better, GRID) == np.inf  # as good is not ahead


def test_what_falls_behind_again_has_not_overtaken() -> None:
    # Ahead of the flat one up to 1,000 items only: it is the flat one that is ahead in the end.
    bending = PowerLaw(0, 20 / 1000**-0.01, 0.01)
    dropping = PowerLaw(15, 5 * 1000**1.0, 1.0)

    assert overtaking(dropping, bending, GRID) == pytest.approx(1000, rel=0.01)
    assert overtaking(bending, dropping, GRID) == np.inf
