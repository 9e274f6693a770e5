"""Search by words: rare words count, what is excluded is never found."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.pricing.prompting.word_search import WordSearch, best

NOTHING = np.empty(0, np.int64)
TEXTS = ["red oak chair", "red steel lamp", "red oak table", "Lampe 1,5 m", ""]


def found(query: str, count: int = 5, without: np.ndarray = NOTHING) -> list[int]:
    return best(WordSearch(TEXTS).scores(query), count, without=without).tolist()


def test_finds_what_shares_words_and_the_rarer_ones_first() -> None:
    assert found("Red LAMP!") == [1, 0, 2]
    assert found("oak", 1) == [0]
    assert found("1,5") == [3]


def test_finds_nothing_where_no_word_is_shared() -> None:
    assert found("") == found("blue") == found("\x00 -- ?") == []
    assert best(WordSearch([]).scores("x"), 3, without=NOTHING).tolist() == []
    assert best(WordSearch(["", " "]).scores("x"), 3, without=NOTHING).tolist() == []


def test_never_finds_what_is_excluded() -> None:
    assert found("red oak", without=np.array([0, 2])) == [1]


@given(
    st.lists(st.integers(0, 3), max_size=20),
    st.integers(1, 25),
    st.lists(st.integers(0, 19), max_size=5),
)
def test_best_is_the_start_of_the_sorted_scores(
    scores: list[int], count: int, excluded: list[int]
) -> None:
    without = np.array([at for at in excluded if at < len(scores)], np.int64)
    ordered = sorted(
        (at for at, score in enumerate(scores) if score > 0 and at not in without),
        key=lambda at: (-scores[at], at),
    )
    got = best(np.array(scores, np.float32), count, without=without).tolist()
    assert [scores[at] for at in got] == [scores[at] for at in ordered[:count]]
    assert len(set(got)) == len(got)
    assert not set(got) & set(without.tolist())
