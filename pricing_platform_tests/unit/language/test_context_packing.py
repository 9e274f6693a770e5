"""Fitting prompts into a window: as many of the best pieces as there is room for, never more."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.language.context_packing import pack_context
from pricing_platform.language.model import Message, Prompt
from pricing_platform_tests.unit.language.scripted_model import ScriptedModel

ANSWER = 4


class CountingModel(ScriptedModel):
    """Counts words, and how often it was asked to."""

    def __init__(self, window: int) -> None:
        super().__init__(context_window=window)
        self.rounds = 0

    def count_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        self.rounds += 1
        return super().count_tokens(prompts)


def prompt_of(item: str, pieces: Sequence[str]) -> Prompt:
    return Prompt((Message("user", " ".join([*pieces, item])),))


_words = st.integers(0, 12).map(lambda count: " ".join(["w"] * count))


@given(
    window=st.integers(ANSWER, 60),
    conversations=st.lists(st.tuples(_words, st.lists(_words, max_size=9)), max_size=6),
)
def test_keeps_the_most_that_has_room_and_says_what_was_cut(
    window: int, conversations: list[tuple[str, list[str]]]
) -> None:
    model = CountingModel(window)

    def render(place: int, count: int) -> Prompt:
        item, pieces = conversations[place]
        return prompt_of(item, pieces[:count])

    fitted = pack_context(
        model, render, [len(pieces) for _, pieces in conversations], answer_tokens=ANSWER
    )
    most = max((len(pieces) for _, pieces in conversations), default=0)
    assert model.rounds <= 2 + math.log2(max(most, 1))
    for (item, pieces), found in zip(conversations, fitted, strict=True):
        sizes = [
            len(prompt_of(item, pieces[:count]).as_text().split())
            for count in range(len(pieces) + 1)
        ]
        room = [count for count, size in enumerate(sizes) if size <= window - ANSWER]
        assert found.fits == bool(room)
        assert found.shown == (room[-1] if room else 0)
        assert found.shown + found.cut == len(pieces)
        assert found.prompt == prompt_of(item, pieces[: found.shown])
        assert found.tokens == sizes[found.shown]
        assert item in found.prompt.as_text()


def test_nothing_to_fit_asks_nothing() -> None:
    model = CountingModel(10)
    assert pack_context(model, lambda place, count: prompt_of("", []), [], answer_tokens=1) == []
    assert model.rounds == 0
