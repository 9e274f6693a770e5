"""Facts that a web server states: one value, or several, of a JSON document or a page.

What comes from the server is data: it is bounded in size and time, read by one path or selector,
and never followed to another host. A name is resolved here and the connection made to the address
that was checked, so that a server of this network is asked only where its name is allowed.

Here belong the requests and the reading of responses. What becomes of an answer belongs to
:mod:`pricing_platform.facts.refresh`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from typing import Any, NoReturn
from urllib.parse import quote

import anyio
import httpx2
import jsonpath
import pydantic
from anyio.from_thread import start_blocking_portal
from bs4 import BeautifulSoup

from pricing_platform.facts.connectors.http_facts import SUBJECT, HttpFacts
from pricing_platform.facts.observations import VALUE_LIMIT
from pricing_platform.facts.refresh import (
    Answer,
    DueSeries,
    Validators,
)
from pricing_platform.retrieval.documents import normalise_subject

_REDIRECTS = 5
_REDIRECTING = (301, 302, 303, 307, 308)
_VALUES = 100  # that one response may state
_VALIDATOR_LIMIT = 1_000  # characters
_LOOKING_UP_SECONDS = 0.2
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_log = logging.getLogger(__name__)


class HttpConnector:
    """Asks a server, several series at a time, with the validators of what was recorded last.

    404 and 410 say that there is nothing any more, 304 that nothing has changed; anything else but
    200 is a failure, and so are a response that is too large, too late or not to be read.
    """

    def __init__(
        self, facts: HttpFacts, secrets: Mapping[str, pydantic.SecretStr] | None = None
    ) -> None:
        """With the secrets that headers name, by their names; one that is missing is a failure."""
        self.facts = facts
        self.name = facts.connector
        self._secrets = secrets or {}
        self._written = {normalise_subject(subject): subject for subject in facts.subjects}

    def ask(self, due: Sequence[DueSeries]) -> Iterator[Answer]:
        """One answer a series, as they come. The requests end when the iterator is closed."""
        answers: SimpleQueue[Answer | None] = SimpleQueue()
        with start_blocking_portal() as portal:
            asking = portal.start_task_soon(self._ask_all, due, answers)
            while (answer := _next(answers)) is not None:
                yield answer
            asking.result()

    async def _ask_all(self, due: Sequence[DueSeries], answers: SimpleQueue[Answer | None]) -> None:
        limit = anyio.Semaphore(self.facts.concurrency)
        limits = httpx2.Limits(max_connections=self.facts.concurrency)
        try:
            async with (
                # No proxy of the environment: it would resolve the name once more.
                httpx2.AsyncClient(
                    verify=httpx2.create_ssl_context(),
                    trust_env=False,
                    limits=limits,
                    timeout=self.facts.timeout_seconds,
                ) as client,
                anyio.create_task_group() as group,
            ):

                async def answer(series: DueSeries) -> None:
                    async with limit:
                        answers.put(await self._answer(client, series))

                for series in due:
                    group.start_soon(answer, series)
        finally:
            answers.put(None)

    async def _answer(self, client: httpx2.AsyncClient, series: DueSeries) -> Answer:
        started = time.perf_counter()
        failed = _RequestError("")
        found = _Found(None, None)
        try:
            with anyio.fail_after(self.facts.timeout_seconds):
                found = await self._found(client, series)
        except _RequestError as error:
            failed = error
        except TimeoutError:
            seconds = f"{self.facts.timeout_seconds:g}"
            failed = _RequestError(f"It did not answer within {seconds} seconds.")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            failed = _RequestError(_told(error))
        except Exception as error:  # one odd response is no reason to lose the others
            _log.exception("What %s answered could not be read.", self.name)
            failed = _RequestError(f"Reading the response broke down: {type(error).__name__}.")
        return Answer(
            series_id=series.series_id,
            source=self.name,
            values=found.values,
            observed_at=datetime.now(UTC),
            failure=failed.reason or None,
            seconds=time.perf_counter() - started,
            validators=found.validators,
            retry_after=failed.retry_after,
        )

    async def _found(self, client: httpx2.AsyncClient, series: DueSeries) -> _Found:
        url = self._url(series.subject)
        request = self._identity(url)
        known = series.validators
        if known is not None and known.request != request:
            known = None
        response = await self._get(client, url, self._headers(known))
        if response.status in (404, 410):
            return _Found((), None)
        if response.status == 304 and known is not None:
            return _Found(None, None)
        if response.status != 200:
            raise _RequestError(
                f"It answered with status {response.status}.",
                _retry_after(response.headers.get("retry-after")),
            )
        values = tuple(dict.fromkeys(_plain(value) for value in self._values(response)))
        return _Found(values, _validators(request, response.headers))

    def _url(self, subject: str) -> str:
        """The address to ask for a subject, which is written there as it was declared."""
        written = self._written.get(subject, subject)
        return self.facts.url.replace(SUBJECT, quote(written, safe=""))

    def _headers(self, known: Validators | None) -> dict[str, str]:
        headers = {"User-Agent": "pricing-platform", "Accept-Encoding": "identity"}
        if known is not None and known.etag is not None:
            headers["If-None-Match"] = known.etag
        if known is not None and known.last_modified is not None:
            headers["If-Modified-Since"] = known.last_modified
        for name, value in self.facts.headers.items():
            filled = _VARIABLE.sub(self._secret, value.get_secret_value())
            if not (filled.isascii() and filled.isprintable()):
                raise _RequestError(f"The header {name} has characters that a header can't have.")
            headers[name] = filled
        return headers

    def _secret(self, variable: re.Match[str]) -> str:
        name = variable[1]
        if name in self._secrets:
            return self._secrets[name].get_secret_value()
        raise _RequestError(f"A header needs {name}, which PRICING_HTTP_SECRETS does not hold.")

    def _identity(self, url: str) -> str:
        asked = json.dumps([url, self.facts.json_path, self.facts.html_selector])
        return hashlib.sha256(asked.encode()).hexdigest()

    async def _get(
        self, client: httpx2.AsyncClient, address: str, headers: Mapping[str, str]
    ) -> _Response:
        url = httpx2.URL(address)
        for _ in range(_REDIRECTS + 1):
            response = await self._send(client, url, headers)
            if response.status not in _REDIRECTING:
                return response
            url = _redirected(url, response.headers.get("location"))
        raise _RequestError(f"It redirects more than {_REDIRECTS} times.")

    async def _send(
        self, client: httpx2.AsyncClient, url: httpx2.URL, headers: Mapping[str, str]
    ) -> _Response:
        """Connects to an address that was checked, in the name of the host."""
        addresses = await self._addresses(url)
        for position, address in enumerate(addresses, 1):
            try:
                async with client.stream(
                    "GET",
                    url.copy_with(host=address),
                    headers={**headers, "Host": url.netloc.decode("ascii")},
                    extensions={"sni_hostname": url.raw_host.decode("ascii")},
                    follow_redirects=False,
                ) as response:
                    body = b""
                    if response.status_code == 200:
                        body = await self._body(response)
                    return _Response(response.status_code, response.headers, body)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if position == len(addresses):
                    raise
        raise AssertionError("unreachable")

    async def _addresses(self, url: httpx2.URL) -> list[str]:
        """Those of the host that may be connected to.

        Raises:
            _RequestError: when it has none.
        """
        try:
            found = await anyio.getaddrinfo(
                url.raw_host.decode("ascii"), url.port, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError):
            raise _RequestError(f"The host {url.host} is not known.") from None
        addresses = list(dict.fromkeys(str(where[4][0]) for where in found))
        if url.host.casefold() in self.facts.allowed_private_hosts:
            return addresses
        public = [address for address in addresses if _is_public(address)]
        if not public:
            raise _RequestError(
                f"The host {url.host} is at a private address, and allowed_private_hosts does not"
                " name it."
            )
        return public

    async def _body(self, response: httpx2.Response) -> bytes:
        """The body, which nothing may decompress: a small one can become any size."""
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise _RequestError("It compressed the response, though it was asked not to.")
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > self.facts.max_bytes:
                raise _RequestError(f"The response has more than {self.facts.max_bytes:,} bytes.")
        return bytes(body)

    def _values(self, response: _Response) -> list[str]:
        if self.facts.json_path is not None:
            values = _json_values(response.body, self.facts.json_path)
        else:
            assert self.facts.html_selector is not None  # noqa: S101
            values = _html_values(response, self.facts.html_selector)
        if len(values) > _VALUES:
            raise _RequestError(
                f"The response states {len(values):,} values; {_VALUES} are allowed."
            )
        return values


def _next(answers: SimpleQueue[Answer | None]) -> Answer | None:
    """The next answer; looks up now and then, since a wait without an end can't be interrupted."""
    while True:
        with suppress(Empty):
            return answers.get(timeout=_LOOKING_UP_SECONDS)


