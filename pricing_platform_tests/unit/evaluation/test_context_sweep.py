"""The sweep of a pricer whose error is known to fall with what it is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.evaluation.context_sweep import (
    CONTEXT_SWEEP_SCHEMA,
    ContextKind,
    context_sweep,
    sweep_sample,
)
from pricing_platform.progress import Progress, silent
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import ContextPricer, answers_of


def items(count: int = 120, *, split: str = "validation", family_size: int = 1) -> ItemSet:
    generator = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "item_id": [f"item-{number:04d}" for number in range(count)],
            "family_id": [f"family-{number // family_size}" for number in range(count)],
            "text": ["A product"] * count,
            "price": np.exp(generator.normal(4, 0.5, count)),
            "split": [split] * count,
        }
    )
    return ItemSet(frame, np.zeros((count, 384), np.float32))


@dataclass(frozen=True)
class Errs:
    """Errs by ``error`` on every item, up and down in turns, and by up to ``more`` beyond it."""

    error: float
    more: float = 0.0
    shown: int = 0
    failing: int = 0

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        number = np.arange(len(items))
        error = self.error + self.more * np.sin(number * (1 + self.shown))
        estimates = items.prices() + error * np.where(number % 2, 1, -1)
        estimates[: self.failing] = np.nan
        return answers_of(
            items,
            estimates,
            context_items=self.shown,
            context_cut=0,
            tokens_in=10 * self.shown + 10,
        )


def swept(technique_of: object, sample: ItemSet | None = None, **named: object) -> pl.DataFrame:
    return context_sweep(
        items() if sample is None else sample,
        technique_of,  # type: ignore[arg-type]
        seed=3,
        resamples=200,
        permutations=400,
        **named,  # type: ignore[arg-type]
    )


def test_rows_are_those_of_every_kind_and_count() -> None:
    asked: list[tuple[str, int]] = []

    def technique_of(kind: ContextKind, count: int) -> ContextPricer:
        asked.append((kind, count))
        return ContextPricer(count)

    rows = swept(technique_of, counts=(0, 1, 5))

    assert rows.schema == CONTEXT_SWEEP_SCHEMA
    assert rows.select("kind", "count").rows() == asked
    assert asked == [(kind, count) for kind in ("shots", "comparables") for count in (0, 1, 5)]
    assert rows["tokens_in"].to_list() == [100, 150, 350] * 2
    assert rows["tokens_cached"].to_list() == [0, 50, 250] * 2
    assert rows["latency_p50_ms"].to_list() == [2, 3, 7] * 2
    assert (rows["mae_low"] < rows["mae"]).all()
    assert (rows["mae"] < rows["mae_high"]).all()


def test_error_and_gain_are_those_worked_out_by_hand() -> None:
    errors = {0: 10.0, 1: 6.0, 2: 5.0}

    rows = swept(
        lambda _kind, count: Errs(errors[count], shown=count), kinds=["shots"], counts=[0, 1, 2]
    )

    assert rows["mae"].to_list() == pytest.approx([10, 6, 5])
    assert rows["gain"].to_list() == [None, pytest.approx(4), pytest.approx(1)]
    # Ten further tokens each.
    assert rows["gain_per_1000_tokens"].to_list() == [None, pytest.approx(400), pytest.approx(100)]
    assert rows["behind_best"].to_list() == pytest.approx([5, 1, 0])
    assert rows["is_best"].to_list() == [False, False, True]
    assert rows["gain_low"][1] <= rows["gain"][1] * (1 + 1e-9)


def test_the_knee_is_the_smallest_count_that_is_not_significantly_worse() -> None:
    # 1 and 2 differ from the best by noise that averages out; 0 is worse on every item.
    def technique_of(_kind: ContextKind, count: int) -> Errs:
        return Errs(12.0 if count == 0 else 6.0 - 0.01 * count, more=1.0, shown=count)

    rows = swept(technique_of, kinds=["shots"], counts=[0, 1, 2, 3])

    assert rows["is_best"].to_list() == [False, False, False, True]
    assert rows["is_knee"].to_list() == [False, True, False, False]
    assert rows["p_value"][0] < 0.05
    worse = rows.filter(~pl.col("is_best"))["p_value"].slice(1)
    assert (worse >= 0.05).all()


def test_where_every_step_is_sure_to_gain_the_knee_is_the_best() -> None:
    rows = swept(
        lambda _kind, count: Errs(10.0 - count, shown=count), kinds=["shots"], counts=[0, 1, 2]
    )

    assert rows["is_knee"].to_list() == [False, False, True]
    assert rows["is_best"].to_list() == [False, False, True]


def test_families_and_not_items_decide_what_is_significant() -> None:
    def technique_of(_kind: ContextKind, count: int) -> Errs:
        return Errs(6.5 if count == 0 else 6.0, shown=count)

    many = swept(technique_of, kinds=["shots"], counts=[0, 1])
    few = swept(technique_of, items(family_size=40), kinds=["shots"], counts=[0, 1])

    assert many["is_knee"].to_list() == [False, True]
    assert few["is_knee"].to_list() == [True, False]  # three families: at best 0.25


def test_the_sweep_ends_where_the_window_is_full() -> None:
    rows = swept(lambda _kind, count: ContextPricer(count, fits=4), kinds=["comparables"])

    assert rows["count"].to_list() == [0, 1, 2, 3, 5]
    assert rows["window_full"].to_list() == [False] * 4 + [True]
    assert rows["context_items"][-1] == 4


def test_the_sweep_ends_where_there_is_nothing_more_to_show() -> None:
    rows = swept(lambda _kind, count: Errs(5.0, shown=min(count, 2)), kinds=["comparables"])

    assert rows["count"].to_list() == [0, 1, 2, 3]
    assert not rows["window_full"].any()
    assert rows["gain_per_1000_tokens"][3] is None  # no further token was read


def test_a_count_that_leaves_items_open_is_neither_best_nor_knee() -> None:
    def technique_of(_kind: ContextKind, count: int) -> Errs:
        return Errs(1.0 if count == 1 else 5.0, shown=count, failing=12 if count == 1 else 0)

    rows = swept(technique_of, kinds=["shots"], counts=[0, 1, 2])

    assert rows["failures"].to_list() == [0, 0.1, 0]
    assert rows["mae"][1] == pytest.approx(1)
    assert rows["is_best"].to_list() == [True, False, False]
    assert rows["is_knee"].to_list() == [True, False, False]


def test_without_any_estimate_there_is_no_best() -> None:
    rows = swept(
        lambda _kind, count: Errs(1.0, shown=count, failing=120), kinds=["shots"], counts=[0, 1]
    )

    assert rows["mae"].to_list() == [None, None]
    assert rows["failures"].to_list() == [1, 1]
    assert not rows["is_best"].any()
    assert not rows["is_knee"].any()


def test_the_same_seed_gives_the_same_rows() -> None:
    once, again = (swept(lambda _kind, count: ContextPricer(count)) for _ in range(2))

    assert once.equals(again)


def test_items_of_test_are_refused_and_none_is_too_few() -> None:
    with pytest.raises(PlatformError, match="must not see test items"):
        swept(lambda _kind, count: ContextPricer(count), items(split="test"))
    with pytest.raises(PlatformError, match="no validation item"):
        swept(lambda _kind, count: ContextPricer(count), items(0))


def test_the_sample_is_of_validation_and_chosen_by_the_seed() -> None:
    everything = items(300)
    thirds = pl.Series("split", ["train", "validation", "test"] * 100)
    mixed = ItemSet(everything.frame.with_columns(thirds), everything.embeddings)

    sample, again, other = (sweep_sample(mixed, 40, seed=seed) for seed in (1, 1, 2))

    assert set(sample.frame["split"]) == {"validation"}
    assert len(sample) == 40
    assert sample.frame.equals(again.frame)
    assert not sample.frame.equals(other.frame)
    assert sample.frame["item_id"].is_sorted()
    backwards = ItemSet(mixed.frame.reverse(), mixed.embeddings)
    assert set(sweep_sample(backwards, 40, seed=1).frame["item_id"]) == set(sample.frame["item_id"])
    assert len(sweep_sample(mixed, 1000, seed=1)) == 100


def test_progress_says_which_part_it_is_of() -> None:
    told: list[str] = []

    swept(
        lambda _kind, count: ContextPricer(count),
        counts=(0, 2),
        progress=lambda description, _done, _total: told.append(description),
    )

    assert told == [
        "shots, 0 shown: pricing",
        "shots, 2 shown: pricing",
        "comparables, 0 shown: pricing",
        "comparables, 2 shown: pricing",
    ]
