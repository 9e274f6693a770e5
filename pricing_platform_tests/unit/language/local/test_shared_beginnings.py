"""Prompts are parted by what they share; none is lost, and each group shares what it says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.language.local.shared_beginnings import common_prefix, groups_by_beginning

INSTRUCTIONS = list(range(20))


def prompts(shots: list[int], count: int, first: int) -> dict[int, list[int]]:
    return {at: [*INSTRUCTIONS, *shots, 900 + at, 7] for at in range(first, first + count)}


def test_prompts_with_other_shots_make_groups_of_their_own() -> None:
    january, march = prompts([100] * 80, 9, 0), prompts([200] * 80, 9, 9)
    few = prompts([300] * 80, 2, 18)
    found = groups_by_beginning(march | few | january)
    assert sorted(map(sorted, found)) == [list(range(9)), list(range(9, 18)), [18, 19]]


def test_what_shares_no_more_than_all_stays_together() -> None:
    (group,) = groups_by_beginning(prompts([], 30, 0))
    assert sorted(group) == list(range(30))
    (group,) = groups_by_beginning(prompts([100] * 80, 30, 0))
    assert sorted(group) == list(range(30))


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=40))
def test_every_prompt_is_in_one_group(beginnings: list[list[int]]) -> None:
    found = groups_by_beginning({at: ids * 30 for at, ids in enumerate(beginnings)})
    assert sorted(name for group in found for name in group) == list(range(len(beginnings)))
    least = common_prefix([ids * 30 for ids in beginnings])
    for group in found:
        assert common_prefix([beginnings[name] * 30 for name in group]) >= least
