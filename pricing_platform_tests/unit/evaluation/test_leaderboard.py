from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.evaluation.comparison import compare_techniques
from pricing_platform.evaluation.leaderboard import best_technique, leaderboard
from pricing_platform.settings import sql_folder
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import (
    ask_for_a_sample,
    evaluate,
    warehouse_of,
)


def test_the_leaderboard_is_sorted_and_a_reference_is_never_first(evaluated: Warehouse) -> None:
    board = leaderboard(evaluated)

    assert board.select("rank", "technique", "is_reference").rows() == [
        (1, "tfidf_ridge", False),
        (2, "stack", False),
        (3, "category_median", False),
        (None, "noise_floor", True),
    ]
    assert board["mae"][3] == board["mae"].min()


def test_the_leaderboard_has_every_metric_beside_its_interval(evaluated: Warehouse) -> None:
    metrics = evaluated.frame(
        "SELECT metric, value, low, high FROM evaluation.technique_metrics"
        " WHERE technique = 'stack' AND split = 'test' AND segment = 'all'"
    )
    row = leaderboard(evaluated).row(by_predicate=pl.col("technique") == "stack", named=True)

    assert metrics.height == 18
    for name, value, low, high in metrics.iter_rows():
        assert row[name] == value
        assert (row.get(f"{name}_low", low), row.get(f"{name}_high", high)) == (low, high)
    assert row["mae_low"] < row["mae"] < row["mae_high"]


def test_validation_chooses_and_not_test(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [100.0, 100.0],
        {"lucky_on_test": [150.0, 100.0], "stack": [101.0, 130.0], "noise_floor": [100.0, 100.0]},
        splits=["validation", "test"],
    )
    evaluate(warehouse)

    assert leaderboard(warehouse)["technique"][0] == "lucky_on_test"
    assert best_technique(warehouse) == "stack"


@pytest.mark.parametrize("split", ["validation", "test"])
def test_refusing_what_is_dear_gains_nothing(tmp_path: Path, split: str) -> None:
    """95 items off by 10 and 5 by 200, and the same with those five refused."""
    prices = [100.0] * 95 + [900.0] * 5
    honest = [110.0] * 95 + [700.0] * 5
    refusing = [110.0] * 95 + [None] * 5
    warehouse = warehouse_of(
        tmp_path,
        prices,
        {"honest": honest, "refusing": refusing, "category_median": [100.0] * 100},
        splits=[split] * 100,
    )
    evaluate(warehouse)

    board = warehouse.frame(
        "SELECT technique, mae, mae_answered, answered FROM evaluation.evaluated_segments"
        " WHERE segment = 'all' AND split = ? ORDER BY rank",
        [split],
    )
    assert board.rows() == [
        ("honest", 19.5, 19.5, 1.0),
        ("category_median", 40.0, 40.0, 1.0),
        ("refusing", 49.5, 10.0, 0.95),
    ]
    pair = compare_techniques(warehouse, seed=1).filter(
        technique="honest", compared_with="refusing"
    )
    assert (pair["items"].item(), pair["mean_difference"].item()) == (100, pytest.approx(-30))
    if split == "validation":
        assert best_technique(warehouse) == "honest"


def test_refusing_is_charged_in_bands_and_sources_too(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [100.0] * 4 + [900.0] * 2,
        {
            "honest": [110.0] * 4 + [700.0] * 2,
            "refusing": [105.0] * 4 + [700.0, None],
            "category_median": [100.0] * 6,
        },
    )
    evaluate(warehouse)

    for view in ("leaderboard_by_source", "segments WHERE segment_value = '500 and more'"):
        rows = warehouse.frame(f"SELECT * FROM evaluation.{view}").filter(
            pl.col("technique").is_in(["honest", "refusing"])
        )
        assert rows.sort("rank")["technique"].to_list() == ["honest", "refusing"], view
        assert rows.filter(technique="refusing")["answered"].item() < 1


