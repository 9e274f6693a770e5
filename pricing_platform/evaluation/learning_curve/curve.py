"""What the points of a learning curve say: errors, fitted power laws, who overtakes whom.

Here belong the rows of the tables. Measuring the points belongs to ``points``, the law to
``power_law``. Laws and comparisons are over the test items that all techniques were asked about. An
item without an estimate is charged as the leaderboard charges it, so that refusing never pays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import polars as pl

from pricing_platform.catalog.item_set import ItemSet, family_names
from pricing_platform.evaluation.learning_curve.plan import CurveTechnique, PlannedPoint
from pricing_platform.evaluation.learning_curve.points import Point
from pricing_platform.evaluation.learning_curve.power_law import (
    FEWEST_SIZES,
    PowerLaw,
    fit_power_law,
    form_of,
)
from pricing_platform.resampling import (
    FamilyResampling,
    Floats,
    cluster_weights,
)

LEARNING_CURVE_VERSION = "2"

CURVE = "evaluation.learning_curve"
FITS = "evaluation.learning_curve_fits"
CROSSINGS = "evaluation.learning_curve_crossings"
CURVE_TABLES = (CURVE, FITS, CROSSINGS)

FURTHER_ITEMS = 1_000
HORIZON = 100
"""How many times the data an overtaking is looked for; beyond, a law says nothing."""

_GRID = 2_000
_CURVE_SCHEMA = pl.Schema(
    {
        "technique": pl.String,
        "size": pl.Int64,
        "is_all": pl.Boolean,
        "seed": pl.Int64,
        "left_out": pl.String,
        "planned_seconds": pl.Float64,
        "model": pl.String,
        "token_budget": pl.Int64,
        "train_items": pl.Int64,
        "train_families": pl.Int64,
        "test_items": pl.Int64,
        "failures": pl.Float64,
        "mae": pl.Float64,
        "mae_low": pl.Float64,
        "mae_high": pl.Float64,
        "rmsle": pl.Float64,
        "common_items": pl.Int64,
        "mae_common": pl.Float64,
        "mae_common_low": pl.Float64,
        "mae_common_high": pl.Float64,
        "training_seconds": pl.Float64,
        "training_core_seconds": pl.Float64,
        "training_joules": pl.Float64,
        "training_resumed": pl.Boolean,
        "inference_seconds": pl.Float64,
    }
)
_FITS_SCHEMA = pl.Schema(
    {
        "technique": pl.String,
        "sizes": pl.Int64,
        "points": pl.Int64,
        "form": pl.String,
        "not_fitted": pl.String,
        "floor": pl.Float64,
        "factor": pl.Float64,
        "exponent": pl.Float64,
        "residual": pl.Float64,
        "items": pl.Int64,
        "mae": pl.Float64,
        "mae_low": pl.Float64,
        "mae_high": pl.Float64,
        "further_items": pl.Int64,
        "mae_further": pl.Float64,
        "mae_further_low": pl.Float64,
        "mae_further_high": pl.Float64,
        "gain": pl.Float64,
        "gain_low": pl.Float64,
        "gain_high": pl.Float64,
    }
)
_CROSSINGS_SCHEMA = pl.Schema(
    {
        "technique": pl.String,
        "overtaken": pl.String,
        "outcome": pl.String,
        "at_items": pl.Float64,
        "at_items_low": pl.Float64,
        "at_items_high": pl.Float64,
        "is_extrapolated": pl.Boolean,
        "share_ahead": pl.Float64,
        "horizon_items": pl.Int64,
        "not_fitted": pl.String,
    }
)


def learning_curve_rows(
    plan: Sequence[PlannedPoint],
    techniques: Sequence[CurveTechnique],
    points: Sequence[Point],
    items: ItemSet,
    fallback: pl.DataFrame,
    *,
    seed: int,
    resamples: int = 1000,
    fitted_resamples: int = 200,
) -> dict[str, pl.DataFrame]:
    """The rows of the three tables.

    Args:
        plan: see :func:`plan_points`; what it leaves out has a row with the reason.
        techniques: those of the plan.
        points: what was measured.
        items: of all splits.
        fallback: ``item_id`` and ``estimate``: what a test item is taken to cost where a point has
            no estimate of it, as ``evaluation.fallback_estimates`` says.
        seed: of the resampling.
        resamples: of the bootstrap over families of each point's error.
        fitted_resamples: of the bootstrap over families and seeds of what is read off the laws.
    """
    test = items.split("test")
    common = _common(techniques, points, test)
    charged = dict(fallback.select("item_id", "estimate").iter_rows())
    fitted_on = _Scored.of(common, charged, seed, fitted_resamples)
    curves = _Curves.of(points, fitted_on, len(items.split("train")), fitted_resamples, seed)
    of_asked = {
        technique.name: _Scored.of(technique.asked, charged, seed, resamples)
        for technique in techniques
    }
    on_common = _Scored.of(common, charged, seed, resamples)
    measured = [_point_row(at, of_asked[at.technique], on_common) for at in points]
    left_out = [_left_out_row(at) for at in plan if at.left_out is not None]
    missing = [
        {"technique": at.name, "size": curves.all_items, "is_all": True, "left_out": at.existing}
        for at in techniques
        if isinstance(at.existing, str)
    ]
    seconds = {(at.technique, at.size, at.seed): at.seconds for at in plan}
    rows = pl.DataFrame([*measured, *left_out, *missing], schema=_CURVE_SCHEMA).with_columns(
        planned_seconds=pl.struct("technique", "size", "seed").map_elements(
            lambda at: seconds.get((at["technique"], at["size"], at["seed"])),
            return_dtype=pl.Float64,
        )
    )
    order = [technique.name for technique in techniques]
    return {
        CURVE: rows.sort(pl.col("technique").cast(pl.Enum(order)), "size", "seed"),
        FITS: pl.DataFrame(curves.fit_rows(order), schema=_FITS_SCHEMA),
        CROSSINGS: pl.DataFrame(curves.crossing_rows(order), schema=_CROSSINGS_SCHEMA),
    }


def _common(
    techniques: Sequence[CurveTechnique], points: Sequence[Point], test: ItemSet
) -> ItemSet:
    """The test items that every technique with a point was asked about."""
    measured = {at.technique for at in points}
    keep = pl.lit(value=True)
    for technique in techniques:
        if technique.name in measured:
            asked = technique.asked.frame["item_id"].to_list()
            keep = keep & pl.col("item_id").is_in(asked)
    return test.where(test.frame.select(keep.alias("common")).to_series()) if measured else test


@dataclass(frozen=True)
class _Scored:
    """Items that estimates are compared with, and the resampling of their families.

    ``fallback`` is what each is taken to cost where there is no estimate, shape (items,).
    """

    items: ItemSet
    fallback: Floats
    resampling: FamilyResampling

    @classmethod
    def of(
        cls, items: ItemSet, fallback: Mapping[str, float], seed: int, resamples: int
    ) -> _Scored:
        charged = np.array([fallback[at] for at in items.frame["item_id"]], np.float64)
        resampling = FamilyResampling.of(family_names(items), seed=seed, resamples=resamples)
        return cls(items, charged, resampling)

    def errors(self, point: Point) -> Floats:
        """Absolute errors, without an estimate those of the fallback; shape (items,)."""
        estimates = point.estimates_of(self.items)
        charged = np.where(np.isfinite(estimates), estimates, self.fallback)
        return np.asarray(np.abs(charged - self.items.prices()))

    def described(self, point: Point, suffix: str = "") -> dict[str, object]:
        errors = self.errors(point)
        low, high = self.resampling.interval(errors)
        mean = _mean(errors)
        return {f"mae{suffix}": mean, f"mae{suffix}_low": low, f"mae{suffix}_high": high}


def _point_row(point: Point, asked: _Scored, common: _Scored) -> dict[str, object]:
    estimates = point.estimates_of(asked.items)
    squares = (np.log1p(estimates) - np.log1p(asked.items.prices())) ** 2
    mean_square = _mean(squares)
    return {
        **point.model_dump(exclude={"estimates", "resumed"}),
        "training_resumed": point.resumed,
        "test_items": len(asked.items),
        "failures": float(np.isnan(estimates).mean()) if len(estimates) else None,
        **asked.described(point),
        "rmsle": None if mean_square is None else mean_square**0.5,
        "common_items": len(common.items),
        **common.described(point, "_common"),
    }


def _left_out_row(planned: PlannedPoint) -> dict[str, object]:
    return {
        "technique": planned.technique,
        "size": planned.size,
        "is_all": False,
        "seed": planned.seed,
        "left_out": planned.left_out,
        "token_budget": planned.token_budget,
    }


@dataclass(frozen=True)
class _Curves:
    """By technique: sizes, seed means on the common items, their laws and those of resamples.

    Resamples draw families, the same for all techniques, and seeds where there are several.
    """

    all_items: int
    sizes: Mapping[str, Floats]
    means: Mapping[str, Floats]
    points: Mapping[str, int]
    laws: Mapping[str, PowerLaw]
    resampled: Mapping[str, Sequence[PowerLaw]]

    @classmethod
    def of(
        cls, points: Sequence[Point], scored: _Scored, all_items: int, resamples: int, seed: int
    ) -> _Curves:
        sizes, means, counts, laws, resampled = {}, {}, {}, {}, {}
        for name in dict.fromkeys(at.technique for at in points):
            of_size = _by_size([at for at in points if at.technique == name], scored)
            if not of_size:
                continue
            errors = [np.array([scored.errors(at) for at in own]) for own in of_size]
            counts[name] = sum(len(own) for own in of_size)
            sizes[name] = np.array([np.mean([at.train_items for at in own]) for own in of_size])
            means[name] = np.array([np.mean(np.nanmean(at, axis=1)) for at in errors])
            if form_of(sizes[name]) is None:
                continue
            laws[name] = fit_power_law(sizes[name], means[name])
            resampled[name] = [
                fit_power_law(sizes[name], drawn, near=laws[name])
                for drawn in _resampled_means(errors, scored.resampling, resamples, seed)
            ]
        return cls(all_items, sizes, means, counts, laws, resampled)

    def fit_rows(self, techniques: Sequence[str]) -> list[dict[str, object]]:
        rows = []
        for name in techniques:
            row: dict[str, object] = {
                "technique": name,
                "sizes": len(self.sizes.get(name, ())),
                "points": self.points.get(name, 0),
                "items": self.all_items,
                "further_items": FURTHER_ITEMS,
            }
            law = self.laws.get(name)
            rows.append(row | (self._read(name, law) if law else self._not_fitted(name)))
        return rows

    def _not_fitted(self, name: str) -> dict[str, object]:
        found = len(self.sizes.get(name, ()))
        return {"not_fitted": f"measured after {found} sizes; at least {FEWEST_SIZES} are needed"}

    def _read(self, name: str, law: PowerLaw) -> dict[str, object]:
        missed = self.means[name] - law.at(self.sizes[name])
        now, later = self.all_items, self.all_items + FURTHER_ITEMS
        drawn = np.array([at.at([now, later]) for at in self.resampled[name]])
        at_now, at_later = (float(at) for at in law.at([now, later]))
        return {
            "form": form_of(self.sizes[name]),
            "floor": law.floor,
            "factor": law.factor,
            "exponent": law.exponent,
            "residual": float(np.sqrt(np.mean(missed**2))),
            **_with_interval("mae", at_now, drawn[:, 0]),
            **_with_interval("mae_further", at_later, drawn[:, 1]),
            **_with_interval("gain", at_now - at_later, drawn[:, 0] - drawn[:, 1]),
        }

    def crossing_rows(self, techniques: Sequence[str]) -> list[dict[str, object]]:
        horizon = HORIZON * self.all_items
        rows = []
        for name, other in permutations(techniques, 2):
            row: dict[str, object] = {
                "technique": name,
                "overtaken": other,
                "horizon_items": horizon,
            }
            unknown = [at for at in (name, other) if at not in self.laws]
            if unknown:
                rows.append(row | {"not_fitted": f"no law was fitted to {', '.join(unknown)}"})
                continue
            start = max(float(self.sizes[at].min()) for at in (name, other))
            grid = np.geomspace(start, horizon, _GRID)
            at = overtaking(self.laws[name], self.laws[other], grid)
            drawn = np.array(
                [
                    overtaking(one, two, grid)
                    for one, two in zip(self.resampled[name], self.resampled[other], strict=True)
                ]
            )
            measured_to = min(float(self.sizes[at].max()) for at in (name, other))
            rows.append(row | _crossing(at, drawn, start, measured_to))
        return rows


def _by_size(points: Sequence[Point], scored: _Scored) -> list[list[Point]]:
    """The points with an error on the common items, those of a size together, by size."""
    known = [at for at in points if _mean(scored.errors(at)) is not None]
    return [[at for at in known if at.size == size] for size in sorted({at.size for at in known})]


def overtaking(technique: PowerLaw, other: PowerLaw, grid: Floats) -> float:
    """From how many items on the technique's error stays below the other's, up to the grid's end.

    Args:
        technique: the law of the one that overtakes.
        other: the law of the one that is overtaken.
        grid: numbers of items, ascending.

    Returns:
        The first number of the grid where it is ahead everywhere, infinity where it is behind at
        the grid's end.
    """
    ahead = other.at(grid) - technique.at(grid)
    behind = np.flatnonzero(ahead <= 0)
    if behind.size == 0:
        return float(grid[0])
    last = int(behind[-1])
    if last == len(grid) - 1:
        return float("inf")
    # Between two neighbours of the grid both errors are as good as straight in log(items).
    share = -ahead[last] / (ahead[last + 1] - ahead[last])
    return float(np.exp(np.interp(share, [0, 1], np.log(grid[[last, last + 1]]))))


def _crossing(at: float, drawn: Floats, start: float, measured_to: float) -> dict[str, object]:
    # Order statistics, since between a number and infinity there is nothing to interpolate.
    low = float(np.quantile(drawn, 0.025, method="lower"))
    high = float(np.quantile(drawn, 0.975, method="higher"))
    outcome = "ahead" if at <= start else "never" if np.isinf(at) else "overtakes"
    return {
        "outcome": outcome,
        "at_items": at if outcome == "overtakes" else None,
        "at_items_low": low if np.isfinite(low) else None,
        "at_items_high": high if np.isfinite(high) else None,
        "is_extrapolated": outcome == "overtakes" and at > measured_to,
        "share_ahead": float(np.isfinite(drawn).mean()),
    }


def _resampled_means(
    by_size: Sequence[Floats], resampling: FamilyResampling, resamples: int, seed: int
) -> Iterator[Floats]:
    """For each resample the mean error of every size.

    Args:
        by_size: absolute errors of each size, shape (seeds, items), NaN without an estimate.
        resampling: of the items' families.
        resamples: how many.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    places = resampling.place
    weights = np.concatenate(list(cluster_weights(resampling.families, resamples, seed)), axis=1)
    means = []
    for errors in by_size:
        known = np.isfinite(errors)
        sums, counts = (
            np.array([np.bincount(places, row, resampling.families) for row in values]) @ weights
            for values in (np.where(known, errors, 0.0), known.astype(np.float64))
        )
        by_seed = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        seeds = generator.integers(len(errors), size=(len(errors), resamples))
        means.append(np.nanmean(np.take_along_axis(by_seed, seeds, axis=0), axis=0))
    return iter(np.column_stack(means))


def _with_interval(name: str, value: float, drawn: Floats) -> dict[str, object]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
