from __future__ import annotations

import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.evaluation.learning_curve.plan import (
    CurveTechnique,
    PlannedPoint,
    PointCost,
    plan_points,
)
from pricing_platform.pricing.tabular.category_median import CategoryMedian
from pricing_platform.pricing.tabular.tfidf_ridge import TfidfRidge
from pricing_platform_tests.unit.evaluation.learning_curve.curve_parts import technique_of

SIZES = (40, 80)


@pytest.fixture(scope="module")
def techniques(items: ItemSet) -> list[CurveTechnique]:
    """One of 1 to 2 seconds a point with two seeds, one of 10 to 20 with one."""
    cheap, dear = PointCost(0.0, 0.025, 0.0), PointCost(0.0, 0.25, 0.0)
    return [
        technique_of(TfidfRidge, items, seeds=1, cost=dear),
        technique_of(CategoryMedian, items, seeds=2, cost=cheap),
    ]


def planned(techniques: list[CurveTechnique], seconds: float) -> list[PlannedPoint]:
    return plan_points(techniques, SIZES, train_items=320, seconds=seconds, seed=7)


def made(plan: list[PlannedPoint]) -> set[tuple[str, int, int]]:
    return {(at.technique, at.size, at.seed) for at in plan if at.left_out is None}


def test_every_size_comes_before_further_seeds_and_of_these_the_cheapest_first(
    techniques: list[CurveTechnique],
) -> None:
    plan = planned(techniques, 1000)

    assert [(at.technique, at.size, at.seed) for at in plan] == [
        ("category_median", 40, 7),
        ("category_median", 80, 7),
        ("tfidf_ridge", 40, 7),
        ("tfidf_ridge", 80, 7),
        ("category_median", 40, 8),
        ("category_median", 80, 8),
    ]
    assert [at.seconds for at in plan] == pytest.approx([1, 2, 10, 20, 1, 2])
    assert all(at.left_out is None for at in plan)


@pytest.mark.parametrize("seconds", [0, 1, 5, 13, 15.9, 16, 36])
def test_the_points_stay_within_the_budget_and_none_that_fits_is_missing(
    techniques: list[CurveTechnique], seconds: float
) -> None:
    plan = planned(techniques, seconds)

    spent = sum(at.seconds for at in plan if at.left_out is None)
    assert spent <= seconds
    assert len(plan) == 6  # those left out are there too
    for point in plan:
        assert (point.left_out is None) or point.seconds > seconds - spent


def test_what_is_left_out_says_why(techniques: list[CurveTechnique]) -> None:
    (first, *_) = [at for at in planned(techniques, 16) if at.left_out is not None]

    assert (first.technique, first.size) == ("tfidf_ridge", 80)
    assert first.left_out == "about 20 s, of 16 s 3 are left"


def test_the_same_input_gives_the_same_plan(techniques: list[CurveTechnique]) -> None:
    assert planned(techniques, 16) == planned(list(reversed(techniques)), 16)


def test_a_part_has_its_share_of_the_tokens(techniques: list[CurveTechnique]) -> None:
    shares = {at.size: at.token_budget for at in planned(techniques, 0)}
    assert shares == {40: 1250, 80: 2500}


def test_what_can_not_be_fitted_is_not_planned(items: ItemSet) -> None:
    technique = technique_of(TfidfRidge, items, existing="its model is not there")
    unfit = CurveTechnique(**{**vars(technique), "fit_on": None})

    assert made(planned([technique], 100)) != set()
    assert planned([unfit], 100) == []
