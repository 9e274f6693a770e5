"""Reading what an endpoint sends back: an answer, or why there is none.

Here belongs what is made of a response of a good status: text, calls of tools, probabilities. The
formats that it comes in belong to ``response_bodies``, and errors that a server tells with a status
to ``failures``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, Field, JsonValue, ValidationError

from pricing_platform.language.endpoint.requests import Reading
from pricing_platform.language.endpoint.response_bodies import (
    Body,
    CalledTool,
    Choice,
    Logprobs,
    Message,
    ReportedUsage,
)
from pricing_platform.language.endpoint.thoughts import after_thoughts
from pricing_platform.language.endpoint.told_errors import (
    ErrorWords,
    ToldError,
    error_in,
    is_blank,
    page_text,
    words_of,
)
from pricing_platform.language.model import Outcome, ToolCall
from pricing_platform.language.price_distribution import PriceDistribution
from pricing_platform.language.price_text import finished_price

_PRICE_NAME = re.compile(r'"price"\s*:\s*$')
_NUMBER_START = re.compile(r"\d")
_GOES_ON = re.compile(r"\d|[.,]\d")
_MAY_GO_ON = re.compile(r"[\d.,]\s*$")
_HALF_NUMBER = re.compile(r"\S*\d[\d.,]*\Z")
_LONGEST_NUMBER = 7
_MORE_ROOM = "PRICING_LLM_ANSWER_TOKENS gives it more"


class _Price(BaseModel):
    price: float = Field(gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class Reply:
    """What a model wrote; ``usage`` is None where the server does not tell it."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    distribution: PriceDistribution | None = None
    outcome: Outcome = "answered"
    reason: str | None = None
    usage: ReportedUsage | None = None


