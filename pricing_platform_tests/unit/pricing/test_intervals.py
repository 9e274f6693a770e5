from __future__ import annotations

import numpy as np

from pricing_platform.pricing.intervals import LEVEL, ConformalInterval


def test_covers_new_items_at_the_level_on_both_sides_of_a_skewed_error() -> None:
    """By conformal theory the mean coverage lies between the level and the level + 2 / (n + 1)."""
    random = np.random.default_rng(0)
    below, above = [], []
    for _ in range(400):
        seen, new = random.gumbel(size=(2, 99))
        interval = ConformalInterval.fit(seen, np.zeros(99))
        low, high = interval.around(np.zeros(99))
        below.append((new < low).mean())
        above.append((new > high).mean())
    assert abs(np.mean(below) - (1 - LEVEL) / 2) < 0.01
    assert abs(np.mean(above) - (1 - LEVEL) / 2) < 0.01


def test_sides_differ_where_the_misses_do() -> None:
    interval = ConformalInterval.fit(np.array([0.0] * 50 + [2.0] * 49), np.zeros(99))
    assert interval == ConformalInterval(0.0, 2.0)


def test_the_estimate_lies_inside_also_when_all_misses_are_on_one_side() -> None:
    low, high = ConformalInterval.fit(np.full(50, 1.0), np.zeros(50)).around(np.array([3.0]))
    assert (low[0], high[0]) == (3.0, 4.0)


def test_without_residuals_the_interval_is_the_estimate() -> None:
    low, high = ConformalInterval.fit(np.empty(0), np.empty(0)).around(np.array([3.0]))
    assert low[0] == high[0] == 3.0
