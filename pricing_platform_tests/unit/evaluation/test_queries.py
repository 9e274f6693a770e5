from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricing_platform.evaluation.comparison import compare_techniques
from pricing_platform.evaluation.queries import run_query
from pricing_platform.evaluation.retrieval_quality import Question, scored_questions, summarised
from pricing_platform.settings import sql_folder
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import (
    HOSTILE_TITLE,
    ask_for_a_sample,
    evaluate,
    warehouse_of,
)

PARAMETERS: dict[str, dict[str, object]] = {
    "break_even": {},
    "by_category": {"technique": "stack"},
    "by_source": {},
    "context_sweep": {},
    "differences": {"technique": "stack"},
    "failures": {},
    "families": {"rows": 5},
    "forgetting": {},
    "forgotten_kinds": {},
    "freshness_impact": {},
    "inference_cost": {},
    "injected_estimates": {"technique": "stack", "rows": 5},
    "injection_resistance": {},
    "leaderboard": {},
    "learning_curve": {},
    "learning_curve_crossings": {},
    "learning_curve_fits": {},
    "llm_calls": {},
    "llm_failures": {},
    "order_of_techniques": {},
    "price_bands": {"technique": "stack"},
    "price_history": {"item_id": "item-0001"},
    "price_leaks": {},
    "prompting_costs": {},
    "rejected_by_rule": {},
    "retrieval_quality": {},
    "sources": {},
    "splits": {},
    "style": {},
    "style_replies": {},
    "worst_misses": {"technique": "stack", "rows": 3},
}
DUCKDB_FILES = sorted(
    path for path in (sql_folder() / "queries").glob("*.sql") if ".postgres." not in path.name
)


@pytest.mark.parametrize("path", DUCKDB_FILES, ids=lambda path: path.stem)
def test_every_query_runs_and_says_what_it_asks(evaluated: Warehouse, path: Path) -> None:
    text = path.read_text()
    comment = [line for line in text.splitlines() if line.startswith("--")]

    scores = scored_questions([Question(question="Who?", keywords=("a",))], [["a"]])
    evaluated.replace("evaluation.retrieval_quality", summarised(scores, seed=1))

    rows = run_query(evaluated, path.stem, **PARAMETERS[path.stem])

    assert not rows.is_empty()
    assert "?" in comment[0]
    documented = set(re.findall(r"\$(\w+)", "\n".join(comment)))
    assert documented == set(re.findall(r"\$(\w+)", text)) == set(PARAMETERS[path.stem])


def test_the_worst_miss_comes_first(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "worst_misses", technique="stack", rows=3)

    assert rows["title"][0] == HOSTILE_TITLE
    assert rows["absolute_error"][0] == 5000
    assert rows["absolute_error"].is_sorted(descending=True)
    assert rows.height == 3


def test_categories_share_the_whole_error(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "by_category", technique="category_median")
    scored = evaluated.frame(
        "SELECT category, sum(charged_error) AS error FROM evaluation.scored_predictions"
        " WHERE technique = 'category_median' AND split = 'test' GROUP BY category"
    )

    assert rows["percent_of_error"].sum() == pytest.approx(100, abs=0.2)
    expected = scored.with_columns(share=100 * pl.col("error") / pl.col("error").sum())
    joined = rows.join(expected, on="category")
    assert (joined["percent_of_error"] - joined["share"]).abs().max() < 0.06


def test_refused_rows_are_counted_by_rule(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "rejected_by_rule")

    assert rows.select("source", "rule", "rejected_rows", "example").rows() == [
        ("harbour", "price_missing", 2, "no price"),
        ("orchard", "unreadable", 1, "malformed JSON near <b>"),
    ]


def test_rows_read_are_rows_kept_and_rows_refused(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "sources")

    assert rows["source"].to_list() == ["harbour", "orchard"]
    assert (rows["rows_read"] == rows["rows_kept"] + rows["rows_refused"]).all()
    assert rows["items"].sum() == 600
    assert rows["snapshots"].to_list() == [2, 2]


def test_a_history_has_every_price_and_its_change(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "price_history", item_id="item-0001")

    assert rows["snapshot"].to_list() == ["2026-02", "2026-03"]
    assert rows["percent_change"].to_list() == [None, -50.0]


