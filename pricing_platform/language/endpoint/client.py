"""How an endpoint is connected to: its address, its key, patience, and what libraries may log.

Here belongs what every connection has in common. What is sent over one belongs to whoever sends.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from pricing_platform.language.endpoint.configuration import EndpointConfiguration

if TYPE_CHECKING:
    import openai

_CONNECT_SECONDS = 10.0
_LOGGERS = ("httpx", "httpx2", "httpcore", "httpcore2", "openai")
"""Those that write the address that is asked, which may hold a secret."""


def async_client(configuration: EndpointConfiguration) -> openai.AsyncOpenAI:
    """A client for calls that are under way at once."""
    import openai

    return openai.AsyncOpenAI(**_connection(configuration))


def blocking_client(configuration: EndpointConfiguration) -> openai.OpenAI:
    """A client for one call after the other."""
    import openai

    return openai.OpenAI(**_connection(configuration))


def _connection(configuration: EndpointConfiguration) -> dict[str, Any]:
    import httpx2

    key = configuration.api_key.get_secret_value() if configuration.api_key is not None else ""
    credentials = configuration.credentials
    # Credentials in the URL are sent as its user meant them, unless there is a key as well.
    headers = {"Authorization": credentials} if credentials is not None and not key else None
    seconds = configuration.timeout_seconds
    return {
        "api_key": key or "none",  # the library insists on one
        "base_url": configuration.url,
        "default_query": dict(configuration.query),
        "max_retries": 0,  # ours tell how often a call was sent, and what may be sent again
        "timeout": httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS)),
        "default_headers": headers,
    }


class _Quiet:
    """While one run or more send, the loggers that write addresses tell warnings only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._levels: dict[str, int] = {}

    def __enter__(self) -> None:
        with self._lock:
            self._runs += 1
            if self._runs == 1:
                self._levels = {name: logging.getLogger(name).level for name in _LOGGERS}
                for name, level in self._levels.items():
                    logging.getLogger(name).setLevel(max(level, logging.WARNING))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._runs -= 1
            if self._runs == 0:
                for name, level in self._levels.items():
                    logging.getLogger(name).setLevel(level)


QUIET = _Quiet()
