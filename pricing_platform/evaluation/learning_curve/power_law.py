"""How an error falls with the number of items learnt from, as a power law.

Error = a + b * n^-c, with a the error that no number of items takes away, is what learning curves
follow over a wide range (Cortes et al. 1994; Hestness et al. 2017; Viering and Loog, "The shape of
learning curves", 2023). Here belong fitting and reading it; which errors belongs to ``curve``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Form = Literal["power", "power_with_floor"]

FEWEST_SIZES = 2
_FEWEST_WITH_FLOOR = 3
_LOWER, _UPPER = np.array([0.0, 0.01, 0.0]), np.array([10.0, 3.0, 1.0])
"""Of factor, exponent and floor, where the largest error and the smallest size are 1."""
_EXPONENTS_TRIED = (0.25, 0.6, 1.2)
_LOWEST_START = 0.7


@dataclass(frozen=True)
class PowerLaw:
    """Error = ``floor`` + ``factor`` * n^-``exponent``; none of them is negative."""

    floor: float
    factor: float
    exponent: float

    def at(self, items: npt.ArrayLike) -> Floats:
        """The error after so many items, in their shape."""
        return np.asarray(
            self.floor + self.factor * np.asarray(items, np.float64) ** -self.exponent
        )


def form_of(sizes: Sequence[float] | Floats) -> Form | None:
    """What so many different sizes can determine: of two, no floor; of one, nothing."""
    different = len(set(sizes))
    if different < FEWEST_SIZES:
        return None
    return "power_with_floor" if different >= _FEWEST_WITH_FLOOR else "power"


def fit_power_law(
    sizes: Sequence[float] | Floats,
    errors: Sequence[float] | Floats,
    *,
    near: PowerLaw | None = None,
) -> PowerLaw:
    """The law with the least squares of what it misses; without a floor for two sizes.

    Args:
        sizes: how many items were learnt from, at least two different numbers.
        errors: mean errors, not negative.
        near: a law to start from, as where errors are resampled; else several are tried.

    Raises:
        ValueError: for fewer than two different sizes.
    """
    form = form_of(sizes)
    if form is None:
        raise ValueError("a power law needs errors after two different numbers of items")
    n, error = np.asarray(sizes, np.float64), np.asarray(errors, np.float64)
    # Relative to the smallest size and the largest error, so that parameters are of like scale.
    unit, scale = float(n.min()), max(float(error.max()), float(np.finfo(np.float64).tiny))
    if near is not None:
        starts = [(near.factor * unit**-near.exponent / scale, near.exponent, near.floor / scale)]
    else:
        lowest = _LOWEST_START * float(error.min()) / scale
        starts = [(1 - lowest, exponent, lowest) for exponent in _EXPONENTS_TRIED]
    found = min((_fitted(n / unit, error / scale, at, form) for at in starts), key=lambda at: at[1])
    factor, exponent, floor = found[0]
    return PowerLaw(floor * scale, factor * scale * unit**exponent, exponent)


def _fitted(
    n: Floats, error: Floats, start: tuple[float, float, float], form: Form
) -> tuple[tuple[float, float, float], float]:
    """Factor, exponent and floor on the relative scale, and the squares that they leave."""
    from scipy.optimize import OptimizeWarning, curve_fit

    count = 3 if form == "power_with_floor" else 2

    def law(at: Floats, factor: float, exponent: float, floor: float = 0.0) -> Floats:
        return floor + factor * at**-exponent

    def slopes(at: Floats, factor: float, exponent: float, _floor: float = 0.0) -> Floats:
        part = at**-exponent
        return np.column_stack([part, -factor * np.log(at) * part, np.ones_like(at)])[:, :count]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # of a covariance that nobody reads
        parameters, _ = curve_fit(
            law,
            n,
            error,
            p0=np.clip(start, _LOWER, _UPPER)[:count],
            bounds=(_LOWER[:count], _UPPER[:count]),
            jac=slopes,
            x_scale=1.0,
            max_nfev=2_000,
        )
    left = error - law(n, *parameters)
    factor, exponent, floor = (*(float(at) for at in parameters), 0.0)[:3]
    return (factor, exponent, floor), float(left @ left)