class UnreadableReplyError(Exception):
    """A response that holds no answer; ``usage`` is what it cost all the same, where told.

    ``again``: asking again may bring one.
    """

    def __init__(
        self, reason: str, usage: ReportedUsage | None = None, *, again: bool = True
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.usage = usage
        self.again = again


class ThoughtsOnlyError(UnreadableReplyError):
    """A response whose room the model's thoughts took, so that no answer came."""


def read_reply(body: str, reading: Reading) -> Reply:
    """The answer in a response's body.

    Raises:
        UnreadableReplyError: when it is empty, half a JSON, or has no answer in it.
        ToldError: when it tells of an error, beside an answer or in the place of one, or is a page.
    """
    parsed = _parsed(body)
    try:
        read = Body.model_validate(parsed if isinstance(parsed, dict) else {})
    except (ValidationError, RecursionError):
        raise UnreadableReplyError("The answer has another form than expected.") from None
    choice = read.choice
    if (told := error_in(parsed, beside_answer=choice is not None)) is not None:
        raise ToldError(told, usage=read.usage)
    if choice is None:
        raise UnreadableReplyError("There was no choice in the answer.", read.usage)
    if not is_blank(choice.error) or choice.is_broken:
        raise ToldError(_words_of_choice(choice), usage=read.usage)
    return _reply(choice, read.usage, reading)


def _parsed(body: str) -> JsonValue:
    text = body.lstrip("\ufeff \t\r\n")
    if not text:
        raise UnreadableReplyError("The answer was empty.")
    try:
        parsed: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        if text[0] in '{["':
            raise UnreadableReplyError("The answer was no JSON, or half of one.") from None
        is_page = text.startswith("<")
        raise ToldError(ErrorWords(page_text(text)), is_page=is_page, is_json=False) from None
    return parsed


def _words_of_choice(choice: Choice) -> ErrorWords:
    words = words_of({"error": choice.error})
    if words.text or words.names or words.status:
        return words
    return ErrorWords(f"The server ended the answer with {choice.finish_reason!r}.")


def _reply(choice: Choice, usage: ReportedUsage | None, reading: Reading) -> Reply:
    message = choice.message or Message()
    if choice.is_filtered:
        reason = "A content filter stopped it."
        return Reply(choice.written, outcome="refused", reason=reason, usage=usage)
    if message.refusal:
        return Reply(message.refusal, outcome="refused", reason=message.refusal[:300], usage=usage)
    is_cut = choice.is_cut(usage, reading.room)
    text = _answer(choice, usage, reading, is_cut=is_cut)
    if reading.kind == "completion":
        text = _HALF_NUMBER.sub("", text) if is_cut else text
        text = _until_stop(_without_prefix(text, reading.answer_prefix), reading.stop)
        return Reply(text, tuple(_calls(message.tool_calls)), usage=usage)
    distribution = _distribution(choice.logprobs, reading)
    if is_cut:
        text = _finished(text, distribution, usage, reading)
    return Reply(
        _structured_price(text) if reading.structured else text,
        distribution=distribution,
        usage=usage,
    )


def _answer(choice: Choice, usage: ReportedUsage | None, reading: Reading, *, is_cut: bool) -> str:
    """What a model wrote after its thoughts.

    Raises:
        ThoughtsOnlyError: when there is nothing, because the room was used up before.
        UnreadableReplyError: when there is nothing though there was room.
    """
    message = choice.message or Message()
    answer = after_thoughts(choice.written)
    if message.tool_calls:
        return answer or ""
    shown = message.has_thoughts or bool(usage and usage.reasoning_tokens)
    shown |= answer != choice.written
    if answer is None or (is_cut and not answer.strip()):
        told = (
            "The model's thoughts took all the room, and no answer came"
            if shown
            else "The room for the answer was used up, as by thoughts that are not shown, and no"
            " answer came"
        )
        raise ThoughtsOnlyError(f"{told}: {_MORE_ROOM}.", usage, again=False)
    # A stop string may be the first that a model writes, and is not sent along.
    may_be_empty = choice.finish_reason == "stop" and (
        bool(reading.stop) or reading.api == "completions"
    )
    if answer.strip() or (may_be_empty and not shown):
        return answer
    raise UnreadableReplyError(
        "The model thought and then wrote no answer." if shown else "The model wrote nothing.",
        usage,
    )


def _finished(
    text: str,
    distribution: PriceDistribution | None,
    usage: ReportedUsage | None,
    reading: Reading,
) -> str:
    """The price that a text begins with which was cut off: nothing after it counts.

    Raises:
        UnreadableReplyError: when it begins with none, or more of that may have followed.
    """
    if reading.structured:
        found = text if _priced(text) is not None else None
    elif distribution is not None and not _MAY_GO_ON.search(text):
        found = text
    else:
        found = finished_price(text, reading.answer_prefix)
    if found is None:
        reason = f"The answer was cut off at its longest, before a whole price: {_MORE_ROOM}."
        raise UnreadableReplyError(reason, usage, again=False)
    return found


def _distribution(logprobs: Logprobs | None, reading: Reading) -> PriceDistribution | None:
    tokens = logprobs.in_order() if logprobs is not None else []
    return price_distribution(
        [token.token for token in tokens],
        [{a.token: a.logprob for a in token.top_logprobs} for token in tokens],
        reading,
    )


def price_distribution(
    tokens: Sequence[str],
    alternatives: Sequence[dict[str, float | None]],
    reading: Reading,
) -> PriceDistribution | None:
    """Whole prices by the probabilities of the alternatives where the answer's number begins.

    Only where the number follows the prompt's prefix at once (which a chat may repeat), is one
    token, and ends with it; and where an alternative has two digits, because with a tokenizer that
    writes single digits ``1`` and ``2`` are beginnings and not prices. What is not among the
    alternatives is left out, so the distribution is that of the likeliest numbers.
    """
    before = ""
    for place, token in enumerate(tokens):
        if _NUMBER_START.search(token):
            if not _is_price_place(before, token, "".join(tokens[place + 1 :]), reading):
                return None
            return _from_alternatives(alternatives[place])
        before += token
    return None


def _is_price_place(before: str, token: str, after: str, reading: Reading) -> bool:
    if _whole(token) is None or _GOES_ON.match(after):
        return False
    said = before.strip()
    if reading.structured:
        return bool(_PRICE_NAME.search(said))
    prefix = reading.answer_prefix.strip()
    sign = prefix.split()[-1] if prefix else ""
    return said in ("", sign) or bool(prefix and said.endswith(prefix))


def _from_alternatives(alternatives: dict[str, float | None]) -> PriceDistribution | None:
    mass: dict[int, float] = {}
    for token, logprob in alternatives.items():
        price = _whole(token)
        if price is not None and logprob is not None and math.isfinite(logprob):
            mass[price] = mass.get(price, 0.0) + math.exp(min(logprob, 0.0))
    if not mass or max(mass) < 10 or sum(mass.values()) <= 0:
        return None
    prices = np.array(sorted(mass), dtype=np.float64)
    found = np.array([mass[int(price)] for price in prices], dtype=np.float64)
    return PriceDistribution(prices, (found / found.sum()).astype(np.float32))


def _whole(token: str) -> int | None:
    """The whole number above 0 that a token is, a space before it aside."""
    digits = token.lstrip(" \u2581\u0120")  # as byte-pair tokenizers write a space
    usual = digits.isascii() and digits.isdigit() and not digits.startswith("0")
    return int(digits) if usual and len(digits) <= _LONGEST_NUMBER else None


def _priced(text: str) -> float | None:
    try:
        return _Price.model_validate_json(text).price
    except ValidationError:
        return None


def _structured_price(text: str) -> str:
    """The number in ``{"price": number}``, or what else was written."""
    price = _priced(text)
    return text if price is None else f"{price:.2f}"


def _until_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop string: a server may not know what it was to stop at."""
    places = [at for at in map(text.find, stop) if at >= 0]
    return text[: min(places)] if places else text


def _without_prefix(text: str, prefix: str) -> str:
    """A completion does not repeat the prompt's prefix, even if the model did."""
    said = text.lstrip()
    return said.removeprefix(prefix) if prefix and said.startswith(prefix) else text


def _calls(calls: Sequence[CalledTool]) -> list[ToolCall]:
    return [
        ToolCall(call.id or f"call_{number}", call.function.name, call.function.arguments)
        for number, call in enumerate(calls, start=1)
    ]
