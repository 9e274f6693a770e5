"""How much context is worth its price: error, tokens, time and cost by the number of shots and of
comparables that a language model is shown.

Here belong the sweep and what is read from it: the gain of every step and the knee. How a technique
chooses what it shows belongs to ``pricing``. The sweep chooses a setting, so it is made on
validation items and never on test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from pricing_platform.catalog.item_samples import chosen_items
from pricing_platform.catalog.item_set import ItemSet, family_names
from pricing_platform.errors import PlatformError
from pricing_platform.evaluation.pricer import PartOf, Pricer
from pricing_platform.progress import Progress, silent
from pricing_platform.resampling import FamilyResampling, Floats

CONTEXT_SWEEP_VERSION = "3"

ContextKind = Literal["shots", "comparables"]
KINDS: tuple[ContextKind, ...] = ("shots", "comparables")
COUNTS = (0, 1, 2, 3, 5, 10, 20, 50)
ALPHA = 0.05
FAILURES_FORGIVEN = 0.05
"""A count that leaves more than this share without an estimate is neither the best nor the knee."""

TechniqueOf = Callable[[ContextKind, int], Pricer]
"""The technique that shows so many shots, or comparables, and is otherwise as it stands."""

CONTEXT_SWEEP_SCHEMA = pl.Schema(
    {
        "kind": pl.String,
        "count": pl.Int64,
        "items": pl.Int64,
        "failures": pl.Float64,
        "context_items": pl.Float64,
        "window_full": pl.Boolean,
        "mae": pl.Float64,
        "mae_low": pl.Float64,
        "mae_high": pl.Float64,
        "tokens_in": pl.Float64,
        "tokens_cached": pl.Float64,
        "tokens_out": pl.Float64,
        "latency_p50_ms": pl.Float64,
        "latency_p95_ms": pl.Float64,
        "cost_per_1000_usd": pl.Float64,
        "gain": pl.Float64,
        "gain_low": pl.Float64,
        "gain_high": pl.Float64,
        "gain_per_1000_tokens": pl.Float64,
        "behind_best": pl.Float64,
        "behind_best_low": pl.Float64,
        "behind_best_high": pl.Float64,
        "p_value": pl.Float64,
        "is_best": pl.Boolean,
        "is_knee": pl.Boolean,
    }
)


def sweep_sample(items: ItemSet, most: int, *, seed: int) -> ItemSet:
    """At most ``most`` validation items, chosen by a seeded hash."""
    return chosen_items(items.split("validation"), most, seed=seed)


def context_sweep(
    sample: ItemSet,
    technique_of: TechniqueOf,
    *,
    seed: int,
    kinds: Sequence[ContextKind] = KINDS,
    counts: Sequence[int] = COUNTS,
    resamples: int = 1000,
    permutations: int = 10_000,
    progress: Progress = silent,
) -> pl.DataFrame:
    """Rows for ``evaluation.context_sweep``: one a kind of context and count, in that order.

    A kind's sweep ends after the first count at which something was left out of most prompts for
    want of room, at which most were longer than the server reads, or at which no more was shown
    than at the count before: more can't be shown.

    The best count is the one with the smallest mean absolute error; the knee is the smallest count
    that is not significantly worse than it: whose errors on the items that both priced are not
    larger on average, or are so with a p-value of at least 0.05 in a two-sided sign-flip test by
    family. No correction is made for the number of counts, which errs towards more context. A count
    with more than 5 % failures is neither. Intervals are 95 % percentile intervals of a bootstrap
    over families.

    Args:
        sample: the items that are priced, none of them of test, with prices.
        technique_of: makes the technique for a kind and count.
        seed: of resamples and permutations.
        kinds: which kinds of context.
        counts: ascending.
        resamples: of the bootstrap.
        permutations: of the test.
        progress: told while a technique prices.

    Raises:
        PlatformError: when there is no item to price, or one of test.
    """
    _check(sample)
    resampling = FamilyResampling.of(
        family_names(sample), seed=seed, resamples=resamples, permutations=permutations
    )
    rows: list[dict[str, object]] = []
    for kind in kinds:
        points = _swept(sample, technique_of, kind, counts, progress)
        rows += _described(points, resampling)
    return pl.DataFrame(rows, schema=CONTEXT_SWEEP_SCHEMA)


@dataclass(frozen=True)
class _Point:
    """What came of one count: ``errors`` are absolute, NaN without an estimate, shape (items,)."""

    kind: ContextKind
    count: int
    answers: pl.DataFrame
    errors: Floats

    @property
    def mae(self) -> float | None:
        return _mean(self.errors)

    @property
    def failures(self) -> float:
        return float(np.isnan(self.errors).mean())

    @property
    def shown(self) -> float:
        return float(self.answers.select(pl.col("context_items").fill_null(0).mean()).item())

    @property
    def window_full(self) -> bool:
        """Whether something was left out of most prompts for want of room."""
        cut = self.answers.select((pl.col("context_cut").fill_null(0) > 0).mean()).item()
        return bool(cut > 0.5)

    @property
    def is_too_long(self) -> bool:
        """Whether most prompts were longer than the server reads."""
        if "failure" not in self.answers.columns:
            return False
        reasons = self.answers["failure"].cast(pl.String)
        return 2 * int(reasons.str.starts_with("too_long").sum()) > len(reasons)

    def average(self, column: str) -> float | None:
        """Mean over the items that have a value."""
        return self.answers.select(pl.col(column).mean()).item()  # type: ignore[no-any-return]


def _check(sample: ItemSet) -> None:
    if len(sample) == 0:
        raise PlatformError(
            "There is no validation item to sweep the context over.",
            "Add listings: one family in ten is for validation.",
        )
    if "test" in set(sample.frame["split"]):
        raise PlatformError(
            "The context sweep chooses a setting, so it must not see test items.",
            "Choose its items with sweep_sample().",
        )


def _swept(
    sample: ItemSet,
    technique_of: TechniqueOf,
    kind: ContextKind,
    counts: Sequence[int],
    progress: Progress,
) -> list[_Point]:
    points: list[_Point] = []
    for count in counts:
        told = PartOf(progress, f"{kind}, {count} shown")
        answers = technique_of(kind, count).price(sample, progress=told)
        point = _Point(kind, count, answers, _errors(sample, answers))
        nothing_more = bool(points) and point.shown <= points[-1].shown
        points.append(point)
        if point.window_full or nothing_more or point.is_too_long:
            break
    return points


def _errors(sample: ItemSet, answers: pl.DataFrame) -> Floats:
    """Absolute errors in the sample's order; what is no price above 0 has none."""
    found = sample.frame.select("item_id").join(
        answers.select("item_id", "estimate"),
        on="item_id",
        how="left",
        maintain_order="left",
        validate="1:1",
    )
    estimates = found["estimate"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    usable = np.isfinite(estimates) & (estimates > 0)
    return np.where(usable, np.abs(estimates - sample.prices()), np.nan)


def _described(points: Sequence[_Point], resampling: FamilyResampling) -> list[dict[str, object]]:
    """The rows of one kind: what each count reached, gained and is behind the best."""
    ranked = [at for at in points if at.failures <= FAILURES_FORGIVEN and at.mae is not None]
    best = min(ranked, key=lambda at: (at.mae, at.count), default=None)
    rows = []
    before: _Point | None = None
    for point in points:
        row = {
            **_reached(point, resampling),
            **_gained(point, before, resampling),
            **_behind(point, best, resampling),
        }
        rows.append(row | {"is_best": point is best, "is_knee": False})
        before = point
    candidates = {at.count for at in ranked}
    for row in rows:
        if row["count"] in candidates and _is_no_worse(row):
            row["is_knee"] = True
            break
    return rows


def _is_no_worse(row: dict[str, object]) -> bool:
    """Whether a count is not significantly worse than the best."""
    behind, p_value = row.get("behind_best"), row.get("p_value")
    if not isinstance(behind, float):
        return False
    return behind <= 0 or (isinstance(p_value, float) and p_value >= ALPHA)


def _reached(point: _Point, resampling: FamilyResampling) -> dict[str, object]:
    low, high = resampling.interval(point.errors)
    cost = point.average("cost_usd")
    return {
        "kind": point.kind,
        "count": point.count,
        "items": len(point.errors),
        "failures": point.failures,
        "context_items": point.shown,
        "window_full": point.window_full,
        "mae": point.mae,
        "mae_low": low,
        "mae_high": high,
        **{name: point.average(name) for name in ("tokens_in", "tokens_cached", "tokens_out")},
        "latency_p50_ms": point.answers["latency_ms"].quantile(0.5, "linear"),
        "latency_p95_ms": point.answers["latency_ms"].quantile(0.95, "linear"),
        "cost_per_1000_usd": None if cost is None else 1000 * cost,
    }


def _gained(
    point: _Point, before: _Point | None, resampling: FamilyResampling
) -> dict[str, object]:
    """By how much the error fell from the count before, on the items that both priced."""
    if before is None:
        return {}
    differences = before.errors - point.errors
    gain = _mean(differences)
    low, high = resampling.interval(differences)
    tokens, tokens_before = point.average("tokens_in"), before.average("tokens_in")
    further = (tokens or 0.0) - (tokens_before or 0.0)
    per_token = None if gain is None or further <= 0 else 1000 * gain / further
    return {"gain": gain, "gain_low": low, "gain_high": high, "gain_per_1000_tokens": per_token}


def _behind(point: _Point, best: _Point | None, resampling: FamilyResampling) -> dict[str, object]:
    """How far the count's error lies above the best one's, on the items that both priced."""
    if best is None:
        return {}
    if point is best:
        return {"behind_best": 0.0}
    differences = point.errors - best.errors
    behind = _mean(differences)
    if behind is None:
        return {}
    low, high = resampling.interval(differences)
    return {
        "behind_best": behind,
        "behind_best_low": low,
        "behind_best_high": high,
        "p_value": resampling.p_value(differences),
    }


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
