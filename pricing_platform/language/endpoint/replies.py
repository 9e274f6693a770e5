"""Reading what an endpoint sends back: text, calls of tools, probabilities, usage.

Here belongs everything about the two interfaces' response formats, which come from outside and are
validated. Errors that a server tells with a status belong to ``failures``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field, JsonValue, ValidationError

from pricing_platform.language.endpoint.requests import Reading
from pricing_platform.language.model import Outcome, ToolCall
from pricing_platform.language.price_distribution import PriceDistribution

_PRICE_NAME = re.compile(r'"price"\s*:\s*$')
_NUMBER_START = re.compile(r"\d")
_GOES_ON = re.compile(r"\d|[.,]\d")
_MAY_GO_ON = re.compile(r"[\d.,]$")
_LONGEST_NUMBER = 7
_THOUGHTS = "think|thinking|thought|thoughts|reasoning|reflection"
_THOUGHTS_BEGIN = re.compile(rf"\s*(?:<(?:{_THOUGHTS})>|\[THINK\])", re.IGNORECASE)
_THOUGHTS_END = re.compile(rf"</(?:{_THOUGHTS})>|\[/THINK\]", re.IGNORECASE)
_NO_PATH = re.compile(
    r"unexpected endpoint|(?:endpoint|route|path|url|method).{0,40}(?:not found|unknown|allowed)"
    r"|(?:unknown|invalid|no such) (?:endpoint|route|path|url)",
    re.IGNORECASE,
)


class _CachedTokens(BaseModel):
    cached_tokens: int | None = Field(None, ge=0)


def _told_tokens(usage: object) -> object:
    """None for a usage that says nothing of the prompt: missing, empty or null is all the same."""
    if isinstance(usage, dict) and isinstance(usage.get("prompt_tokens"), int):
        return {**usage, "completion_tokens": usage.get("completion_tokens") or 0}
    return None


class ReportedUsage(BaseModel):
    """The tokens that a server says a call took."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(0, ge=0)
    prompt_tokens_details: _CachedTokens | None = None

    @property
    def cached_tokens(self) -> int:
        """Those of the prompt's that it had in its cache."""
        details = self.prompt_tokens_details
        return (details.cached_tokens or 0) if details is not None else 0


class _Alternative(BaseModel):
    token: str
    logprob: float | None = None


class _Token(_Alternative):
    top_logprobs: Annotated[list[_Alternative], BeforeValidator(lambda told: told or [])] = []


class _Logprobs(BaseModel):
    """``content`` is the chat interface's form; ``tokens`` and ``top_logprobs`` are the older."""

    content: list[_Token] | None = None
    tokens: list[str] | None = None
    top_logprobs: list[dict[str, float | None] | None] | None = None

    def in_order(self) -> list[_Token]:
        if self.content is not None:
            return self.content
        alternatives = self.top_logprobs or []
        return [
            _Token(token=token, top_logprobs=[_Alternative(token=t, logprob=p) for t, p in at])
            for token, at in zip(
                self.tokens or [],
                ((found or {}).items() for found in alternatives),
                strict=False,
            )
        ]


class _Function(BaseModel):
    name: str
    arguments: str | dict[str, JsonValue] = ""


class _ToolCall(BaseModel):
    id: str | None = None
    function: _Function


def _text_of_parts(content: object) -> object:
    """The text of a content that comes in parts; thoughts and other parts are left out."""
    if not isinstance(content, list):
        return content
    texts = [
        part if isinstance(part, str) else part.get("text")
        for part in content
        if isinstance(part, str)
        or (isinstance(part, dict) and part.get("type") in ("text", "output_text"))
    ]
    return "".join(text for text in texts if isinstance(text, str))


class _Message(BaseModel):
    content: Annotated[str | None, BeforeValidator(_text_of_parts)] = None
    refusal: str | None = None
    reasoning_content: JsonValue = None
    reasoning: JsonValue = None
    tool_calls: list[_ToolCall] | None = None

    @property
    def has_thoughts(self) -> bool:
        """Whether the server tells what the model thought, beside its answer."""
        return bool(self.reasoning_content or self.reasoning)


class _Choice(BaseModel):
    message: _Message | None = None
    text: str | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None
    error: JsonValue = None


