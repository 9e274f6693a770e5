"""The two interfaces' response formats, as servers really write them.

Here belongs what of a body is understood. A side field of another form than the format has (usage,
log-probabilities, details) is as good as missing, and takes no answer with it. What is made of what
was understood belongs to ``replies``.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

_LENGTHS = frozenset({"length", "max_tokens", "model_length", "model_context_window_exceeded"})
_FILTERS = frozenset(
    {
        "content_filter",
        "content_filtered",
        "safety",
        "recitation",
        "prohibited_content",
        "blocklist",
        "refusal",
        "sensitive",
        "guardrail_intervened",
    }
)
_ERRORS = frozenset(
    {"error", "abort", "aborted", "cancelled", "network_error", "insufficient_system_resource"}
)
_THOUGHT_FIELDS = (
    "reasoning_content", "reasoning", "thinking", "thoughts", "reasoning_details",
    "reasoning_text", "thinking_blocks",
)  # fmt: skip


def _or_none(value: object, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError:
        return None


_Lenient = WrapValidator(_or_none)


class ReportedUsage(BaseModel):
    """The tokens that a server says a call took; ``cached_tokens`` are part of the prompt's.

    ``read_tokens`` are the most of the prompt that it can have read by what it says: servers that
    count cached tokens beside the prompt's can't always be told from those that count them in it.
    """

    prompt_tokens: int
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    read_tokens: int


def reported_usage(told: object) -> ReportedUsage | None:
    """What a server told; None where it says nothing of the prompt.

    Missing, empty, null, 0 and less than that are all the same: no prompt has no tokens.
    """
    if not isinstance(told, dict):
        return None
    prompt = _count(told.get("prompt_tokens"))
    beside = 0
    if not prompt:  # Anthropic's names, which count cached tokens beside the others
        prompt = _count(told.get("input_tokens"))
        read, made = told.get("cache_read_input_tokens"), told.get("cache_creation_input_tokens")
        beside = (_count(read) or 0) + (_count(made) or 0)
    written = told.get("completion_tokens", told.get("output_tokens"))
    total = _count(told.get("total_tokens"))
    if not prompt or (written is not None and _count(written) is None):
        return None
    completion = _count(written)
    if completion is None:
        completion = max((total or 0) - prompt - beside, 0)
    cached = _cached(told)
    if not beside and cached > prompt:
        beside = cached
    return ReportedUsage(
        prompt_tokens=prompt + beside,
        completion_tokens=completion,
        cached_tokens=cached,
        reasoning_tokens=_detail(told, ("completion_tokens_details", "output_tokens_details"),
                                 "reasoning_tokens"),
        read_tokens=prompt + (beside or cached),
    )  # fmt: skip


def _cached(told: dict[str, object]) -> int:
    found = _detail(told, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    names = ("prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens")
    return found or next((count for name in names if (count := _count(told.get(name)))), 0)


def _detail(told: dict[str, object], places: tuple[str, ...], name: str) -> int:
    for place in places:
        if isinstance(found := told.get(place), dict):
            return _count(found.get(name)) or 0
    return 0


def _count(value: object) -> int | None:
    """A number of tokens; None where there is none, or it is below 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if number >= 0 and number.is_integer() else None


class Alternative(BaseModel):
    """A token that could have stood in a place, and how likely it was."""

    token: str
    logprob: Annotated[float | None, _Lenient] = None


def _alternatives(told: object) -> object:
    """Those that can be read, of a list or of an object of tokens."""
    if isinstance(told, dict):
        told = [{"token": token, "logprob": logprob} for token, logprob in told.items()]
    found = told if isinstance(told, list) else []
    return [one for one in found if isinstance(one, Alternative) or _names_token(one)]


def _names_token(told: object) -> bool:
    return isinstance(told, dict) and isinstance(told.get("token"), str)


class Token(Alternative):
    """A token of an answer, with what could have stood there."""

    top_logprobs: Annotated[list[Alternative], BeforeValidator(_alternatives)] = []


class Logprobs(BaseModel):
    """``content`` is the chat interface's form; ``tokens`` and ``top_logprobs`` are the older."""

    content: list[Token] | None = None
    tokens: list[str] | None = None
    top_logprobs: list[dict[str, float | None] | None] | None = None

    def in_order(self) -> list[Token]:
        """The tokens of the answer, in either form."""
        if self.content is not None:
            return self.content
        alternatives = self.top_logprobs or []
        return [
            Token(token=token, top_logprobs=[Alternative(token=t, logprob=p) for t, p in at])
            for token, at in zip(
                self.tokens or [],
                ((found or {}).items() for found in alternatives),
                strict=False,
            )
        ]


