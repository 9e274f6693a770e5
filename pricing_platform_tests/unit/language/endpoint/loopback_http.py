"""An HTTP server on loopback in a thread of its own, for servers that tests speak to.

Here belongs reading requests and writing responses, also halves of them. What is answered belongs
to ``answering_server`` and ``faulty_proxy``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"


@dataclass(frozen=True)
class Response:
    """``reset``: the connection is reset instead of anything being sent."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    reset: bool = False


Handler = Callable[[Request], Awaitable[Response]]
Breaks = Callable[[Request], bool]
"""Whether the connection is reset in the middle of a request's body, which is empty here."""


def never(_request: Request) -> bool:
    return False


@contextmanager
def serving(handler: Handler, breaks: Breaks = never) -> Iterator[str]:
    """The server's URL, for as long as the context lasts."""
    loop = asyncio.new_event_loop()
    started: list[int] = []
    ready, done = threading.Event(), asyncio.Event()

    async def run() -> None:
        server = await serve(handler, breaks=breaks)
        started.append(server.sockets[0].getsockname()[1])
        ready.set()
        await done.wait()
        server.close()

    def in_thread() -> None:
        loop.run_until_complete(run())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=in_thread, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{started[0]}"
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()


async def serve(handler: Handler, port: int = 0, breaks: Breaks = never) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                request = await _request(reader, breaks)
                response = Response(reset=True) if request is None else await handler(request)
                if response.reset:
                    _reset(writer)
                    break
                writer.write(_head(response) + response.body)
                await writer.drain()
        writer.close()

    return await asyncio.start_server(connected, "127.0.0.1", port, limit=2**20, backlog=256)


async def _request(reader: asyncio.StreamReader, breaks: Breaks) -> Request | None:
    """The next request; None where the connection is to break before all of it has come."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    headers = {name.lower(): value for name, value in headers.items()}
    method, path, _ = lines[0].split()
    length = int(headers.get("content-length", "0"))
    if breaks(Request(path, headers, b"", method)):
        await reader.readexactly(length // 2)
        return None
    return Request(path, headers, await reader.readexactly(length), method)


def _head(response: Response) -> bytes:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(response.body))}
    lines = [f"{name}: {value}" for name, value in (headers | dict(response.headers)).items()]
    return "\r\n".join([f"HTTP/1.1 {response.status} X", *lines, "", ""]).encode("latin-1")


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
