from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.item_samples import chosen_items
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.evaluation.learning_curve.curve import (
    CROSSINGS,
    CURVE,
    CURVE_TABLES,
    FITS,
    learning_curve_rows,
)
from pricing_platform.evaluation.learning_curve.plan import CurveTechnique, plan_points
from pricing_platform.evaluation.learning_curve.points import Point, measured_points
from pricing_platform.evaluation.learning_curve.power_law import PowerLaw
from pricing_platform.pricing.tabular.category_median import CategoryMedian
from pricing_platform.pricing.tabular.tfidf_ridge import TfidfRidge
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.evaluation.learning_curve.curve_parts import (
    SIZES,
    technique_of,
)

MEASURED = (50, 100, 200, 320)
LEARNS, STANDS = PowerLaw(0, 40 * 50**0.5, 0.5), PowerLaw(25, 0, 1)


def rows_of(
    techniques: list[CurveTechnique], items: ItemSet, folder: Path, seconds: float = 1000
) -> dict[str, pl.DataFrame]:
    plan = plan_points(techniques, SIZES, train_items=320, seconds=seconds, seed=7)
    points = measured_points(plan, techniques, items, seed=7, folder=folder)
    return learning_curve_rows(
        plan, techniques, points, items, fallback(items), seed=7, resamples=100, fitted_resamples=50
    )


def fallback(items: ItemSet) -> pl.DataFrame:
    """Every item is taken to cost 1,000 more than it does."""
    return items.frame.select("item_id", estimate=pl.col("price") + 1_000)


def points_on(law: PowerLaw, name: str, items: ItemSet, sizes: tuple[int, ...]) -> list[Point]:
    """Whose estimates are off by what the law says, and by a little of the items' own."""
    test = items.split("test")
    noise = np.random.default_rng(3).normal(0, 1, len(test))
    return [
        Point(
            technique=name,
            model=name,
            size=size,
            is_all=size == 320,
            seed=7,
            token_budget=None,
            train_items=size,
            train_families=size // 2,
            estimates=dict(
                zip(
                    test.frame["item_id"],
                    (test.prices() + float(law.at(size)) + noise).tolist(),
                    strict=True,
                )
            ),
            training_seconds=1.0,
            training_core_seconds=1.0,
            training_joules=None,
            resumed=False,
            inference_seconds=1.0,
        )
        for size in sizes
    ]


def tables_on(
    laws: Mapping[str, tuple[PowerLaw, tuple[int, ...]]], items: ItemSet
) -> dict[str, pl.DataFrame]:
    learners = dict(zip(laws, (TfidfRidge, CategoryMedian), strict=True))
    techniques = [
        CurveTechnique(**{**vars(technique_of(at, items)), "name": name})
        for name, at in learners.items()
    ]
    points = [
        point for name, (law, sizes) in laws.items() for point in points_on(law, name, items, sizes)
    ]
    return learning_curve_rows(
        [], techniques, points, items, fallback(items), seed=7, fitted_resamples=50
    )


def crossing(tables: Mapping[str, pl.DataFrame], technique: str) -> dict[str, object]:
    return tables[CROSSINGS].row(by_predicate=pl.col("technique") == technique, named=True)