class _Body(BaseModel):
    choices: list[_Choice] | None = None
    usage: Annotated[ReportedUsage | None, BeforeValidator(_told_tokens)] = None
    error: JsonValue = None


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


class ToldError(Exception):
    """An error that a server tells in the body of a good status; ``status`` is what it means."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


def read_reply(body: str, reading: Reading) -> Reply:
    """The answer in a response's body.

    Raises:
        UnreadableReplyError: when it is empty, no JSON, or has no answer in it.
        ToldError: when it tells of an error in the place of an answer.
    """
    if not body.strip():
        raise UnreadableReplyError("The answer was empty.")
    try:
        parsed = _Body.model_validate(json.loads(body))
    except (json.JSONDecodeError, RecursionError):
        raise UnreadableReplyError("The answer was no JSON, or half of one.") from None
    except ValidationError as error:
        places = {".".join(str(part) for part in e["loc"]) for e in error.errors()}
        told = ", ".join(sorted(places)[:3]) or "as a whole"
        raise UnreadableReplyError(f"The answer has another form than expected: {told}.") from None
    if parsed.error and not parsed.choices:
        raise _told_error(parsed.error)
    if not parsed.choices:
        raise UnreadableReplyError("There was no choice in the answer.", parsed.usage)
    choice = parsed.choices[0]
    if choice.error or choice.finish_reason == "error":
        raise _told_error(choice.error or "The server ended the answer with an error.")
    return _reply(choice, parsed.usage, reading)


def _told_error(error: JsonValue) -> ToldError:
    """With the status that the error names, else the one that its words mean."""
    code = error.get("code") if isinstance(error, dict) else None
    body = json.dumps({"error": error})
    if isinstance(code, int) and 400 <= code < 600:
        return ToldError(code, body)
    return ToldError(404 if _NO_PATH.search(body) else 500, body)


def _without_thoughts(
    text: str, message: _Message, finish_reason: str | None, usage: ReportedUsage | None
) -> str:
    """What stands after a model's thoughts.

    Raises:
        ThoughtsOnlyError: when there is nothing, because the thoughts took the room.
    """
    ends = list(_THOUGHTS_END.finditer(text))
    answer = text[ends[-1].end() :].lstrip() if ends else text
    unended = _THOUGHTS_BEGIN.match(answer) is not None
    silent = not answer.strip() and finish_reason == "length" and not message.tool_calls
    if unended or (silent and (message.has_thoughts or bool(ends))):
        raise ThoughtsOnlyError(
            "The model's thoughts took all the room, and no answer came.", usage, again=False
        )
    return answer


def _reply(choice: _Choice, usage: ReportedUsage | None, reading: Reading) -> Reply:
    message = choice.message or _Message()
    text = (message.content if choice.message is not None else choice.text) or ""
    if choice.finish_reason == "content_filter":
        return Reply(text, outcome="refused", reason="A content filter stopped it.", usage=usage)
    if message.refusal:
        return Reply(message.refusal, outcome="refused", reason=message.refusal[:300], usage=usage)
    text = _without_thoughts(text, message, choice.finish_reason, usage)
    if reading.kind == "completion":
        text = _until_stop(_without_prefix(text, reading.answer_prefix), reading.stop)
        return Reply(text, tuple(_calls(message.tool_calls or [])), usage=usage)
    if choice.finish_reason == "length" and _is_cut_off(text, reading):
        raise UnreadableReplyError("The answer was cut off at its longest.", usage, again=False)
    tokens = choice.logprobs.in_order() if choice.logprobs is not None else []
    distribution = price_distribution(
        [token.token for token in tokens],
        [{a.token: a.logprob for a in token.top_logprobs} for token in tokens],
        reading,
    )
    return Reply(
        _structured_price(text) if reading.structured else text,
        distribution=distribution,
        usage=usage,
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


def _is_cut_off(text: str, reading: Reading) -> bool:
    """Whether more of the price may have followed where an answer reached its longest."""
    if reading.structured:
        return _priced(text) is None
    return bool(_MAY_GO_ON.search(text))


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


def _calls(calls: Sequence[_ToolCall]) -> list[ToolCall]:
    return [
        ToolCall(
            call.id or f"call_{number}",
            call.function.name,
            call.function.arguments
            if isinstance(call.function.arguments, str)
            else json.dumps(call.function.arguments),
        )
        for number, call in enumerate(calls, start=1)
    ]
