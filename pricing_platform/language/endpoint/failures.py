"""What can go wrong with one attempt, and what is made of it: again, an outcome, or the end.

Here belongs telling failures apart, by status, by what the server says of it, and by where the
connection broke. How often and when an attempt is made again belongs to ``sending``.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.response_bodies import ReportedUsage
from pricing_platform.language.endpoint.told_errors import ErrorWords, ToldError, words_of_body
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
_NO_PATH = re.compile(
    r"unexpected endpoint|(?:endpoint|route|path|url|method).{0,40}(?:not found|unknown|allowed)"
    r"|(?:unknown|invalid|no such) (?:endpoint|route|path|url)|no route|cannot (?:post|get)"
    r"|^\W*(?:404 )?(?:page )?not found\W*$",
    re.IGNORECASE,
)
_NO_KEY = re.compile(
    r"api.?key.{0,20}(?:not valid|invalid|expired|missing|required)"
    r"|(?:invalid|incorrect|expired|missing).{0,8}api.?key",
    re.IGNORECASE,
)
_STATUS_OF_WORDS: tuple[tuple[re.Pattern[str], int], ...] = (
    (_NO_PATH, 404),
    (
        re.compile(
            r"authenticat|unauthori[sz]ed|\b(?:invalid|incorrect|missing)\b.{0,12}\b(?:api.?)?"
            r"(?:key|token)\b|api.?key\b.{0,20}(?:invalid|expired|missing|required|not valid)"
            r"|\btoken (?:is |has )?(?:invalid|expired|missing|required)|\blog ?in\b",
            re.IGNORECASE,
        ),
        401,
    ),
    (re.compile(r"permission|forbidden|access denied", re.IGNORECASE), 403),
    (
        re.compile(r"rate.?limit|resource.?exhausted|too.?many.?requests|throttl", re.IGNORECASE),
        429,
    ),
    (re.compile(r"model.?not.?found", re.IGNORECASE), 404),
    (re.compile(r"invalid.?request|bad.?request|invalid.?argument|validation", re.IGNORECASE), 400),
)
"""What an error means that comes with a good status and names no other."""
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
_DROPPABLE = (
    "parallel_tool_calls", "temperature", "stop", "seed", "top_logprobs", "logprobs", "max_tokens",
)  # fmt: skip
_NAMED = r"['\"`]{name}['\"`]|\bparam(?:eter)?:? {name}\b"
_NOT_KNOWN = (
    r"unsupported|(?:not|n['’]t)\s(?:(?:be|been|currently|yet)\s)*(?:support|permit|recogni[sz])\w*"
    r"|unrecogni[sz]ed|unknown|unexpected|\bextra(?:neous)?\b|deprecated|cannot\sfind|\binstead\b"
)
_NOT_TAKEN = (
    rf"{_NOT_KNOWN}|(?:not|n['’]t)\s(?:(?:a|be)\s)?(?:allow|accept|implement|valid\b|available)\w*"
    r"|forbidden|disallowed|invalid\s(?:name|parameter|argument|field|key|property)"
)
_BESIDE = (
    r"(?:{words})(?:(?![.!?;]\s).){{0,80}}?(?<![\w.-]){name}(?![\w-])"
    r"|(?<![\w.-]){name}(?![\w-])(?:(?![.!?;]\s).){{0,60}}?(?:{words})"
)
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
    """A response with status 200 and no answer in it: of one call, unless all end so."""
    return Failure(
        "unreadable",
        reason,
        again=again,
        may_be_billed=True,
        usage=usage,
        server_lives=True,
        unexplained=True,
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
    sent: Collection[str] = (),
) -> Failure:
    """A response with a status of 400 or more; one below 500, save 429, is of a living server.

    ``sent`` are the names of the parameters of the call, where they are known.
    """
    words = _masked(words_of_body(body), configuration)
    reason = f"The server answered {status}" + (f": {words.text}" if words.text else ".")
    after = retry_after(headers)
    return _of_words(
        status, words, reason, configuration, after=after, any_answered=any_answered, sent=sent
    )


def told_in_answer(
    error: ToldError,
    configuration: EndpointConfiguration,
    *,
    any_answered: bool,
    sent: Collection[str] = (),
) -> Failure:
    """An error, or a page, that came with a good status: as the error it is."""
    words = _masked(error.words, configuration)
    if not error.is_json:
        return _no_json(words, configuration, is_page=error.is_page, any_answered=any_answered)
    status = words.status or _status_of(words, configuration, sent)
    named = f" {words.status}" if words.status else ""
    reason = f"The server answered with an error{named}: {words.text or words.names}"
    failure = _of_words(
        status, words, reason, configuration, after=None, any_answered=any_answered, sent=sent
    )
    return replace(failure, usage=error.usage)


def _no_json(
    words: ErrorWords, configuration: EndpointConfiguration, *, is_page: bool, any_answered: bool
) -> Failure:
    """A page is of another server than a model's; other words may pass."""
    what = "a page for people" if is_page else "no JSON"
    reason = f"What the server answered is {what}: {words.text!r}."
    end = _not_found(reason, "", configuration) if is_page and not any_answered else None
    return Failure("server_error", reason, again=True, end=end)