def test_one_that_answered_nothing_is_last_and_is_compared_with_none(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [100.0, 200.0],
        {"silent": [None, None], "wild": [900.0, 900.0], "category_median": [100.0, 200.0]},
        splits=["validation"] * 2,
    )
    evaluate(warehouse)

    ranked = warehouse.frame(
        "SELECT technique FROM evaluation.evaluated_segments WHERE segment = 'all' ORDER BY rank"
    )
    assert ranked["technique"].to_list() == ["category_median", "wild", "silent"]
    pairs = compare_techniques(warehouse, seed=1).select("technique", "compared_with")
    assert pairs.rows() == [("category_median", "wild")]


FIRST_TEN = [f"item-{number:04d}" for number in range(10)]


def asked_for_a_sample(
    folder: Path, sampled: Sequence[float | None], *, split: str = "test"
) -> Warehouse:
    """One technique was asked about the first ten of twenty items, another about all."""
    warehouse = warehouse_of(
        folder,
        [100.0] * 20,
        {"sampled": sampled, "whole": [110.0] * 10 + [101.0] * 10},
        splits=[split] * 20,
    )
    ask_for_a_sample(warehouse, "sampled", FIRST_TEN, split=split)
    evaluate(warehouse)
    return warehouse


def test_one_that_is_asked_for_a_sample_is_ranked_on_common_items(tmp_path: Path) -> None:
    """On all items the other errs by 5.5 on average, on the common ones by 10."""
    board = leaderboard(asked_for_a_sample(tmp_path, [108.0] * 20))
    assert board["technique"].to_list() == ["sampled", "whole"]
    assert board["items"].to_list() == [10, 20]
    assert board["answered"].to_list() == [1, 1]
    assert board["mae"].to_list() == pytest.approx([8, 5.5])
    assert board["mae_common"].to_list() == pytest.approx([8, 10])
    assert board["common_items"].to_list() == [10, 10]
    assert set(board["ranked_by"]) == {"mae_common"}


def test_where_all_are_asked_about_the_same_the_rank_is_by_the_error_on_it(
    evaluated: Warehouse,
) -> None:
    assert set(leaderboard(evaluated)["ranked_by"]) == {"mae"}


def test_the_best_is_chosen_on_common_items(tmp_path: Path) -> None:
    assert best_technique(asked_for_a_sample(tmp_path, [108.0] * 20, split="validation")) == (
        "sampled"
    )


def test_what_it_was_asked_and_did_not_price_stays_a_failure(tmp_path: Path) -> None:
    board = leaderboard(asked_for_a_sample(tmp_path, [108.0] * 8 + [None] * 12))
    sampled = board.row(by_predicate=pl.col("technique") == "sampled", named=True)
    assert (sampled["answered"], sampled["common_items"]) == (pytest.approx(0.8), 10)


def test_what_it_was_asked_and_has_no_row_for_is_a_failure_too(tmp_path: Path) -> None:
    warehouse = asked_for_a_sample(tmp_path, [108.0] * 20)
    said = warehouse.frame("SELECT * FROM evaluation.predictions WHERE technique = 'sampled'")
    warehouse.replace(
        "evaluation.predictions", said.filter(pl.col("item_id") != FIRST_TEN[0]),
        partition=("technique", "sampled"),
    )  # fmt: skip
    evaluate(warehouse)
    answered = leaderboard(warehouse).select("technique", "answered").rows()
    assert sorted(answered) == [("sampled", 0.9), ("whole", 1.0)]


def test_one_without_any_row_failed_on_all_that_it_was_asked(tmp_path: Path) -> None:
    warehouse = asked_for_a_sample(tmp_path, [108.0] * 20)
    nothing = warehouse.frame("SELECT * FROM evaluation.predictions LIMIT 0")
    warehouse.replace("evaluation.predictions", nothing, partition=("technique", "sampled"))
    evaluate(warehouse)
    board = leaderboard(warehouse)
    assert board.select("technique", "items", "answered").rows() == [
        ("whole", 20, 1),
        ("sampled", 10, 0),
    ]


