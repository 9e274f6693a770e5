"""What a budget of seconds pays for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.finetuning.language.plan import (
    MOST_EPOCHS,
    TRAINED_FACTOR,
    plan_training,
)

SHARE = 0.2


def seconds_of(items: int, epochs: float, tokens: float, speed: float) -> float:
    read = items * tokens * (1 - SHARE) / speed
    return read + epochs * items * TRAINED_FACTOR * SHARE * tokens / speed


@given(
    items=st.integers(1, 1_000_000),
    tokens=st.floats(5, 2_000),
    seconds=st.floats(5, 10_000),
    speed=st.floats(100, 1e6),
)
def test_a_plan_stays_within_its_budget(
    items: int, tokens: float, seconds: float, speed: float
) -> None:
    plan = plan_training(
        items, tokens, seconds=seconds, tokens_per_second=speed, adapted_share=SHARE
    )
    assert 1 <= plan.items <= items
    assert 0 < plan.epochs <= MOST_EPOCHS
    # One batch is trained in any case.
    least = seconds_of(plan.items, 0, tokens, speed) + seconds_of(16, 1, tokens, speed)
    wanted = seconds_of(plan.items, plan.epochs, tokens, speed)
    assert wanted <= max(seconds * 1.001, least)


def test_few_items_are_all_read_and_trained_several_times() -> None:
    plan = plan_training(200, 100, seconds=240, tokens_per_second=2_000, adapted_share=SHARE)
    assert plan.items == 200
    assert plan.epochs == MOST_EPOCHS


def test_of_many_items_so_many_are_read_as_leave_time_to_train() -> None:
    plan = plan_training(100_000, 100, seconds=240, tokens_per_second=2_000, adapted_share=SHARE)
    assert 4_000 < plan.items < 4_500
    assert plan.epochs > 0.3


def test_where_all_blocks_are_adapted_nothing_is_read_beforehand() -> None:
    plan = plan_training(1_000, 100, seconds=240, tokens_per_second=2_000, adapted_share=1)
    assert plan.items == 1_000
    assert 1 < plan.epochs < MOST_EPOCHS