def test_real_techniques_give_tables_that_the_warehouse_takes(
    items: ItemSet, tmp_path: Path
) -> None:
    techniques = [technique_of(at, items) for at in (TfidfRidge, CategoryMedian)]
    tables = rows_of(techniques, items, tmp_path)
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    warehouse.replace_all(tables)
    for table in CURVE_TABLES:
        assert all(column.description for column in warehouse.columns(table))

    curve = tables[CURVE]
    assert curve.height == 2 * (2 * 3 + 1)
    assert curve["left_out"].null_count() == curve.height
    assert (curve["mae_low"] <= curve["mae"]).all()
    assert (curve["mae"] <= curve["mae_high"]).all()
    assert curve.filter("is_all")["planned_seconds"].to_list() == [None, None]
    assert curve.filter(~pl.col("is_all"))["planned_seconds"].min() == pytest.approx(1.4)
    ridge = tables[FITS].row(by_predicate=pl.col("technique") == "tfidf_ridge", named=True)
    assert (ridge["sizes"], ridge["points"], ridge["form"]) == (4, 7, "power_with_floor")
    assert ridge["mae_low"] <= ridge["mae"] <= ridge["mae_high"]
    assert ridge["gain"] == pytest.approx(ridge["mae"] - ridge["mae_further"])
    assert crossing(tables, "category_median")["outcome"] == "never"
    again = rows_of(techniques, items, tmp_path)
    assert all(again[table].equals(tables[table]) for table in CURVE_TABLES)


def test_an_error_is_that_of_the_estimates(items: ItemSet) -> None:
    tables = tables_on({"learns": (LEARNS, MEASURED), "stands": (STANDS, MEASURED)}, items)
    (first, *_) = tables[CURVE].rows(named=True)
    (point, *_) = points_on(LEARNS, "learns", items, MEASURED)
    test = items.split("test")
    estimates = point.estimates_of(test)

    assert first["mae"] == pytest.approx(np.abs(estimates - test.prices()).mean())
    squares = (np.log1p(estimates) - np.log1p(test.prices())) ** 2
    assert first["rmsle"] == pytest.approx(np.sqrt(squares.mean()))
    assert first["test_items"] == first["common_items"] == len(test)


def test_the_laws_and_the_crossing_are_those_of_the_errors(items: ItemSet) -> None:
    tables = tables_on({"learns": (LEARNS, MEASURED), "stands": (STANDS, MEASURED)}, items)
    learns, stands = tables[FITS].rows(named=True)
    meeting = 50 * (40 / 25) ** 2

    assert learns["exponent"] == pytest.approx(0.5, abs=0.05)
    assert learns["mae_further"] == pytest.approx(float(LEARNS.at(1320)), rel=0.05)
    assert learns["gain_low"] <= learns["gain"] <= learns["gain_high"]
    assert stands["gain"] == pytest.approx(0, abs=0.01)
    found = crossing(tables, "learns")
    assert found["outcome"] == "overtakes"
    assert found["at_items"] == pytest.approx(meeting, rel=0.05)
    assert found["at_items_low"] <= meeting * 1.05
    assert found["at_items_high"] >= meeting * 0.95
    assert found["is_extrapolated"] is False
    assert found["share_ahead"] == 1
    assert crossing(tables, "stands") | {"at_items": None, "outcome": "never"} == crossing(
        tables, "stands"
    )


def test_a_crossing_beyond_what_was_measured_is_marked(items: ItemSet) -> None:
    far = PowerLaw(0, 40 * 50**0.2, 0.2)  # meets 25 after about 500 items
    tables = tables_on({"learns": (far, MEASURED), "stands": (STANDS, MEASURED)}, items)

    found = crossing(tables, "learns")

    assert found["outcome"] == "overtakes"
    assert found["at_items"] == pytest.approx(50 * (40 / 25) ** 5, rel=0.2)
    assert found["is_extrapolated"] is True


def test_two_sizes_have_a_law_without_a_floor_and_one_has_none(items: ItemSet) -> None:
    tables = tables_on({"learns": (LEARNS, (50, 320)), "stands": (STANDS, (320,))}, items)
    learns, stands = tables[FITS].rows(named=True)

    assert (learns["form"], learns["floor"], learns["sizes"]) == ("power", 0, 2)
    assert stands["form"] is None
    assert stands["not_fitted"] == "measured after 1 sizes; at least 2 are needed"
    assert crossing(tables, "learns")["not_fitted"] == "no law was fitted to stands"


