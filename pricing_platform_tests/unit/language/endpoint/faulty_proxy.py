"""A proxy on loopback that forwards to a server, or answers with faults by a script.

Here belong the faults that endpoints are known for. What the client makes of them belongs to the
tests.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2

from pricing_platform_tests.unit.language.endpoint.loopback_http import (
    Request,
    Response,
    serving,
)


@dataclass(frozen=True)
class Fault:
    """What is answered instead of forwarding; ``half``: half of what the server behind says.

    ``pause`` seconds are waited before, and with a ``pause`` alone the answer is the server's.
    """

    status: int | None = None
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    half: bool = False
    reset: bool = False


def error(message: str, code: str | None = None) -> str:
    """The body of an error as OpenAI writes it."""
    return json.dumps({"error": {"message": message, "type": "error", "code": code}})


def choice(**parts: object) -> str:
    """The body of an answer with one choice."""
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
    return json.dumps({"choices": [parts], "usage": usage})


KEY_ECHOED = error("Incorrect API key provided: {key}.", "invalid_api_key")
FAULTS: dict[str, Fault] = {
    "401": Fault(401, KEY_ECHOED),
    "403": Fault(403, error("Your key {key} may not use this model.")),
    "404 unknown model": Fault(404, error("The model `x` does not exist", "model_not_found")),
    "404 wrong URL": Fault(404, "<html>404 page not found</html>"),
    "429": Fault(429, error("Slow down")),
    "429 Retry-After: 1": Fault(429, error("Slow down"), {"Retry-After": "1"}),
    "429 Retry-After: 3600": Fault(429, error("Slow down"), {"Retry-After": "3600"}),
    "429 no quota": Fault(429, error("You exceeded your quota", "insufficient_quota")),
    "500": Fault(500, error("It broke, {key}")),
    "503 in HTML": Fault(503, "<html>Service unavailable</html>"),
    "half a JSON": Fault(half=True),
    "empty body": Fault(200, ""),
    "no choice": Fault(200, json.dumps({"choices": [], "usage": {"prompt_tokens": 20}})),
    "error with status 200": Fault(200, error("overloaded, {key}")),
    "too late": Fault(pause=60.0),
    "connection reset": Fault(reset=True),
    "refusal": Fault(200, choice(message={"content": None, "refusal": "I can't help with that."})),
    "content filter": Fault(200, choice(message={"content": ""}, finish_reason="content_filter")),
    "400 content filter": Fault(400, error("Filtered by our content policy", "content_filter")),
    "400 context length": Fault(
        400,
        error("This model's maximum context length is 8192 tokens", "context_length_exceeded"),
    ),
    "400 other": Fault(400, error("Something about {key}")),
    "400 no credit": Fault(400, error("Your credit balance is too low, {key}")),
    "400 no logprobs": Fault(400, error("`logprobs` is not supported by this model")),
    "400 no tools": Fault(400, error("This model does not support tools")),
    "400 no schema": Fault(400, error("response_format of type json_schema is not supported")),
}


def retry_after_date(seconds: float) -> Fault:
    """A 429 whose Retry-After is a date so many seconds from now, which dates round down."""
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    return Fault(429, error("Slow down"), {"Retry-After": date})


Script = Callable[[int, str], Fault | None]
"""What is done with the n-th request (from 0) that has this body; None forwards it."""


@dataclass
class FaultyProxy:
    upstream: str
    script: Script = lambda _number, _body: None
    rewritten: Callable[[bytes], bytes] = lambda body: body
    """The body as it is forwarded."""
    requests: list[tuple[float, str]] = field(default_factory=list)
    _asked: Counter[str] = field(default_factory=Counter)
    _client: httpx2.AsyncClient = field(
        default_factory=lambda: httpx2.AsyncClient(timeout=60, verify=False)  # on loopback
    )

    @contextmanager
    def running(self) -> Iterator[str]:
        """The base URL."""
        with serving(self._answer) as url:
            yield f"{url}/v1"

    async def _answer(self, request: Request) -> Response:
        body = request.body.decode()
        number = self._asked[body]
        self._asked[body] += 1
        self.requests.append((time.monotonic(), body))
        fault = self.script(number, body)
        if fault is None:
            return await self._forwarded(request)
        await asyncio.sleep(fault.pause)
        if fault.reset:
            return Response(reset=True)
        if fault.half:
            whole = await self._forwarded(request)
            return Response(200, whole.body[: len(whole.body) // 2])
        if fault.status is None:
            return await self._forwarded(request)
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        return Response(fault.status, fault.body.replace("{key}", key).encode(), fault.headers)

    async def _forwarded(self, request: Request) -> Response:
        path = request.path.removeprefix("/v1")
        headers = {"Content-Type": "application/json"}
        url = self.upstream + path
        found = await self._client.post(url, content=self.rewritten(request.body), headers=headers)
        return Response(found.status_code, found.content)


def always(fault: Fault) -> Script:
    return lambda _number, _body: fault


def at_first(fault: Fault, times: int) -> Script:
    """The fault so many times for each body, then well."""
    return lambda number, _body: fault if number < times else None


def for_texts(fault: Fault, *texts: str) -> Script:
    """The fault for the bodies that hold one of the texts, always."""
    return lambda _number, body: fault if any(text in body for text in texts) else None
