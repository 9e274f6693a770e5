"""What a server says of an error, in whichever form: words, codes, the parameter that it is about.

Here belongs finding them in a body. What they mean for a call belongs to ``failures``.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass

from pydantic import JsonValue

from pricing_platform.language.endpoint.response_bodies import ReportedUsage

_WORDS = (
    "error", "errors", "detail", "message", "Message", "msg", "error_message", "error_msg",
    "errorMessage", "error_description", "base_resp", "status_msg", "title",
)  # fmt: skip
_CODES = (
    "code", "status", "status_code", "statusCode", "http_status", "http_status_code",
    "raw_status_code", "error_code", "errorCode", "type", "error_type",
)  # fmt: skip
_NO_ERROR: tuple[JsonValue, ...] = (None, 0, 200, "", "0", "200", "ok", "OK", "success")
_SEVERAL = 5
_DEEPEST = 6
_NOT_SHOWN = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class ErrorWords:
    """``names`` are codes and types as a server files errors, ``status`` the one they name.

    ``param`` is the parameter that it says the error is about; empty where it names none.
    """

    text: str
    names: str = ""
    param: str = ""
    status: int | None = None


class ToldError(Exception):
    """An error that a server tells in the body of a good status.

    ``is_page``: what came is a page for people. ``is_json``: it was JSON, in whichever form.
    ``usage`` is what it cost all the same, where told.
    """

    def __init__(
        self,
        words: ErrorWords,
        *,
        usage: ReportedUsage | None = None,
        is_page: bool = False,
        is_json: bool = True,
    ) -> None:
        super().__init__(words.text)
        self.words = words
        self.usage = usage
        self.is_page = is_page
        self.is_json = is_json


def error_in(parsed: JsonValue, *, beside_answer: bool = False) -> ErrorWords | None:
    """The error that a response of a good status tells of; None where it tells of none.

    ``beside_answer``: the response has an answer too, so that only what is called an error is one.
    """
    if isinstance(parsed, list):  # as Gemini tells errors
        found = (error_in(each) for each in parsed[:1])
        return next(found, None)
    if not isinstance(parsed, dict):
        return None
    is_named = parsed.get("object") == "error" or not is_blank(parsed.get("error"))
    if beside_answer and not is_named:
        return None
    words = words_of(parsed)
    return words if words.text or (is_named and words.names) else None


def is_blank(error: JsonValue) -> bool:
    """Whether what stands in the place of an error says that there is none."""
    if not isinstance(error, dict):
        return not error
    code = next((error[name] for name in _CODES if error.get(name) is not None), None)
    return not _text(error) and code in _NO_ERROR


def words_of(parsed: JsonValue) -> ErrorWords:
    """The words of an error; those of a body of no known form are the whole of it."""
    if isinstance(parsed, list) and len(parsed) == 1:
        return words_of(parsed[0])
    if not isinstance(parsed, dict):
        return ErrorWords(_text(parsed) or _dumped(parsed))
    inner = [parsed[name] for name in ("error", "base_resp") if isinstance(parsed.get(name), dict)]
    places = [place for place in [*inner, parsed] if isinstance(place, dict)]
    codes = [place[name] for place in places for name in _CODES if place.get(name) is not None]
    text = _text(parsed)
    names = " ".join(dict.fromkeys(code for code in codes if isinstance(code, str)))
    return ErrorWords(text, names, _param(places), _status(codes, parsed.get("object")))


def words_of_body(body: str) -> ErrorWords:
    """Of a body that may be JSON, a page or plain text."""
    try:
        parsed: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return ErrorWords(page_text(body))
    words = words_of(parsed)
    if words.text or parsed in (None, "", [], {}):
        return words
    return ErrorWords(_dumped(parsed), words.names, words.param, words.status)


def page_text(page: str) -> str:
    """What a page shows to people: its title, else its text; plain text as it is."""
    if not page.lstrip().startswith("<"):
        return page.strip()
    title = _TITLE.search(page)
    shown = _NOT_SHOWN.sub(" ", page)
    told = title[1] if title and title[1].strip() else shown
    return " ".join(html.unescape(told).split())


def _text(value: JsonValue, depth: int = 0) -> str:
    if isinstance(value, str):
        return value.strip()
    if depth > _DEEPEST:
        return ""
    if isinstance(value, list):
        texts = [_text(each, depth + 1) for each in value[:_SEVERAL]]
        return "; ".join(text for text in texts if text)
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("loc"), list) and isinstance(value.get("msg"), str):
        return f"{_last(value['loc'])}: {value['msg']}"
    text = next((text for name in _WORDS if (text := _text(value.get(name), depth + 1))), "")
    behind = value.get("metadata")  # of the provider that a router asked
    raw = behind.get("raw") if isinstance(behind, dict) else None
    return f"{text}: {raw}" if isinstance(raw, str) and raw else text


def _last(place: JsonValue) -> str:
    return str(place[-1]) if isinstance(place, list) and place else ""


def _param(places: list[dict[str, JsonValue]]) -> str:
    for place in places:
        if isinstance(named := place.get("param"), str) and named:
            return named
        details = place.get("detail", place.get("message"))
        details = details.get("detail") if isinstance(details, dict) else details
        for detail in details if isinstance(details, list) else []:
            if isinstance(detail, dict) and (named := _last(detail.get("loc"))):
                return named
    return ""


def _status(codes: list[JsonValue], kind: JsonValue) -> int | None:
    for code in codes:
        if isinstance(code, bool) or not isinstance(code, int | str):
            continue
        try:
            number = int(code)
        except ValueError:
            continue
        if kind == "error" and 40_000 <= number < 60_000:  # as FastChat numbers its errors
            status = number // 100
            return status if status in (401, 429) or status >= 500 else 400
        if 400 <= number < 600:
            return number
    return None


def _dumped(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""
