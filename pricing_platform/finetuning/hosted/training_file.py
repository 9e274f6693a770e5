"""The file of an endpoint's fine-tuning: a chat a line, as OpenAI documents it, and its checks.

Here belongs what the file holds, and what is wrong with one that an endpoint would refuse. Sending
it belongs to ``provider``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pricing_platform.errors import PlatformError
from pricing_platform.language import prompts
from pricing_platform.language.model import Message, Prompt
from pricing_platform.language.prompts import Currency

FEWEST_EXAMPLES = 10
"""OpenAI, "Supervised fine-tuning", section "Right number of examples"."""

LARGEST_FILE = 512 * 1024 * 1024
"""In bytes; OpenAI, "API reference", "Upload file"."""

CountTokens = Callable[[Sequence[Prompt]], list[int]]


class _Turn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Chat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    messages: list[_Turn] = Field(min_length=2)


@dataclass(frozen=True)
class TrainingFile:
    """The content of a file, its chats, their tokens, and how many were too long to stand in it."""

    content: bytes
    examples: int
    tokens: int
    too_long: int = 0

    @property
    def sha256(self) -> str:
        """Of the content."""
        return hashlib.sha256(self.content).hexdigest()


def price_chats(texts: Sequence[str], prices: Sequence[float], currency: Currency) -> list[Prompt]:
    """For each product the prompt that asks for its price, and the price as the model is to say it.

    Args:
        texts: of the products.
        prices: of the same products, in the currency.
        currency: that the prompt asks for.
    """
    chats = []
    for text, price in zip(texts, prices, strict=True):
        asked = prompts.zero_shot(text, currency)
        said = Message("assistant", currency.price_line(price))
        chats.append(replace(asked, messages=(*asked.messages, said), answer_prefix=""))
    return chats


def training_file(chats: Sequence[Prompt], count_tokens: CountTokens, window: int) -> TrainingFile:
    """The chats as a file, without those that are longer than the model's window.

    Args:
        chats: each with the model's turn at its end.
        count_tokens: by the endpoint's tokenizer, or an approximation.
        window: tokens that a chat may have.
    """
    counted = list(zip(chats, count_tokens(chats), strict=True))
    kept = [(chat, tokens) for chat, tokens in counted if tokens <= window]
    lines = [_line(chat) for chat, _ in kept]
    return TrainingFile(
        "".join(f"{line}\n" for line in lines).encode(),
        examples=len(kept),
        tokens=sum(tokens for _, tokens in kept),
        too_long=len(chats) - len(kept),
    )


def check_training_file(
    file: TrainingFile,
    *,
    held_out: Collection[str] = (),
    fewest: int = FEWEST_EXAMPLES,
    largest: int = LARGEST_FILE,
) -> None:
    """Refuses what an endpoint would refuse, or what would spoil the evaluation.

    The content is read again, so that what is checked is what is sent.

    Args:
        file: to be sent.
        held_out: what is asked about products that the model must not be trained on.
        fewest: chats that it must have.
        largest: bytes that it may have.

    Raises:
        PlatformError: naming the first line that is wrong, or what is wrong with the whole.
    """
    if file.examples < fewest:
        left_out = f"; {file.too_long:,} are longer than the window" if file.too_long else ""
        raise PlatformError(
            f"A training at an endpoint needs at least {fewest} examples; there are"
            f" {file.examples}{left_out}.",
            "Raise PRICING_LLM_FINE_TUNING_ITEMS or PRICING_LLM_CONTEXT_WINDOW, or add products.",
        )
    if len(file.content) > largest:
        raise PlatformError(
            f"The training file has {len(file.content):,} bytes; endpoints take {largest:,}.",
            "Lower PRICING_LLM_FINE_TUNING_ITEMS.",
        )
    held = frozenset(held_out)
    for number, line in enumerate(file.content.decode().splitlines(), start=1):
        problem = _problem(line, held)
        if problem is not None:
            raise PlatformError(
                f"Line {number} of the training file {problem}.",
                "This is a defect in how the file is written, or in the splits; nothing was sent.",
            )


def _problem(line: str, held_out: frozenset[str]) -> str | None:
    try:
        chat = _Chat.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the line"
        return f"is no chat: {where}: {first['msg']}"
    if chat.messages[-1].role != "assistant":
        return "does not end with the assistant's answer"
    if any(turn.role == "user" and turn.content in held_out for turn in chat.messages):
        return "holds a product that the model is evaluated on"
    return None


def _line(chat: Prompt) -> str:
    turns = [{"role": at.role, "content": at.content} for at in chat.messages]
    # ASCII alone: no character in it ends a line, whoever splits the file.
    return json.dumps({"messages": turns}, ensure_ascii=True, separators=(",", ":"))
