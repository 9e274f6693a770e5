"""Which endpoint is asked, and how; and what of it no text may show.

Here belongs everything that is configured, and the only place that holds the key. How a request is
made of it belongs to ``requests``, sending it to ``sending``.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from pydantic import JsonValue, SecretStr

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint.costs import TokenPrices
from pricing_platform.language.response_cache import Budget
from pricing_platform.settings import Settings

Interface = Literal["chat", "completions"]
_MASK = "***"
_SHORTEST_SECRET_IN_ANSWERS = 8


@dataclass(frozen=True)
class EndpointConfiguration:
    """An endpoint: ``shown_url`` is ``base_url`` without what may be secret in it.

    ``answer_tokens`` is what every answer may take at least, ``extra_body`` what is sent besides.

    ``first_delay_seconds`` is the wait before a call is sent again, twice as long each time;
    ``longest_delay_seconds`` caps it, and what a server asks for with Retry-After.
    """

    base_url: SecretStr
    model: str
    api_key: SecretStr | None = None
    api: Interface = "chat"
    structured_output: bool = False
    calls_tools: bool = True
    top_logprobs: int = 0
    answer_tokens: int = 0
    extra_body: Mapping[str, JsonValue] = field(default_factory=dict)
    context_window: int = 8192
    tokenizer: Path | None = None
    concurrency: int = 16
    timeout_seconds: float = 60.0
    attempts: int = 5
    budget: Budget = field(default_factory=Budget)
    prices: TokenPrices = field(default_factory=TokenPrices)
    batches_folder: Path | None = None
    currency: str = "USD"
    first_delay_seconds: float = 0.5
    longest_delay_seconds: float = 120.0

    @classmethod
    def from_settings(cls, settings: Settings, currency: str = "USD") -> Self:
        """What ``PRICING_LLM_...`` says.

        Raises:
            PlatformError: when the endpoint or its model is not named, or the URL is none.
        """
        url = _plain(settings.llm_base_url)
        if not url or not settings.llm_model:
            missing = "PRICING_LLM_BASE_URL" if not url else "PRICING_LLM_MODEL"
            raise PlatformError(
                f"No language model's endpoint is configured: {missing} is not set.",
                "Set PRICING_LLM_BASE_URL, as in http://127.0.0.1:8000/v1, and PRICING_LLM_MODEL.",
            )
        if not _is_web_address(url):
            raise PlatformError(
                "PRICING_LLM_BASE_URL is no web address.",
                "Write it as in http://127.0.0.1:8000/v1 or https://example.com/v1.",
            )
        return cls(
            SecretStr(url),
            settings.llm_model,
            settings.llm_api_key,
            api=settings.llm_api,
            structured_output=settings.llm_structured_output,
            calls_tools=settings.llm_calls_tools and settings.llm_api == "chat",
            top_logprobs=settings.llm_top_logprobs,
            answer_tokens=settings.llm_answer_tokens,
            extra_body=settings.llm_extra_body,
            context_window=settings.llm_context_window,
            tokenizer=Path(settings.llm_tokenizer) if settings.llm_tokenizer else None,
            concurrency=settings.llm_concurrency,
            timeout_seconds=settings.llm_timeout_seconds,
            attempts=settings.llm_attempts,
            budget=Budget(settings.llm_budget_usd, settings.llm_budget_tokens),
            prices=_prices(settings),
            batches_folder=(
                settings.home_folder / "batches" if settings.llm_mode == "batch" else None
            ),
            currency=currency,
        )

    @property
    def url(self) -> str:
        """The base URL that is connected to: without credentials, which go into a header.

        Its query is sent after the path of each call, which the client appends to this.
        """
        parts = urlsplit(self.base_url.get_secret_value())
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))

    @property
    def query(self) -> dict[str, str]:
        """The base URL's query, as of a version of the API, or a key."""
        query = urlsplit(self.base_url.get_secret_value()).query
        return dict(parse_qsl(query, keep_blank_values=True))

    @property
    def shown_url(self) -> str:
        """The base URL as texts may show it."""
        return self.url

    @property
    def known_url(self) -> str:
        """The base URL as the cache knows it: of a query, a hash."""
        if not self.query:
            return self.url
        query = json.dumps(self.query, sort_keys=True)
        return f"{self.url}?sha256={hashlib.sha256(query.encode()).hexdigest()}"

    @property
    def credentials(self) -> str | None:
        """What ``user:password@`` in the URL becomes in a header of basic authorization."""
        user_info = urlsplit(self.base_url.get_secret_value()).netloc.rpartition("@")[0]
        if not user_info:
            return None
        return f"Basic {base64.b64encode(unquote(user_info).encode()).decode()}"

    def masked(self, text: str) -> str:
        """The text with each secret of the endpoint taken out, as in what a server sends back."""
        return _without(text, self._secrets())

    def masked_answer(self, text: str) -> str:
        """The same for a model's answer, which may well hold a secret as short as ``none``."""
        return _without(text, [s for s in self._secrets() if len(s) >= _SHORTEST_SECRET_IN_ANSWERS])

    def _secrets(self) -> list[str]:
        found: set[str] = set()
        for secret in self._plain_secrets():
            found |= {secret, quote(secret, safe=""), unquote(secret)}
        return sorted(filter(None, found), key=len, reverse=True)

    def _plain_secrets(self) -> Iterator[str]:
        if self.api_key is not None:
            yield self.api_key.get_secret_value()
        parts = urlsplit(self.base_url.get_secret_value())
        if parts.password:
            yield parts.password
            yield (self.credentials or "").removeprefix("Basic ")
        elif parts.username:
            yield parts.username
        for pair in parts.query.split("&"):
            yield pair.partition("=")[2]
        yield from self.query.values()


def _without(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MASK)
    return text


def _plain(url: str | SecretStr | None) -> str | None:
    return url.get_secret_value() if isinstance(url, SecretStr) else url


def _prices(settings: Settings) -> TokenPrices:
    """Tokens in a provider's cache cost what others do where nothing else is said."""
    told = "llm_usd_per_million_cached" in settings.model_fields_set
    sent = settings.llm_usd_per_million_input
    cached = settings.llm_usd_per_million_cached if told else sent
    return TokenPrices(sent, cached, settings.llm_usd_per_million_output)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
