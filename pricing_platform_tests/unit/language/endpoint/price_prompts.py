"""Prompts that tests send."""

from __future__ import annotations

from pricing_platform.language.model import Message, Prompt


def price_prompts(count: int, start: int = 0) -> list[Prompt]:
    return [price_prompt(f"item {number:04d}") for number in range(start, start + count)]


def price_prompt(text: str) -> Prompt:
    messages = (Message("system", "Estimate a price."), Message("user", text))
    return Prompt(messages, "Price: $", item_id=text)
