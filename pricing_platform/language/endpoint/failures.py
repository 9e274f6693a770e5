"""What can go wrong with one attempt, and what is made of it: again, an outcome, or the end.

Here belongs telling failures apart, by status, by what the server says of it, and by where the
connection broke. How often and when an attempt is made again belongs to ``sending``.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING

from pydantic import JsonValue

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.replies import ReportedUsage
from pricing_platform.language.model import Outcome

if TYPE_CHECKING:
    import openai

_TOLD_CHARACTERS = 300
_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|too (long|many tokens)|exceeds? the.{0,30}(context|limit)"
    r"|maximum.{0,20}(context|token)|reduce the length",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content.{0,12}(filter|policy|moderation)|(inappropriate|prohibited).?content|moderation"
    r"|content exists risk|high risk|data.?inspection|flagged|usage polic|\bsafety\b",
    re.IGNORECASE,
)
_MONEY = (
    r"\b(credits?(?! card)|balance|(?<!token )(?<!thinking )budget|quota|billing|spend(ing)?"
    r"|usage limits?)\b"
)
_NO_MONEY = re.compile(
    r"insufficient_quota|budget_exceeded|billing_(hard_limit|not_active)|max budget"
    rf"|{_MONEY}.{{0,40}}(too low|exceeded|exhausted|used up|reached|depleted|run out|disabled)"
    rf"|(exceeded|exhausted|insufficient|out of|used (up|all)|not enough|reached).{{0,40}}{_MONEY}"
    rf"|\b(check|purchase|no|requires)\b.{{0,20}}{_MONEY}",
    re.IGNORECASE,
)
_OF_THE_MINUTE = re.compile(r"rate.?limit|try again|retry|per (second|minute)", re.IGNORECASE)
"""What a server asks to wait for, though it speaks of a quota or where to pay for a larger one."""
_NOT_THERE = re.compile(r"model", re.IGNORECASE)
_NO_SUCH_MODEL = re.compile(
    r"model.{0,100}(not found|not exist|unknown|not available)"
    r"|(unknown|invalid|no such) model|pinned to",
    re.IGNORECASE,
)
_FEATURES: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"logprob", re.IGNORECASE), "log-probabilities", "PRICING_LLM_TOP_LOGPROBS=0"),
    (
        re.compile(r"response_format|json_schema|structured|grammar", re.IGNORECASE),
        "answers in a JSON schema",
        "PRICING_LLM_STRUCTURED_OUTPUT=false",
    ),
    (
        re.compile(r"\btools?\b|tool_choice|function.?call", re.IGNORECASE),
        "calls of functions",
        "PRICING_LLM_CALLS_TOOLS=false",
    ),
    (
        re.compile(r"chat.?template", re.IGNORECASE),
        "chats: its model has no chat template",
        "PRICING_LLM_API=completions",
    ),
)
_DROPPABLE = ("parallel_tool_calls", "temperature", "stop", "seed", "top_logprobs", "logprobs")
_NAMED = r"['\"`]{name}['\"`]|\bparam(?:eter)?:? {name}\b"
_MOST_LOGPROBS = re.compile(
    r"logprobs?.{0,80}?(?:max(?:imum)?(?: allowed)?|at most|up to|(?:less than|below) or equal to"
    r"|between 0 and)"
    r"\D{0,12}(\d+)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Failure:
    """One attempt that brought no answer.

    ``again``: another attempt may do better, not before ``after`` seconds where the server says so.
    ``end`` is raised at once: every other call would fail as well. ``may_be_billed``: the server
    may have counted it; ``usage`` is what it said of that. ``without``: a parameter that the server
    does not know and that the call can do without; ``end`` then counts where it was left out.
    ``server_lives``: it is the call that fails, and others may well be answered; ``unexplained``:
    unless none is, for what the server says of it need not be about this call.
    """

    outcome: Outcome
    reason: str
    again: bool = False
    after: float | None = None
    end: PlatformError | None = None
    may_be_billed: bool = False
    usage: ReportedUsage | None = None
    without: str | None = None
    server_lives: bool = False
    unexplained: bool = False


def unreadable(reason: str, usage: ReportedUsage | None, *, again: bool) -> Failure:
    """A response with status 200 and no answer in it."""
    return Failure(
        "unreadable", reason, again=again, may_be_billed=True, usage=usage, server_lives=True
    )


def timed_out(configuration: EndpointConfiguration) -> Failure:
    """No answer came within the time that one may take."""
    reason = f"No answer came within {configuration.timeout_seconds:g} s."
    return Failure("timed_out", reason, again=True, may_be_billed=True)


def not_connected(
    error: openai.APIConnectionError, configuration: EndpointConfiguration, *, any_answered: bool
) -> Failure:
    """The connection could not be made, or broke."""
    import httpx2

    cause = error.__cause__
    if not isinstance(cause, httpx2.ConnectError | httpx2.UnsupportedProtocol):
        reason = "The connection broke before the answer had come."
        return Failure("failed", reason, again=True, may_be_billed=True)
    told = configuration.masked(str(cause))[:_TOLD_CHARACTERS]
    reason = f"{configuration.shown_url} cannot be reached: {told}."
    if any_answered:
        return Failure("failed", reason, again=True)
    end = PlatformError(
        f"The language model's endpoint {reason}",
        "See that the server runs, and that PRICING_LLM_BASE_URL names it, its port and its path.",
    )
    return Failure("failed", reason, end=end)


def refused_status(
    status: int,
    headers: Mapping[str, str],
    body: str,
    configuration: EndpointConfiguration,
    *,
    any_answered: bool,
) -> Failure:
    """A response with a status of 400 or more; one below 500, save 429, is of a living server."""
    failure = _of_status(status, headers, body, configuration, any_answered=any_answered)
    return replace(failure, server_lives=status < 500 and status != 429)


def _of_status(
    status: int,
    headers: Mapping[str, str],
    body: str,
    configuration: EndpointConfiguration,
    *,
    any_answered: bool,
) -> Failure:
    told = told_error(body, configuration)
    reason = f"The server answered {status}" + (f": {told}" if told else ".")
    after = retry_after(headers)
    named = f"{told} {_names(body)}"
    if status == 402 or _is_about_money(status, named):
        return Failure("rate_limited", reason, end=_no_quota(reason))
    if status in (401, 403, 404, 405):
        return _not_allowed(status, reason, named, configuration, any_answered=any_answered)
    if status == 429:
        return Failure("rate_limited", reason, again=True, after=after)
    if status == 408:
        return Failure("timed_out", reason, again=True, after=after)
    if status == 413:
        return Failure("too_long", reason)
    if status >= 500 or status == 409:
        return Failure("server_error", reason, again=True, after=after)
    return _bad_request(reason, named, _param(body), configuration)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds for which a server asks not to be asked again, told as such or as a date."""
    told = headers.get("retry-after")
    if told is None:
        return None
    try:
        seconds = float(told)
    except ValueError:
        date = parsedate_tz(told)
        try:
            seconds = mktime_tz(date) - time.time() if date is not None else math.nan
        except (ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def without_parameters(body: Mapping[str, object], dropped: Sequence[str]) -> dict[str, object]:
    """The body as a server can read it that does not know the dropped parameters."""
    changed = {name: value for name, value in body.items() if name not in dropped}
    if "max_tokens" in dropped:
        changed["max_completion_tokens"] = body["max_tokens"]
    if "logprobs" in dropped:
        changed.pop("top_logprobs", None)  # which is nothing without the other
    return changed


def _is_about_money(status: int, told: str) -> bool:
    """Whether a status that has other meanings says that nothing more is paid for."""
    if status == 429 and "insufficient_quota" not in told and _OF_THE_MINUTE.search(told):
        return False
    return status in (400, 403, 422, 429) and bool(_NO_MONEY.search(told))


def _not_allowed(
    status: int,
    reason: str,
    told: str,
    configuration: EndpointConfiguration,
    *,
    any_answered: bool,
) -> Failure:
    if status == 403 and _FILTERED.search(told):
        return Failure("refused", reason)
    if status == 403 and any_answered:
        return Failure("failed", reason)
    if status in (401, 403):
        return Failure("failed", reason, end=_no_access(reason, configuration))
    return Failure("failed", reason, end=_not_found(reason, told, configuration))


def _is_named(name: str, told: str) -> bool:
    """Whether an error is about the parameter; a name that is no other word need not be quoted."""
    if "_" in name or name == "temperature":
        return name in told
    return re.search(_NAMED.format(name=name), told) is not None


def thoughts_only(
    reason: str,
    usage: ReportedUsage | None,
    configuration: EndpointConfiguration,
    *,
    any_answered: bool,
) -> Failure:
    """A model that thinks had no room left for its answer: so it will be, unless it has more."""
    failure = unreadable(reason, usage, again=False)
    if any_answered:
        return failure
    end = PlatformError(
        f"The model of {configuration.shown_url} gives no answer. {reason}",
        "Give it more room, as with PRICING_LLM_ANSWER_TOKENS=4000, or have it think less, as with"
        """ PRICING_LLM_EXTRA_BODY='{"reasoning_effort": "low"}'.""",
    )
    return replace(failure, end=end)


def cut_prompt(sent: int, usage: ReportedUsage) -> Failure:
    """A server that read far fewer tokens than it was sent, and says nothing of it."""
    reason = (
        f"The server read {usage.prompt_tokens:,} of about {sent:,} tokens, and says nothing of"
        f" the rest: set PRICING_LLM_CONTEXT_WINDOW={usage.prompt_tokens}, or give it a larger one."
    )
    return Failure("too_long", reason, may_be_billed=True, usage=usage, server_lives=True)


def _bad_request(
    reason: str, told: str, param: str, configuration: EndpointConfiguration
) -> Failure:
    shown = configuration.shown_url
    if "max_completion_tokens" in told:
        return Failure("failed", reason, without="max_tokens")
    if most := _MOST_LOGPROBS.search(told):
        end = PlatformError(
            f"The endpoint {configuration.shown_url} gives fewer log-probabilities. {reason}",
            f"Set PRICING_LLM_TOP_LOGPROBS={most[1]}.",
        )
        return Failure("failed", reason, end=end)
    for name in _DROPPABLE:
        if param == name or _is_named(name, told):
            return Failure("failed", reason, without=name, end=_no_feature(reason, name, shown))
    if _TOO_LONG.search(told):
        return Failure("too_long", reason)
    if _NO_SUCH_MODEL.search(told):
        return Failure("failed", reason, end=_not_found(reason, "model", configuration))
    if (missing := _no_feature(reason, told, shown)) is not None:
        return Failure("failed", reason, end=missing)
    if _FILTERED.search(told):
        return Failure("refused", reason)
    return Failure("failed", reason, unexplained=True)


def _no_feature(reason: str, told: str, shown_url: str) -> PlatformError | None:
    """What to say where a server has not what a call asks for; None where it is nothing known."""
    for pattern, feature, setting in _FEATURES:
        if pattern.search(told):
            return PlatformError(
                f"The endpoint {shown_url} gives no {feature}. {reason}", f"Set {setting}."
            )
    return None


def _no_access(reason: str, configuration: EndpointConfiguration) -> PlatformError:
    has_key = configuration.api_key is not None or configuration.credentials is not None
    remedy = (
        "Set PRICING_LLM_API_KEY to a key that is valid for it."
        if has_key
        else "Set PRICING_LLM_API_KEY: it is not set."
    )
    return PlatformError(
        f"The endpoint {configuration.shown_url} does not let us use {configuration.model}."
        f" {reason}",
        remedy,
    )


def _not_found(reason: str, told: str, configuration: EndpointConfiguration) -> PlatformError:
    if _NOT_THERE.search(told):
        return PlatformError(
            f"The endpoint {configuration.shown_url} has no model {configuration.model}. {reason}",
            "Set PRICING_LLM_MODEL to one that it has; most list them under /models.",
        )
    return PlatformError(
        f"Nothing answers at {configuration.shown_url} as a language model would. {reason}",
        "Set PRICING_LLM_BASE_URL to the address that /chat/completions follows (most end in"
        " /v1), PRICING_LLM_API to what it speaks, and PRICING_LLM_MODEL to a model it has.",
    )


def _no_quota(reason: str) -> PlatformError:
    return PlatformError(
        f"The provider's quota is used up. {reason}",
        "Raise it with the provider and run again: what was answered is kept.",
    )


def told_error(body: str, configuration: EndpointConfiguration) -> str:
    """What the server says of an error, in whichever form, without secrets, cut to fit a line."""
    parsed = _parsed(body)
    for name in ("error", "detail", "message"):
        if isinstance(parsed, dict) and parsed.get(name):
            parsed = parsed[name]
    text = parsed if isinstance(parsed, str) else json.dumps(parsed, ensure_ascii=False)
    text = " ".join(configuration.masked(text).split())
    return text[:_TOLD_CHARACTERS] if parsed else ""


def _names(body: str) -> str:
    """The code and the type that the server files an error under, where it has some."""
    parsed = _parsed(body)
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    named = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    return " ".join(name for name in named if isinstance(name, str))


def _param(body: str) -> str:
    """The parameter that the server says an error is about; empty where it names none."""
    parsed = _parsed(body)
    error = parsed.get("error") if isinstance(parsed, dict) else None
    named = error.get("param") if isinstance(error, dict) else None
    return named if isinstance(named, str) else ""


def _parsed(body: str) -> JsonValue:
    try:
        parsed: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return parsed
