from __future__ import annotations

from pathlib import Path

import polars as pl

from pricing_platform.drawing import LINE_COLOURS
from pricing_platform.evaluation.training_pictures import (
    draw_inference_cost,
    draw_learning_curve,
    error_by_items,
)
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import warehouse_of
from pricing_platform_tests.unit.evaluation.test_pictures import colours_of


def rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def test_the_curve_has_a_colour_a_technique_and_its_law(evaluated: Warehouse) -> None:
    (png,) = draw_learning_curve(evaluated).values()
    assert {rgb(LINE_COLOURS[0]), rgb(LINE_COLOURS[1])} <= colours_of(png)
    assert rgb(LINE_COLOURS[2]) not in colours_of(png)  # nothing of it was measured

    points = evaluated.frame(
        "SELECT * FROM evaluation.learning_curve WHERE mae_common IS NOT NULL ORDER BY size"
    )
    fits = evaluated.frame("SELECT * FROM evaluation.learning_curve_fits ORDER BY technique")
    assert error_by_items(points, fits, currency="USD") == png
    assert error_by_items(points, fits.filter(technique="stack"), currency="USD") != png


def test_a_technique_with_one_point_is_drawn_without_a_law(evaluated: Warehouse) -> None:
    points = evaluated.frame("SELECT * FROM evaluation.learning_curve WHERE size = 50")
    fits = evaluated.frame("SELECT * FROM evaluation.learning_curve_fits")
    unfitted = fits.with_columns(form=pl.lit(None, dtype=pl.String))

    assert error_by_items(points, unfitted, currency="USD").startswith(b"\x89PNG")


def test_the_cost_is_drawn_of_techniques_with_an_error(evaluated: Warehouse) -> None:
    (png,) = draw_inference_cost(evaluated).values()

    assert rgb(LINE_COLOURS[0]) in colours_of(png)
    assert rgb(LINE_COLOURS[1]) not in colours_of(png)  # rag has no error here


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [100.0], {})

    assert draw_learning_curve(warehouse) == {}
    assert draw_inference_cost(warehouse) == {}