def _status_of(
    words: ErrorWords, configuration: EndpointConfiguration, sent: Collection[str]
) -> int:
    """The status that an error would have had which names none."""
    said = f"{words.text} {words.names}"
    refused = _bad_request("", said, words.param, configuration, sent)
    if not refused.unexplained:
        return 400
    for text in (words.text, words.names):
        for pattern, status in _STATUS_OF_WORDS:
            if pattern.search(text):
                return status
    return 400 if words.param or _is_about_money(400, said) else 500


def _of_words(
    status: int,
    words: ErrorWords,
    reason: str,
    configuration: EndpointConfiguration,
    *,
    after: float | None,
    any_answered: bool,
    sent: Collection[str],
) -> Failure:
    failure = _of_status(
        status, words, reason, configuration, after=after, any_answered=any_answered, sent=sent
    )
    return replace(failure, server_lives=status < 500 and status != 429)


def _of_status(
    status: int,
    words: ErrorWords,
    reason: str,
    configuration: EndpointConfiguration,
    *,
    after: float | None,
    any_answered: bool,
    sent: Collection[str],
) -> Failure:
    named = f"{words.text} {words.names}"
    if status == 402 or _is_about_money(status, named):
        return Failure("rate_limited", reason, end=_no_quota(reason))
    if status == 400 and _NO_KEY.search(named):
        return Failure("failed", reason, end=_no_access(reason, configuration))
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
    return _bad_request(reason, named, words.param, configuration, sent)


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


def _is_refused(name: str, told: str, param: str) -> bool:
    """Whether an error is that the server does not take the parameter.

    A name that is no other word need not be quoted, nor stand beside words that say so; but a room
    for the answer is also told of where it is only too large.
    """
    words = _NOT_KNOWN if name == "max_tokens" else _NOT_TAKEN
    pattern = _BESIDE.format(words=words, name=re.escape(name))
    if re.search(pattern, told, re.IGNORECASE):
        return True
    if name == "max_tokens":
        return False
    if param == name or (("_" in name or name == "temperature") and name in told):
        return True
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
    reason: str,
    told: str,
    param: str,
    configuration: EndpointConfiguration,
    sent: Collection[str],
) -> Failure:
    shown = configuration.shown_url
    if most := _MOST_LOGPROBS.search(told):
        end = PlatformError(
            f"The endpoint {configuration.shown_url} gives fewer log-probabilities. {reason}",
            f"Set PRICING_LLM_TOP_LOGPROBS={most[1]}.",
        )
        return Failure("failed", reason, end=end)
    if (refused := _refused_parameter(reason, told, param, configuration, sent)) is not None:
        return refused
    if _TOO_LONG.search(told):
        return Failure("too_long", reason)
    if _NO_SUCH_MODEL.search(told):
        return Failure("failed", reason, end=_not_found(reason, "model", configuration))
    if (missing := _no_feature(reason, told, shown)) is not None:
        return Failure("failed", reason, end=missing)
    if _FILTERED.search(told):
        return Failure("refused", reason)
    return Failure("failed", reason, unexplained=True)


def _refused_parameter(
    reason: str,
    told: str,
    param: str,
    configuration: EndpointConfiguration,
    sent: Collection[str],
) -> Failure | None:
    """What a server says of a parameter that it does not take; None where it says that of none."""
    shown = configuration.shown_url
    for name in _DROPPABLE:
        if (not sent or name in sent) and _is_refused(name, told, param):
            return Failure("failed", reason, without=name, end=_no_feature(reason, name, shown))
    if "max_completion_tokens" in sent and _is_refused("max_completion_tokens", told, ""):
        end = PlatformError(
            f"The endpoint {shown} takes no limit on the length of an answer. {reason}",
            "Name one that does: without it no budget holds.",
        )
        return Failure("failed", reason, end=end)
    for name in configuration.extra_body:
        if _is_refused(name, told, param):
            end = PlatformError(
                f"The endpoint {shown} does not take the parameter {name}. {reason}",
                f"Take {name} out of PRICING_LLM_EXTRA_BODY, or give it another value.",
            )
            return Failure("failed", reason, end=end)
    return None


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
    return _masked(words_of_body(body), configuration).text


def _masked(words: ErrorWords, configuration: EndpointConfiguration) -> ErrorWords:
    """The words without secrets, on one line, cut to fit it."""
    text = " ".join(configuration.masked(words.text).split())
    names = configuration.masked(words.names)
    return replace(words, text=text[:_TOLD_CHARACTERS], names=names[:_TOLD_CHARACTERS])
