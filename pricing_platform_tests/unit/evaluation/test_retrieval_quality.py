"""Questions are read with care, and scored as published retrieval scores are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.errors import PlatformError
from pricing_platform.evaluation.retrieval_quality import (
    Question,
    read_questions,
    score_passages,
    scored_questions,
    summarised,
)


def test_scores_by_hand() -> None:
    passages = ["nothing", "holds Alpha", "alpha and beta"]
    scores = score_passages(["ALPHA", "beta", "gamma"], passages)
    assert scores["mrr"] == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    alpha = (1 / 1.584962500721156 + 1 / 2) / (1 + 1 / 1.584962500721156)
    assert scores["ndcg"] == pytest.approx((alpha + 0.5 + 0) / 3)
    assert scores["coverage"] == pytest.approx(2 / 3)


def test_no_passages_score_nothing() -> None:
    assert score_passages(["a"], []) == {"mrr": 0.0, "ndcg": 0.0, "coverage": 0.0}


@given(st.lists(st.text(alphabet="abc ", max_size=6), max_size=6))
def test_scores_are_shares(passages: list[str]) -> None:
    for value in score_passages(["a", "b"], passages).values():
        assert 0 <= value <= 1


def test_every_category_and_all_have_an_interval_around_the_mean() -> None:
    questions = [
        Question(question=f"q{n}", keywords=("k",), category=["x", "y"][n % 2]) for n in range(20)
    ]
    found = [["k"] if n % 3 else ["other", "k"] for n in range(20)]
    summary = summarised(scored_questions(questions, found), seed=1)
    assert set(summary["category"]) == {"all", "x", "y"}
    assert (summary["low"] <= summary["value"]).all()
    assert (summary["value"] <= summary["high"]).all()
    overall = summary.filter(category="all", metric="mrr").row(0, named=True)
    assert overall["value"] == pytest.approx((13 + 7 / 2) / 20)
    assert overall["low"] < overall["value"] < overall["high"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1: not JSON"),
        ('{"question": "a", "keywords": ["b"]}\n{"keywords": []}', "line 2, question"),
        ('{"question": "a"}', "line 1: the question has no keywords"),
        ("\n", "holds no question"),
    ],
)
def test_a_wrong_question_file_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(text)
    with pytest.raises(PlatformError, match=told):
        read_questions(path, with_keywords=True)


def test_questions_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"q{n}", "other": 1}) for n in range(3)))
    assert [at.question for at in read_questions(path)] == ["q0", "q1", "q2"]
