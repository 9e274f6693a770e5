from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.evaluation.learning_curve import points as points_module
from pricing_platform.evaluation.learning_curve.plan import CurveTechnique, plan_points
from pricing_platform.evaluation.learning_curve.points import Point, measured_points
from pricing_platform.pricing.tabular.tfidf_ridge import TfidfRidge
from pricing_platform_tests.unit.evaluation.learning_curve.curve_parts import (
    SIZES,
    fit_of,
    technique_of,
)


class KilledError(BaseException):
    """As what ends a process: nothing handles it."""


def measure(
    technique: CurveTechnique, items: ItemSet, folder: Path, **budget: float
) -> list[Point]:
    plan = plan_points(
        [technique], SIZES, train_items=320, seconds=budget.get("seconds", 1000), seed=7
    )
    return measured_points(plan, [technique], items, seed=7, folder=folder)


def test_a_point_is_what_the_technique_says_after_so_many_items(
    items: ItemSet, tmp_path: Path
) -> None:
    points = measure(technique_of(TfidfRidge, items), items, tmp_path)

    assert [(at.size, at.seed, at.is_all) for at in points] == [
        (40, 7, False),
        (80, 7, False),
        (160, 7, False),
        (40, 8, False),
        (80, 8, False),
        (160, 8, False),
        (320, 7, True),
    ]
    test = items.split("test")
    errors = [float(np.abs(at.estimates_of(test) - test.prices()).mean()) for at in points]
    assert errors[-1] < min(errors[0], errors[3])  # it does learn
    assert all(at.training_seconds and at.training_seconds > 0 for at in points)
    assert all(at.training_core_seconds and at.training_core_seconds > 0 for at in points[:-1])
    assert [at.train_families for at in points] == [20, 40, 80, 20, 40, 80, 160]


def test_nothing_is_learnt_twice(items: ItemSet, tmp_path: Path) -> None:
    learnt: list[int] = []
    technique = technique_of(
        TfidfRidge, items, fit_on=fit_of(TfidfRidge, lambda count, _: learnt.append(count))
    )

    first = measure(technique, items, tmp_path)
    assert learnt == [40, 80, 160] * 2
    assert measure(technique, items, tmp_path) == first
    assert len(learnt) == 6


def test_another_identity_is_learnt_anew(items: ItemSet, tmp_path: Path) -> None:
    learnt: list[int] = []
    fit_on = fit_of(TfidfRidge, lambda count, _: learnt.append(count))
    technique = technique_of(TfidfRidge, items, fit_on=fit_on)
    measure(technique, items, tmp_path)

    measure(CurveTechnique(**{**vars(technique), "identity": "2"}), items, tmp_path)

    assert len(learnt) == 12


def test_a_killed_run_goes_on_from_what_it_finished(items: ItemSet, tmp_path: Path) -> None:
    learnt: list[int] = []

    def dies_at_160(count: int, work_folder: Path) -> None:
        learnt.append(count)
        (work_folder / "state").write_text("half")
        if count == 160 and learnt.count(160) == 1:
            raise KilledError

    technique = technique_of(TfidfRidge, items, fit_on=fit_of(TfidfRidge, dies_at_160), seeds=1)
    with pytest.raises(KilledError):
        measure(technique, items, tmp_path)
    points = measure(technique, items, tmp_path)

    assert learnt == [40, 80, 160, 160]
    assert [at.resumed for at in points] == [False, False, True, False]
    assert list(tmp_path.glob("*.unfinished")) == []
    undisturbed = measure(technique_of(TfidfRidge, items, seeds=1), items, tmp_path / "other")
    assert [at.estimates for at in points] == [at.estimates for at in undisturbed]


def test_what_other_curves_left_goes_when_it_takes_too_much(
    items: ItemSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points_module, "POINTS_BYTES", 0)
    technique = technique_of(TfidfRidge, items, seeds=1)
    killed = tmp_path / "tfidf_ridge-0.unfinished"
    killed.mkdir(parents=True)
    (killed / "states").write_bytes(bytes(10))
    first = measure(technique, items, tmp_path)
    kept = set(tmp_path.iterdir())
    assert killed not in kept
    assert len(kept) == 3  # the curve's own, though they take more than nothing
    for path in kept:
        os.utime(path, (0, 0))
    assert measure(technique, items, tmp_path) == first
    assert set(tmp_path.iterdir()) == kept


def test_a_point_that_was_half_written_is_made_again(items: ItemSet, tmp_path: Path) -> None:
    learnt: list[int] = []
    technique = technique_of(
        TfidfRidge,
        items,
        fit_on=fit_of(TfidfRidge, lambda count, _: learnt.append(count)),
        seeds=1,
    )
    points = measure(technique, items, tmp_path)
    for path in tmp_path.glob("*.json"):
        path.write_text(path.read_text()[:100])

    again = measure(technique, items, tmp_path)

    assert len(learnt) == 6
    assert [at.estimates for at in again] == [at.estimates for at in points]


def test_without_a_budget_there_is_what_exists(items: ItemSet, tmp_path: Path) -> None:
    (point,) = measure(technique_of(TfidfRidge, items), items, tmp_path, seconds=0)

    assert (point.is_all, point.training_seconds, point.train_items) == (True, 2.0, 320)
    assert point.inference_seconds is not None
    assert set(point.estimates) == set(items.split("test").frame["item_id"])


def test_what_is_no_price_is_no_estimate(items: ItemSet, tmp_path: Path) -> None:
    (point,) = measure(technique_of(TfidfRidge, items), items, tmp_path, seconds=0)
    first, second, third, *_ = point.estimates
    broken = point.model_copy(
        update={"estimates": point.estimates | {first: None, second: 0.0, third: float("inf")}}
    )

    values = broken.estimates_of(items.split("test"))

    assert np.isnan(values).sum() == 3