class _RequestError(Exception):
    """Why there is no answer; for people, and without secrets."""

    def __init__(self, reason: str, retry_after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


@dataclass(frozen=True)
class _Found:
    values: tuple[str, ...] | None
    validators: Validators | None


@dataclass(frozen=True)
class _Response:
    status: int
    headers: httpx2.Headers
    body: bytes


def _json_values(body: bytes, path: str) -> list[str]:
    """What stands at the path; null, an empty text and an empty list are nothing.

    Raises:
        _RequestError: when it is not JSON, or there is no such path, or an object stands there.
    """
    try:
        # Numbers as they are written: 1.50 is a price.
        data = json.loads(body, parse_float=Decimal, parse_constant=_refuse)
        found = jsonpath.findall(path, data)
    except (ValueError, RecursionError, jsonpath.JSONPathError):
        raise _RequestError(
            "The response is not JSON that the path can be looked for in."
        ) from None
    if not found:
        raise _RequestError(f"The response has nothing at {path}.")
    scalars = [item for value in found for item in (value if isinstance(value, list) else [value])]
    if any(isinstance(value, dict | list) for value in scalars):
        raise _RequestError(f"What the response has at {path} is not a value.")
    return [_text(value) for value in scalars if value is not None and _text(value).strip()]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _html_values(response: _Response, selector: str) -> list[str]:
    """The texts of what the selector finds.

    Raises:
        _RequestError: when it finds nothing, or elements without a text.
    """
    charset = httpx2.Response(200, headers=response.headers).charset_encoding
    try:
        page = BeautifulSoup(response.body, "html.parser", from_encoding=charset)
        values = [element.get_text(" ", strip=True) for element in page.select(selector)]
    except RecursionError:
        raise _RequestError("The page is nested too deeply.") from None
    if not any(values):
        raise _RequestError(f"The page has no text at {selector}.")
    return [value for value in values if value]


def _plain(text: str) -> str:
    """On one line, and as Postgres can keep it."""
    value = " ".join(text.replace("\0", " ").encode(errors="replace").decode().split())
    if len(value) > VALUE_LIMIT:
        raise _RequestError(
            f"The value has {len(value):,} characters, and {VALUE_LIMIT} are allowed: name a place"
            " nearer to it."
        )
    return value


def _validators(request: str, headers: httpx2.Headers) -> Validators | None:
    etag, modified = (
        value if value and value.isascii() and len(value) <= _VALIDATOR_LIMIT else None
        for value in (headers.get("etag"), headers.get("last-modified"))
    )
    return Validators(request, etag, modified) if etag or modified else None


def _retry_after(text: str | None) -> timedelta | None:
    """Seconds, or a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), 10**9))
    with suppress(ValueError, TypeError, OverflowError):
        until = parsedate_to_datetime(text)
        until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        return max(timedelta(0), until - datetime.now(UTC))
    return None


def _redirected(url: httpx2.URL, location: str | None) -> httpx2.URL:
    """Where a redirect leads.

    Raises:
        _RequestError: when that is another host or port, or no longer encrypted.
    """
    if location is None:
        raise _RequestError("It redirects, and does not say where to.")
    target = url.join(location)
    if target.scheme not in ("http", "https"):
        raise _RequestError("It redirects to something other than a web server.")
    if target.host != url.host:
        raise _RequestError(f"It redirects to another host, {target.host}, which is not followed.")
    if url.scheme == "https" and target.scheme == "http":
        raise _RequestError("It redirects to where the connection would not be encrypted.")
    upgraded = target.scheme != url.scheme and (url.port, target.port) == (None, None)
    if _port(target) != _port(url) and not upgraded:
        raise _RequestError(
            f"It redirects to another port, {_port(target)}, which is not followed."
        )
    return target


def _port(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _is_public(text: str) -> bool:
    """Whether an address, and the one it may hold inside of it, belongs to no private network."""
    address = ipaddress.ip_address(text.split("%")[0])
    return not any(
        not a.is_global or a.is_multicast or any(a in network for network in _LEADING_INSIDE)
        for a in (address, *_inner(address))
    )


def _inner(address: _Address) -> list[_Address]:
    """The IPv4 addresses that an IPv6 address is a way to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner: list[_Address] = [
        found for found in (address.ipv4_mapped, address.sixtofour) if found is not None
    ]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return inner


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LEADING_INSIDE: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = (
    ipaddress.IPv6Network("::/96"),  # IPv4-compatible (RFC 4291, 2.5.5.1)
    ipaddress.IPv6Network("fec0::/10"),  # site-local (RFC 3879)
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # NAT64 of a local network (RFC 8215)
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays of 6to4 (RFC 7526)
)
"""What Python calls global, and may lead into a network of ours nevertheless."""


def _told(error: Exception) -> str:
    """What went wrong below HTTP; only of connecting is it repeated what was said."""
    if isinstance(error, httpx2.ConnectError):
        return f"It can't be connected to: {error}."
    if isinstance(error, httpx2.TimeoutException):
        return "It did not answer in time."
    if isinstance(error, httpx2.InvalidURL):
        return "It redirects to what is no URL."
    if isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError):
        return "The connection broke off, or what came is not HTTP."
    return f"The request failed: {type(error).__name__}."
