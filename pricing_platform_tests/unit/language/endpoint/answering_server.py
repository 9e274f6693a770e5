"""A server that speaks the OpenAI format and answers each prompt with a number made of its text.

Here belongs a stand-in for what is behind an endpoint where a test is about the client: it is fast,
always says the same, and writes each call that it was asked to a log of its own. Run as a program
it is a process that a killed client does not take along.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pricing_platform_tests.unit.language.endpoint.loopback_http import (
    Request,
    Response,
    serve,
    serving,
)


class AnsweringServer:
    """``asked`` holds each body that was sent, ``most_at_once`` how many were under way at once."""

    def __init__(self, *, latency: float = 0.0, log: Path | None = None) -> None:
        self.latency = latency
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._under_way = 0
        self._log = log.open("a", encoding="utf-8", buffering=1) if log is not None else None

    async def answer(self, request: Request) -> Response:
        body = json.loads(request.body)
        self.asked.append(body)
        self.headers.append(request.headers)
        if self._log is not None:
            self._log.write(f"{time.time()} {prompt_text(body)!r}\n")
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        await asyncio.sleep(self.latency)
        self._under_way -= 1
        return Response(200, json.dumps(response(body)).encode())

    @contextmanager
    def running(self) -> Iterator[str]:
        """The base URL."""
        with serving(self.answer) as url:
            yield f"{url}/v1"


def price_of(text: str) -> int:
    """The price that the server answers a prompt's text with."""
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % 999


def prompt_text(body: dict[str, Any]) -> str:
    return str(body["prompt"] if "prompt" in body else body["messages"][-1]["content"])


def response(body: dict[str, Any]) -> dict[str, Any]:
    text = prompt_text(body)
    price = price_of(text)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if "prompt" in body:
        choice["text"] = str(price)
        if body.get("logprobs"):
            choice["logprobs"] = {
                "tokens": [str(price), "\n"],
                "top_logprobs": [{str(price): -0.5, str(price + 10): -1.0, "?": -3.0}, {}],
            }
    else:
        said = f"Price: ${price}"
        if "response_format" in body:
            said = json.dumps({"price": price})
        choice["message"] = {"role": "assistant", "content": said}
        if body.get("logprobs"):
            tokens = [("Price", 0.0), (":", 0.0), (" $", 0.0), (str(price), -0.5)]
            content = [
                {"token": token, "logprob": p, "top_logprobs": [{"token": token, "logprob": p}]}
                for token, p in tokens
            ]
            content[-1]["top_logprobs"].append({"token": str(price + 10), "logprob": -1.0})  # type: ignore[attr-defined]
            choice["logprobs"] = {"content": content}
    tokens_in = len(json.dumps(body)) // 4
    usage = {"prompt_tokens": tokens_in, "completion_tokens": 3, "total_tokens": tokens_in + 3}
    return {"id": "x", "object": "x", "model": "numbers", "choices": [choice], "usage": usage}


async def _main(port_file: Path, log: Path, latency: float) -> None:
    server = await serve(AnsweringServer(latency=latency, log=log).answer)
    unfinished = port_file.with_suffix(".unfinished")
    unfinished.write_text(str(server.sockets[0].getsockname()[1]), encoding="ascii")
    unfinished.replace(port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
