"""A server on loopback that states facts, and misbehaves as it is told to.

Here belongs what a server of facts does: values with validators, answers to conditional requests,
redirects, failures, slowness, and a record of what it was asked.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Reply:
    """One response; ``pause`` is waited before it, and between each byte where it drips."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    drips: bool = False


@dataclass
class FactServer:
    """What is asked for below /facts/ is looked up in ``facts``; the rest is in ``replies``."""

    facts: dict[str, object] = field(default_factory=dict)
    replies: dict[str, Reply] = field(default_factory=dict)
    behaviour: Callable[[str, int], Reply | None] = lambda _subject, _time: None
    """For the n-th request (from 0) of a fact, what is answered instead of it."""
    conditional: bool = True
    url: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    released: threading.Event = field(default_factory=threading.Event)
    mutex: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serve(server: FactServer, certificate: ssl.SSLContext | None = None) -> Iterator[FactServer]:
    """Answers on a free port of loopback for as long as the context lasts."""

    class Handler(_Handler):
        pass

    Handler.server_state = server
    http = _Server(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    if certificate is not None:
        http.socket = certificate.wrap_socket(http.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    server.url = f"{scheme}://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: FactServer

    def log_message(self, format: str, *args: object) -> None:
        """Tests read ``FactServer.requests`` instead."""

    def do_GET(self) -> None:
        state = self.server_state
        path = urlsplit(self.path).path
        headers = {name.lower(): value for name, value in self.headers.items()}
        with state.mutex:
            state.requests.append((self.path, headers))
        if path in state.replies:
            self._send(state.replies[path])
        elif path.startswith("/facts/"):
            self._state(unquote(path.removeprefix("/facts/")))
        else:
            self._send(Reply(404))

    def _state(self, subject: str) -> None:
        state = self.server_state
        with state.mutex:
            turn = state.asked[subject]
            state.asked[subject] += 1
        reply = state.behaviour(subject, turn)
        if reply is not None and reply.status != 200:
            return self._send(reply)
        if reply is not None:
            time.sleep(reply.pause)
        if subject not in state.facts:
            return self._send(Reply(404))
        body = json.dumps({"value": state.facts[subject]}).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        if state.conditional and self.headers.get("If-None-Match") == etag:
            return self._send(Reply(304, headers={"ETag": etag}))
        headers = {"Content-Type": "application/json"}
        return self._send(Reply(200, body, headers | ({"ETag": etag} if state.conditional else {})))

    def _send(self, reply: Reply) -> None:
        if not reply.drips and self.server_state.released.wait(reply.pause):
            self.close_connection = True
            return
        try:
            self.send_response(reply.status)
            length = {"Content-Length": str(len(reply.body))} if reply.status != 304 else {}
            for name, value in (length | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if reply.drips:
                for byte in reply.body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    if self.server_state.released.wait(reply.pause):
                        return
            else:
                self.wfile.write(reply.body)
        except OSError:
            self.close_connection = True