def test_techniques_are_compared_on_the_items_that_all_were_asked_about(
    items: ItemSet, tmp_path: Path
) -> None:
    few = chosen_items(items.split("test"), 12, seed=1)
    techniques = [technique_of(TfidfRidge, items), technique_of(CategoryMedian, items, asked=few)]

    curve = rows_of(techniques, items, tmp_path)[CURVE]

    assert curve["common_items"].unique().to_list() == [12]
    asked = dict(curve.select("technique", "test_items").unique().iter_rows())
    assert asked == {"tfidf_ridge": 40, "category_median": 12}
    ridge = curve.filter(technique="tfidf_ridge")
    assert not ridge["mae"].equals(ridge["mae_common"])
    median = curve.filter(technique="category_median")
    assert median["mae"].to_list() == median["mae_common"].to_list()


def test_what_was_not_measured_has_a_row_with_the_reason(items: ItemSet, tmp_path: Path) -> None:
    technique = technique_of(TfidfRidge, items, existing="it was not fitted")

    tables = rows_of([technique], items, tmp_path, seconds=3.5)

    told = tables[CURVE].filter(pl.col("left_out").is_not_null())
    assert told.select("size", "seed", "is_all").rows() == [
        (40, 8, False),
        (80, 8, False),
        (160, 7, False),
        (160, 8, False),
        (320, None, True),
    ]
    assert told["left_out"][-1] == "it was not fitted"
    assert told["mae"].null_count() == told.height
    assert tables[CURVE].height == 7


def test_without_any_point_the_tables_say_so(items: ItemSet, tmp_path: Path) -> None:
    technique = technique_of(TfidfRidge, items, existing="it was not fitted")

    tables = rows_of([technique], items, tmp_path, seconds=0)

    assert tables[CURVE]["mae"].null_count() == tables[CURVE].height == 7
    assert tables[FITS]["not_fitted"].to_list() == ["measured after 0 sizes; at least 2 are needed"]


def test_a_failure_is_counted_and_charged_as_on_the_leaderboard(items: ItemSet) -> None:
    """Who refuses what is hard learns no faster for it."""
    points = points_on(LEARNS, "tfidf_ridge", items, MEASURED)
    test = items.split("test")
    (first, *others) = points[0].estimates
    failing = points[0].model_copy(update={"estimates": points[0].estimates | {first: None}})
    wrong = points[1].model_copy(update={"estimates": points[1].estimates | {first: -3.0}})

    tables = learning_curve_rows(
        [],
        [technique_of(TfidfRidge, items)],
        [failing, wrong, *points[2:]],
        items,
        fallback(items),
        seed=7,
        fitted_resamples=20,
    )

    curve = tables[CURVE]
    assert curve["failures"].to_list() == [1 / 40, 1 / 40, 0, 0]
    for place, point in enumerate(points):
        errors = np.abs(point.estimates_of(test) - test.prices())
        if place < 2:
            errors[test.frame["item_id"].to_list().index(first)] = 1_000
        assert curve["mae"][place] == pytest.approx(errors.mean())
        assert curve["mae_common"][place] == pytest.approx(errors.mean())
    known = [test.frame["item_id"].to_list().index(at) for at in others]
    squares = (np.log1p(points[0].estimates_of(test)) - np.log1p(test.prices())) ** 2
    assert curve["rmsle"][0] == pytest.approx(np.sqrt(squares[known].mean()))


def test_one_that_answers_nothing_costs_what_its_user_falls_back_to(items: ItemSet) -> None:
    points = points_on(LEARNS, "tfidf_ridge", items, MEASURED)
    silent = points[0].model_copy(update={"estimates": dict.fromkeys(points[0].estimates)})
    tables = learning_curve_rows(
        [],
        [technique_of(TfidfRidge, items)],
        [silent, *points[1:]],
        items,
        fallback(items),
        seed=7,
        fitted_resamples=20,
    )
    assert tables[CURVE]["mae"][0] == pytest.approx(1_000)
    assert tables[CURVE]["rmsle"][0] is None
