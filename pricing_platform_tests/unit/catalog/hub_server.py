"""A server on loopback that speaks the download protocol of the Hugging Face Hub.

Here belongs what the hub answers to huggingface_hub: metadata, redirects to storage, ranges, the
listing of a folder, and the errors it marks with X-Error-Code; and the ways a download breaks.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps
from urllib.parse import unquote, urlsplit

COMMIT = "2b6d039ed471f2ba5fd2acb718bf33b0a7e5598e"
REPOSITORY = "McAuley-Lab/Amazon-Reviews-2023"
_RESOLVE = re.compile(rf"/datasets/{REPOSITORY}/resolve/([^/]+)/raw/meta_categories/(.+)")
_TREE = re.compile(rf"/api/datasets/{REPOSITORY}/tree/([^/]+)/raw/meta_categories")


@dataclass
class Hub:
    """The server's files and behaviour, and what it was asked."""

    files: dict[str, bytes]
    url: str = ""
    storage_url: str | None = None
    """Where downloads are redirected to; without it the hub sends the file itself."""
    ranges: bool = True
    break_after: list[int] = field(default_factory=list)
    """For each coming download, after how many bytes its connection closes."""
    stall_after: int | None = None
    released: threading.Event = field(default_factory=threading.Event)
    """Ends a stall."""
    damaged: bool = False
    status: int = 200
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def downloads(self) -> list[str | None]:
        """The Range of each GET of a file, null where the whole was asked for."""
        return [
            headers.get("range")
            for method, path, headers in self.requests
            if method == "GET" and "/api/" not in path
        ]


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Answers on a free port of loopback for as long as the context lasts."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Tests read ``Hub.requests`` instead."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append((self.command, path, headers))
        if self.hub.status != 200:
            self._send(self.hub.status, {}, b"")
        elif listed := _TREE.fullmatch(path):
            self._list(listed[1])
        elif resolved := _RESOLVE.fullmatch(path):
            self._resolve(resolved[1], resolved[2])
        elif path.removeprefix("/storage/") in self.hub.files:
            self._send_file(self.hub.files[path.removeprefix("/storage/")], {})
        else:
            self._send(404, {}, b"")

    def _list(self, revision: str) -> None:
        if revision != COMMIT:
            return self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"")
        entries = [
            {
                "type": "file",
                "oid": "0" * 40,
                "size": len(body),
                "path": f"raw/meta_categories/{name}",
            }
            for name, body in self.hub.files.items()
        ]
        return self._send(200, {"Content-Type": "application/json"}, dumps(entries).encode())

    def _resolve(self, revision: str, name: str) -> None:
        if revision != COMMIT:
            return self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"")
        if name not in self.hub.files:
            marks = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
            return self._send(404, marks, b"")
        body = self.hub.files[name]
        etag = hashlib.sha256(body).hexdigest()
        marks = {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{etag}"',
            "X-Xet-Hash": "a" * 64,
        }
        if self.hub.storage_url is None:
            return self._send_file(body, marks)
        marks |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(body)), "ETag": '"other"'}
        marks["Location"] = f"{self.hub.storage_url}/storage/{name}?signature=secret"
        return self._send(302, marks, b"")

    def _send_file(self, body: bytes, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if self.hub.damaged and self.command == "GET":
            body = b"?" + body[1:]
        headers = headers | {"Accept-Ranges": "bytes"}
        if asked and self.hub.ranges:
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return self._send(206, headers, body[start:])
        return self._send(200, headers, body)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        whole = len(body)
        if body and status in (200, 206) and "Accept-Ranges" in headers:
            if self.hub.break_after:
                body = body[: self.hub.break_after.pop(0)]
            elif self.hub.stall_after is not None:
                self._write(body[: self.hub.stall_after])
                self.hub.released.wait()
                body = b""
        self._write(body)
        self.close_connection = self.close_connection or len(body) < whole

    def _write(self, body: bytes) -> None:
        try:
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:
            self.close_connection = True