def test_an_item_that_came_into_the_split_later_was_not_asked_about(tmp_path: Path) -> None:
    warehouse = asked_for_a_sample(tmp_path, [108.0] * 20, split="validation")
    moved = warehouse.frame("SELECT * FROM curated.items").with_columns(
        split=pl.when(item_id=FIRST_TEN[0]).then(pl.lit("test")).otherwise("split")
    )
    warehouse.replace("curated.items", moved)
    scored = warehouse.frame(
        "SELECT split, count(*) AS items, count(failure) AS failures"
        " FROM evaluation.scored_predictions WHERE technique = 'sampled' GROUP BY split"
    )
    assert scored.rows() == [("validation", 9, 0)]


@pytest.mark.parametrize("answered", [0, 1, 10])
def test_what_one_refuses_does_not_decide_on_which_items_others_are_compared(
    tmp_path: Path, answered: int
) -> None:
    refusing = [100.0] * answered + [None] * (20 - answered)
    warehouse = warehouse_of(tmp_path, [100.0] * 20, {"refusing": refusing, "whole": [110.0] * 20})
    evaluate(warehouse)
    assert leaderboard(warehouse)["common_items"].to_list() == [20, 20]


def test_where_no_item_is_common_the_rank_is_by_the_errors_that_there_are(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [100.0, 100.0, 100.0],
        {"sampled": [109.0, None, None], "other": [None, 101.0, None], "whole": [105.0] * 3},
    )
    ask_for_a_sample(warehouse, "sampled", ["item-0000"])
    ask_for_a_sample(warehouse, "other", ["item-0001"])
    evaluate(warehouse)
    board = leaderboard(warehouse)
    assert board.select("rank", "technique", "mae_common", "ranked_by").rows() == [
        (1, "other", None, "mae"),
        (2, "whole", None, "mae"),
        (3, "sampled", None, "mae"),
    ]


def test_pairs_are_compared_on_the_items_that_both_were_asked_about(tmp_path: Path) -> None:
    warehouse = asked_for_a_sample(tmp_path, [108.0] * 20)
    row = compare_techniques(warehouse, seed=1).row(0, named=True)
    assert (row["technique"], row["compared_with"], row["items"]) == ("sampled", "whole", 10)
    assert row["mean_difference"] == pytest.approx(-2)


def test_without_an_evaluation_there_is_no_best_technique(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [100.0], {"stack": [None], "noise_floor": [100.0]})
    evaluate(warehouse)

    with pytest.raises(PlatformError, match="No technique has been evaluated"):
        best_technique(warehouse)


def test_sources_and_segments_have_ranks_of_their_own(evaluated: Warehouse) -> None:
    by_source = evaluated.frame("SELECT * FROM evaluation.leaderboard_by_source")
    segments = evaluated.frame("SELECT * FROM evaluation.segments")

    assert set(by_source["source"]) == {"harbour", "orchard"}
    assert set(segments["segment"]) == {"category", "price_band"}
    for frame, keys in ((by_source, ["source"]), (segments, ["segment", "segment_value"])):
        ranked = frame.filter(~pl.col("is_reference"))
        leaders = ranked.filter(rank=1)
        smallest = ranked.group_by(keys).agg(pl.col("mae").min())
        assert leaders.height == ranked.select(keys).unique().height
        assert leaders.select(*keys, "mae").sort(keys).equals(smallest.sort(keys))
        assert frame.filter("is_reference")["rank"].null_count() == len(leaders)


def test_bands_leave_no_price_out(evaluated: Warehouse) -> None:
    bands = evaluated.frame("SELECT * FROM evaluation.price_bands ORDER BY priced_from")
    scored = evaluated.frame("SELECT * FROM evaluation.scored_predictions")

    assert bands["priced_from"][0] == 0
    assert bands["priced_from"][1:].to_list() == bands["priced_to"][:-1].to_list()
    assert scored["price_band"].null_count() == 0


@pytest.mark.parametrize(
    "path", sorted((sql_folder() / "warehouse" / "evaluation").glob("*.sql")), ids=lambda p: p.name
)
def test_every_column_says_what_it_is(evaluated: Warehouse, path: Path) -> None:
    columns = evaluated.columns(f"evaluation.{path.name.split('.')[0]}")

    assert columns
    assert [column.name for column in columns if not column.description.endswith(".")] == []