def test_the_largest_families_come_first(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "families", rows=5)
    largest = evaluated.frame("SELECT max(family_size) AS size FROM curated.item_families").item()

    assert rows["members"][0] == largest > 1
    assert rows["members"].is_sorted(descending=True)


def test_a_family_on_two_sides_is_counted(evaluated: Warehouse, tmp_path: Path) -> None:
    torn = warehouse_of(
        tmp_path,
        [1.0, 2.0, 3.0, 4.0],
        {},
        splits=["train", "test", "test", "validation"],
        family_id=["torn", "torn", "whole", "whole too"],
    )

    assert run_query(evaluated, "splits")["families_elsewhere_too"].to_list() == [0, 0, 0]
    assert run_query(torn, "splits").select("split", "families_elsewhere_too").rows() == [
        ("train", 1),
        ("validation", 0),
        ("test", 1),
    ]


def test_calls_are_added_up_by_step(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "llm_calls")

    price = rows.row(by_predicate=pl.col("step") == "price", named=True)
    assert (price["calls"], price["items"], price["attempts"]) == (21, 21, 23)
    assert (price["from_cache"], price["not_answered"]) == (5, 1)
    assert price["tokens_in"] == 20 * 100 + sum(range(20))
    assert price["cost_usd"] == pytest.approx(0.02)
    assert price["sent_usd"] == pytest.approx(0.015)  # five of them came out of the cache


def test_calls_without_an_answer_have_a_reason(evaluated: Warehouse) -> None:
    (row,) = run_query(evaluated, "llm_failures").to_dicts()

    assert (row["outcome"], row["calls"], row["attempts"]) == ("timed_out", 1, 3)
    assert row["reason"] == "No answer in 60 <s>."


def test_prompting_is_costed_by_item_over_all_its_calls(evaluated: Warehouse) -> None:
    (row,) = run_query(evaluated, "prompting_costs").to_dicts()
    board = evaluated.frame("SELECT mae FROM evaluation.leaderboard WHERE technique = 'stack'")

    assert row["calls"] == pytest.approx(41 / 21, abs=0.01)
    assert row["tokens_cached"] == pytest.approx(2 * 60 * 20 / 21, abs=0.1)
    assert row["cost_per_1000_usd"] == pytest.approx(1000 * 0.04 / 21, abs=0.001)
    assert row["mae"] == pytest.approx(board.item(), abs=0.01)


def test_the_estimates_that_moved_furthest_come_first(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "injected_estimates", technique="stack", rows=5)

    assert rows["percent_shift"].abs().is_sorted(descending=True)
    assert rows["percent_shift"][0] > 500


def test_the_curve_has_what_was_not_measured_last_with_the_reason(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "learning_curve").filter(technique="stack")

    assert rows.select("size", "left_out").rows()[:3] == [(50, None), (100, None), (200, None)]
    assert rows["left_out"].to_list()[3:] == ["about 99 s, of 60 s 3 are left", "never fitted"]
    assert rows["training_seconds"].to_list()[:3] == [2.0] * 3


def test_who_overtakes_whom_is_told_in_words(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "learning_curve_crossings")
    told = {(row["technique"], row["overtaken"]): row for row in rows.iter_rows(named=True)}

    # 400 n^-0.5 = 60 n^-0.1 at (400 / 60)^2.5 items: within what was measured.
    overtaking = told["stack", "tfidf_ridge"]
    assert overtaking["told"] == f"from {overtaking['at_items']:.0f} items on"
    assert overtaking["at_items"] == pytest.approx((400 / 60) ** 2.5, rel=0.02)
    assert told["tfidf_ridge", "stack"]["told"] == "never, within 100 times the items"
    assert told["stack", "encoder_finetuned"]["told"] == "no law was fitted to encoder_finetuned"


def test_what_further_items_bring_is_the_law_read_further_on(evaluated: Warehouse) -> None:
    row, *_ = run_query(evaluated, "learning_curve_fits").filter(technique="stack").to_dicts()

    assert row["mae"] == pytest.approx(400 * row["items"] ** -0.5, abs=0.01)
    assert row["mae_further"] == pytest.approx(400 * (row["items"] + 1000) ** -0.5, abs=0.01)
    assert row["gain"] == pytest.approx(row["mae"] - row["mae_further"], abs=0.02)


