from __future__ import annotations

from io import BytesIO
from pathlib import Path

import polars as pl
import pytest

from pricing_platform.evaluation import pictures
from pricing_platform.evaluation.pictures import draw_evaluation
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import evaluate, warehouse_of


@pytest.fixture(scope="module")
def drawn(evaluated: Warehouse) -> dict[str, bytes]:
    return draw_evaluation(evaluated)


def colours_of(png: bytes) -> set[tuple[int, int, int]]:
    from PIL import Image

    image = Image.open(BytesIO(png)).convert("RGB")
    return {colour for _, colour in image.getcolors(maxcolors=image.width * image.height) or []}


def test_every_technique_and_reference_is_drawn(drawn: dict[str, bytes]) -> None:
    assert list(drawn) == [
        "leaderboard",
        "error_by_price_band",
        "estimates/tfidf_ridge",
        "estimates/stack",
        "estimates/category_median",
        "estimates/noise_floor",
        "context_sweep_error",
        "context_sweep_behind_best",
        "context_sweep_latency",
    ]
    assert all(png.startswith(b"\x89PNG") for png in drawn.values())
    assert all(len(colours_of(png)) > 50 for png in drawn.values())


def test_the_noise_floor_is_a_line_in_its_own_colour(evaluated: Warehouse) -> None:
    board = evaluated.frame("SELECT * FROM evaluation.leaderboard")
    vermilion = (0xD5, 0x5E, 0x00)

    with_floor = pictures.leaderboard_bars(board, currency="USD")
    without = pictures.leaderboard_bars(board.filter(~pl.col("is_reference")), currency="USD")

    assert vermilion in colours_of(with_floor)
    assert vermilion not in colours_of(without)


def test_the_leaderboard_is_drawn_by_the_error_that_ranks(evaluated: Warehouse) -> None:
    board = evaluated.frame("SELECT * FROM evaluation.leaderboard")
    common = board.with_columns(ranked_by=pl.lit("mae_common"))
    elsewhere = [pl.col(f"mae_common{end}") * 2 for end in ("", "_low", "_high")]

    drawn = pictures.leaderboard_bars(board, currency="USD")
    assert pictures.leaderboard_bars(board.with_columns(elsewhere), currency="USD") == drawn

    by_common = pictures.leaderboard_bars(common, currency="USD")
    assert by_common != drawn
    assert pictures.leaderboard_bars(common.with_columns(elsewhere), currency="USD") != by_common


def test_many_items_are_sampled_and_the_picture_says_of_how_many(
    evaluated: Warehouse, drawn: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_POINTS_AT_MOST", 20)
    draw, seen = pictures.truth_against_estimate, {}

    def watched(scored: pl.DataFrame, *, technique: str, currency: str) -> bytes:
        seen[technique] = scored
        return draw(scored, technique=technique, currency=currency) if technique == "stack" else b""

    monkeypatch.setattr(pictures, "truth_against_estimate", watched)
    sampled = draw_evaluation(evaluated)

    assert sampled["estimates/stack"] != drawn["estimates/stack"]
    assert {frame.height for frame in seen.values()} == {20}
    assert all(frame["of"][0] > 100 for frame in seen.values())


def test_a_technique_without_an_estimate_or_an_interval_spoils_no_picture(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path, [100.0, 100.0], {"stack": [90.0, 120.0], "broken": [None, None]},
        family_id=["one", "one"],
    )  # fmt: skip
    evaluate(warehouse)

    assert list(draw_evaluation(warehouse)) == [
        "leaderboard",
        "error_by_price_band",
        "estimates/stack",
    ]


def test_before_the_first_evaluation_there_is_nothing_to_draw(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [100.0], {})

    assert draw_evaluation(warehouse) == {}


def test_the_knee_is_marked(evaluated: Warehouse) -> None:
    sweep = evaluated.frame("SELECT * FROM evaluation.context_sweep ORDER BY kind DESC, count")

    marked = pictures.error_by_context(sweep, currency="USD")
    unmarked = pictures.error_by_context(sweep.with_columns(is_knee=False), currency="USD")

    assert sweep["is_knee"].sum() == 2
    assert marked != unmarked
    assert pictures.behind_best_by_context(
        sweep, currency="USD"
    ) != pictures.behind_best_by_context(sweep.with_columns(is_knee=False), currency="USD")


def test_a_sweep_without_intervals_or_a_best_count_is_drawn(evaluated: Warehouse) -> None:
    sweep = evaluated.frame("SELECT * FROM evaluation.context_sweep ORDER BY kind DESC, count")
    unknown = ("mae_low", "mae_high", "behind_best", "behind_best_low", "behind_best_high")
    bare = sweep.with_columns(
        *(pl.lit(None, pl.Float64).alias(name) for name in unknown), is_knee=False, is_best=False
    )

    assert pictures.error_by_context(bare, currency="USD").startswith(b"\x89PNG")
    assert pictures.behind_best_by_context(bare, currency="USD").startswith(b"\x89PNG")
    assert pictures.latency_by_context(bare).startswith(b"\x89PNG")
