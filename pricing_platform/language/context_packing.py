"""Fitting prompts into a model's context window, counted with the model's own tokenizer.

Here belongs how many of its ranked pieces of context a prompt can keep. What the pieces are, and
in which order they stand in the prompt, belongs to the techniques.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pricing_platform.language.model import LanguageModel, Prompt

Render = Callable[[int, int], Prompt]
"""The prompt of a conversation (by its place) with so many of its best-ranked pieces."""


@dataclass(frozen=True)
class FittedPrompt:
    """A prompt, how many pieces of context it shows, and how many were left out for want of room.

    ``fits`` is false where not even the prompt without any piece has room.
    """

    prompt: Prompt
    shown: int = 0
    cut: int = 0
    tokens: int = 0
    fits: bool = True


def pack_context(
    model: LanguageModel, render: Render, pieces: Sequence[int], *, answer_tokens: int
) -> list[FittedPrompt]:
    """Prompts with as many of their best-ranked pieces as the window has room for.

    All prompts that are undecided are counted together, and each is bisected: with n pieces at
    most, ``count_tokens`` is called no more than ``2 + log2(n)`` times. That a prompt fits is
    always counted, never inferred; that a prompt with more pieces would not, is inferred from one
    with fewer that does not.

    Args:
        model: whose window and tokenizer decide.
        render: called with a conversation's place and the number of pieces to keep.
        pieces: how many each conversation has.
        answer_tokens: room that is kept for the answer.
    """
    room = model.context_window - answer_tokens
    best: list[FittedPrompt | None] = [None] * len(pieces)
    lowest, highest = [0] * len(pieces), list(pieces)
    asked = dict(enumerate(pieces))
    while asked:
        prompts = {place: render(place, count) for place, count in asked.items()}
        tokens = dict(zip(asked, model.count_tokens(list(prompts.values())), strict=True))
        for place, count in asked.items():
            fits = tokens[place] <= room
            if fits or count == 0:
                cut = pieces[place] - count
                best[place] = FittedPrompt(prompts[place], count, cut, tokens[place], fits)
            if fits:
                lowest[place] = count + 1
            else:
                highest[place] = count - 1
        asked = {
            place: (lowest[place] + highest[place]) // 2
            for place in asked
            if lowest[place] <= highest[place]
        }
    return [at for at in best if at is not None]  # each place is decided once it is asked of