def test_an_estimate_is_costed_beside_its_error(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "inference_cost")
    board = evaluated.frame(
        "SELECT mae_common FROM evaluation.leaderboard WHERE technique = 'stack'"
    )

    stack = rows.filter(technique="stack", batch_size=1)
    assert stack["mae_common"].item() == pytest.approx(board.item(), abs=0.01)
    rag = rows.filter(technique="rag", batch_size=1)
    assert rag.select("mae_common", "tokens_in", "usd_per_1000").rows() == [(None, 350, 0.2)]
    assert rows["left_out"][-1] == "The model <is> not there."


def test_when_fine_tuning_has_paid_is_told_in_words(evaluated: Warehouse) -> None:
    rows = run_query(evaluated, "break_even")

    assert set(rows["compared_with"]) == {"rag"}
    for row in rows.iter_rows(named=True):
        if row["estimates"] is not None:
            assert row["told"] == f"after {row['estimates']:,.0f} estimates"
        else:
            assert row["told"] == "never: it is no faster"


def test_the_order_of_techniques_is_told_by_what_each_step_gains(tmp_path: Path) -> None:
    """Each step gains 10 but retrieval, which loses 5; one is not there."""
    generator = np.random.default_rng(4)
    prices = np.full(80, 100.0)
    error_of = {"prompt_zero_shot": 30.0, "prompt_multi_shot": 20.0, "rag": 25.0}
    error_of["rag_finetuned"] = 15.0
    warehouse = warehouse_of(
        tmp_path,
        prices.tolist(),
        {
            name: (prices + error + generator.normal(0, 1, 80)).tolist()
            for name, error in error_of.items()
        },
    )
    ask_for_a_sample(warehouse, "rag_finetuned", [f"item-{number:04d}" for number in range(20)])
    compared = compare_techniques(warehouse, seed=1, resamples=200, permutations=999)
    warehouse.replace("evaluation.technique_comparison", compared)

    steps = run_query(warehouse, "order_of_techniques")

    assert steps["step"].to_list() == [1, 2, 3, 4, 5]
    told = {(row["earlier"], row["later"]): row for row in steps.iter_rows(named=True)}
    examples = told["prompt_zero_shot", "prompt_multi_shot"]
    retrieval = told["prompt_multi_shot", "rag"]
    tuning = told["rag", "rag_finetuned"]
    for step, gain, items in ((examples, 10, 80), (retrieval, -5, 80), (tuning, 10, 20)):
        assert step["gain"] == pytest.approx(gain, abs=1)
        assert step["gain_low"] < step["gain"] < step["gain_high"]
        assert step["gain_low"] * step["gain_high"] > 0
        assert 0 < step["p_value"] <= step["p_value_holm"] < 0.05
        assert (step["items"], step["is_sparse"]) == (items, items < 30)
    assert told["rag", "language_finetuned"]["gain"] is None
    known = sorted((examples, retrieval, tuning), key=lambda at: float(at["p_value"]))
    times = [3 * known[0]["p_value"], 2 * known[1]["p_value"], known[2]["p_value"]]
    expected = np.maximum.accumulate(times)  # as Holm corrects for three
    assert sorted(at["p_value_holm"] for at in known) == pytest.approx(expected, abs=1e-3)


def test_a_band_compares_on_common_items_where_one_was_asked_for_a_sample(tmp_path: Path) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [30.0] * 20,
        {"rag": [31.0] * 20, "stack": [33.0] * 10 + [30.5] * 10},
    )
    ask_for_a_sample(warehouse, "rag", [f"item-{number:04d}" for number in range(10)])
    evaluate(warehouse)

    (band,) = run_query(warehouse, "price_bands", technique="stack").to_dicts()

    assert (band["items"], band["common_items"]) == (20, 10)
    assert (band["mae"], band["mae_common"]) == (1.75, 3.0)
    assert (band["best_technique"], band["best_mae_common"]) == ("rag", 1.0)
