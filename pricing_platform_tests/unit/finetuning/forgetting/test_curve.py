"""The tables of forgetting, their query, and their picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricing_platform.evaluation.forgetting_pictures import (
    draw_forgetting,
    forgetting_against_error,
)
from pricing_platform.evaluation.queries import run_query
from pricing_platform.finetuning.forgetting.curve import (
    FORGETTING_SCHEMA,
    PROBE_ANSWERS_SCHEMA,
)
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.finetuning.forgetting import measures
from pricing_platform_tests.unit.finetuning.forgetting.measures import POINTS, curve, point

PROMOTED, LIMIT, FIFTH_LINE = (0x7A, 0x0F, 0x8B), (0x59, 0x59, 0x59), (0xE6, 0x9F, 0x00)


def row(rows: pl.DataFrame, mitigation: str, scale: float, step: int = 200) -> dict[str, float]:
    return rows.row(
        by_predicate=(pl.col("mitigation") == mitigation)
        & (pl.col("adapter_scale") == scale)
        & (pl.col("step") == step),
        named=True,
    )


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    for table, rows in curve().tables().items():
        warehouse.replace(table, rows)
    items = pl.DataFrame({"item_id": ["a"], "split": ["test"], "currency": ["USD"]})
    warehouse.replace("curated.items", items)
    return warehouse


def test_each_point_is_a_row_with_its_base_and_its_differences() -> None:
    found = curve().rows

    assert found.schema == FORGETTING_SCHEMA
    assert found.height == len(POINTS)
    trained = row(found, "none", 1.0)
    assert trained["base_probe_accuracy"] == pytest.approx(0.6)
    assert trained["chance_accuracy"] == pytest.approx(0.5)
    assert trained["probe_accuracy"] == pytest.approx(0.5)
    assert trained["accuracy_lost"] == pytest.approx(1 / 6)
    assert trained["base_perplexity"] == pytest.approx(20)
    assert trained["perplexity_gained"] == pytest.approx(0.5)
    assert trained["kl_divergence"] == pytest.approx(0.5)
    assert trained["price_mae"] == pytest.approx(25)
    assert trained["price_items"] == measures.ITEMS - 1
    assert trained["price_mae_change"] is None
    replayed = row(found, "replay", 1.0)
    assert replayed["price_mae_change"] == pytest.approx(1)
    assert replayed["price_mae_change_low"] < 1 < replayed["price_mae_change_high"]
    assert row(found, "none", 1.0, 100)["price_mae_change"] is None


def test_the_gate_decides_on_the_end_of_training() -> None:
    made = curve()

    promoted = made.rows.filter("is_promoted")
    assert promoted.select("mitigation", "adapter_scale", "step").rows() == [("scaled", 0.5, 200)]
    assert row(made.rows, "none", 1.0, 100)["is_within_limit"]
    assert not row(made.rows, "none", 1.0)["is_within_limit"]
    assert made.decisions["language_finetuned"].chosen is not None
    strict = curve(limit=0.001)
    assert strict.rows.filter("is_promoted")["adapter_scale"].to_list() == []
    assert not strict.decisions["language_finetuned"].passed


def test_techniques_are_decided_on_and_compared_by_themselves() -> None:
    other = [
        point("none", 1.0, 119, 20.2, 20.0, technique="rag_finetuned"),
        point("kl", 1.0, 119, 20.1, 22.0, technique="rag_finetuned"),
    ]
    made = curve([*POINTS, *other])

    rag = made.rows.filter(technique="rag_finetuned")
    assert rag.filter("is_promoted")["mitigation"].to_list() == ["none"]
    assert row(rag, "kl", 1.0)["price_mae_change"] == pytest.approx(2)
    assert made.decisions["rag_finetuned"].is_first_choice
    assert not made.decisions["language_finetuned"].is_first_choice


def test_a_technique_that_was_not_priced_has_no_error() -> None:
    unpriced = point("none", 1.0, 119, 20.2, 20.0)
    unknown = np.full(measures.ITEMS, np.nan)
    for errors in (None, unknown):
        made = curve([type(unpriced)(**{**vars(unpriced), "price_errors": errors})])

        assert made.rows["price_mae"].to_list() == [None]
        assert made.rows["price_items"].to_list() == [None]
        assert made.rows["is_promoted"].to_list() == [True]


def test_every_answer_is_kept() -> None:
    made = curve()

    assert made.answers.schema == PROBE_ANSWERS_SCHEMA
    assert made.answers.height == measures.QUESTIONS * len(POINTS)
    trained = made.answers.filter(mitigation="none", step=200)
    assert trained["base_is_correct"].sum() == 120
    assert trained["is_correct"].sum() == 100


def test_the_query_tells_percent_and_the_end_comes_after_the_beginning(
    warehouse: Warehouse,
) -> None:
    found = run_query(warehouse, "forgetting")

    assert found.height == len(POINTS)
    assert found["mitigation"].to_list()[:2] == ["none", "none"]
    assert found["percent_trained"].to_list()[:2] == [50, 100]
    assert found["accuracy_lost"][1] == pytest.approx(16.7)
    assert found.filter("is_promoted")["scale"].to_list() == [0.5]


def test_kinds_tell_what_was_forgotten(warehouse: Warehouse) -> None:
    found = run_query(warehouse, "forgotten_kinds")

    trained = found.filter(mitigation="none")
    assert trained["kind"].to_list() == ["arithmetic", "knowledge"]
    assert trained["questions"].to_list() == [100, 100]
    assert trained["forgotten"].to_list() == [10, 10]
    assert trained["learnt"].to_list() == [0, 0]
    assert trained["first_forgotten"].to_list() == ["Question 100?", "Question 101?"]
    assert found.height == 2 * (len(POINTS) - 1)


def colours_of(png: bytes) -> set[tuple[int, int, int]]:
    from PIL import Image

    image = Image.open(BytesIO(png)).convert("RGB")
    return {colour for _, colour in image.getcolors(maxcolors=image.width * image.height) or []}


def test_the_picture_has_a_line_a_mitigation_the_limit_and_the_promoted(
    warehouse: Warehouse,
) -> None:
    drawn = draw_forgetting(warehouse, limit=0.05)

    assert list(drawn) == [
        "language_finetuned/accuracy_lost",
        "language_finetuned/perplexity_gained",
    ]
    rows = curve().rows
    for measure in ("accuracy_lost", "perplexity_gained"):
        png = drawn[f"language_finetuned/{measure}"]
        assert png.startswith(b"\x89PNG")
        assert {PROMOTED, LIMIT, FIFTH_LINE} <= colours_of(png)
        unpromoted = rows.with_columns(is_promoted=False)
        without = forgetting_against_error(unpromoted, measure, limit=0.05, currency="USD")
        assert PROMOTED not in colours_of(without)
        fewer = rows.filter(pl.col("mitigation") != "replay")
        four = forgetting_against_error(fewer, measure, limit=0.05, currency="USD")
        assert FIFTH_LINE not in colours_of(four)


def test_the_picture_bears_what_has_no_number_or_no_price(tmp_path: Path) -> None:
    broken = point("none", 1.0, 0, 20.0, 30.0)
    broken.measure.nll[:] = np.inf
    broken.measure.divergence[:] = np.inf
    rows = curve([broken]).rows

    for measure in ("accuracy_lost", "perplexity_gained"):
        png = forgetting_against_error(rows, measure, limit=0.05, currency="USD")
        assert png.startswith(b"\x89PNG")
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    warehouse.create_schema()
    assert draw_forgetting(warehouse, limit=0.05) == {}
    warehouse.replace("evaluation.forgetting", rows)
    kept = warehouse.frame("SELECT perplexity, is_promoted FROM evaluation.forgetting")
    assert kept.rows() == [(float("inf"), False)]