def _arguments(told: object) -> object:
    if told is None:
        return ""
    return told if isinstance(told, str) else json.dumps(told)


class Function(BaseModel):
    """What a model calls, with arguments as it wrote them."""

    name: str
    arguments: Annotated[str, BeforeValidator(_arguments)] = ""


class CalledTool(BaseModel):
    """A call that a model asks for."""

    id: Annotated[str | None, BeforeValidator(lambda told: str(told) if told else None)] = None
    function: Function


def _text_of(content: object) -> object:
    """The text of a content that may come in parts; thoughts and other parts are left out."""
    if isinstance(content, list):
        texts = [_text_of_part(part) for part in content]
        content = "".join(text for text in texts if isinstance(text, str))
    elif isinstance(content, dict):
        text = _text_of_part(content)
        content = text if isinstance(text, str) else json.dumps(content)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        content = str(content)
    if isinstance(content, str):  # half of a character that a cut left is no reason to lose a text
        return content.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
    return content


def _text_of_part(part: object) -> object:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("thought"):
        return None
    if part.get("type") not in (None, "text", "output_text"):
        return None
    text = part.get("text")
    return text.get("value") if isinstance(text, dict) else text


def _refusal(told: object) -> str | None:
    if told is True:
        return "The model refused."
    return told if isinstance(told, str) and told.strip() else None


def _calls(told: object) -> list[object]:
    """Those of the calls that name a function."""
    found = told if isinstance(told, list) else []
    return [call for call in found if isinstance(call, dict) and _names_function(call)]


def _names_function(call: dict[str, object]) -> bool:
    function = call.get("function")
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _thought(message: object) -> object:
    """The message, with what tells of thoughts beside the answer in one field."""
    if not isinstance(message, dict):
        return message
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    shown = any(isinstance(part, dict) and _text_of_part(part) is None for part in parts)
    thought = shown or any(message.get(name) for name in _THOUGHT_FIELDS)
    return {**message, "has_thoughts": thought}


class Message(BaseModel):
    """What a model wrote; ``has_thoughts``: the server tells thoughts of it beside the answer."""

    content: Annotated[str | None, _Lenient, BeforeValidator(_text_of)] = None
    refusal: Annotated[str | None, BeforeValidator(_refusal)] = None
    tool_calls: Annotated[list[CalledTool], BeforeValidator(_calls)] = []
    has_thoughts: bool = False


def _reason(told: object) -> str:
    if isinstance(told, dict):
        told = told.get("type")
    return told.strip().lower() if isinstance(told, str) else ""


class Choice(BaseModel):
    """An answer, in either interface's form."""

    # A server that streams what it was not to stream may send the whole as one piece.
    message: Annotated[Message | None, _Lenient, BeforeValidator(_thought)] = Field(
        None, validation_alias=AliasChoices("message", "delta")
    )
    text: Annotated[str | None, _Lenient, BeforeValidator(_text_of)] = None
    logprobs: Annotated[Logprobs | None, _Lenient] = None
    finish_reason: Annotated[str, BeforeValidator(_reason)] = ""
    error: JsonValue = None

    @property
    def written(self) -> str:
        """The text of the answer; empty where there is none."""
        told = self.message.content if self.message is not None else self.text
        return told or self.text or ""

    @property
    def is_filtered(self) -> bool:
        """Whether a filter of contents ended it."""
        return self.finish_reason in _FILTERS

    @property
    def is_broken(self) -> bool:
        """Whether an error ended it."""
        return self.finish_reason in _ERRORS

    def is_cut(self, usage: ReportedUsage | None, room: int | None) -> bool:
        """Whether it ended because its room did, by what the server says or by what it counts."""
        if self.finish_reason:
            return self.finish_reason in _LENGTHS
        return bool(room and usage and usage.completion_tokens >= room)


def _choices(told: object) -> list[object]:
    return told if isinstance(told, list) else []


class Body(BaseModel):
    """A response."""

    choices: Annotated[list[Annotated[Choice | None, _Lenient]], BeforeValidator(_choices)] = []
    usage: Annotated[ReportedUsage | None, BeforeValidator(reported_usage)] = None

    @property
    def choice(self) -> Choice | None:
        """The first, where it is one."""
        found = self.choices[0] if self.choices else None
        return found if found is not None and found.model_fields_set else None
