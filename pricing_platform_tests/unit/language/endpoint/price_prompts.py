"""Prompts that tests send."""

from __future__ import annotations

from collections.abc import Iterable

from pricing_platform.language.model import Message, PriceAnswer, Prompt


def price_prompts(count: int, start: int = 0) -> list[Prompt]:
    return [price_prompt(f"item {number:04d}") for number in range(start, start + count)]


def price_prompt(text: str) -> Prompt:
    messages = (Message("system", "Estimate a price."), Message("user", text))
    return Prompt(messages, "Price: $", item_id=text)


def listen(answers: Iterable[tuple[int, PriceAnswer]], answered: list[int]) -> None:
    """Notes which prompts were answered, also where the run ends with an error."""
    for index, answer in answers:
        if answer.outcome == "answered":
            answered.append(index)
