from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.model import EndpointLanguageModel
from pricing_platform.language.response_cache import ResponseCache
from pricing_platform_tests.unit.language.endpoint.answering_server import AnsweringServer

KEY = "sk-very-secret-0123456789/abc"
ModelAt = Callable[..., EndpointLanguageModel]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ResponseCache]:
    cache = ResponseCache(tmp_path / "cache" / "language_responses.sqlite")
    yield cache
    cache.close()


@pytest.fixture(scope="session")
def upstream() -> Iterator[str]:
    with AnsweringServer().running() as url:
        yield url


@pytest.fixture
def model_at(cache: ResponseCache) -> ModelAt:
    """A model at a URL that waits little between attempts."""

    def at(url: str, **changes: Any) -> EndpointLanguageModel:
        usual: dict[str, Any] = {
            "api_key": SecretStr(KEY),
            "first_delay_seconds": 0.01,
            "timeout_seconds": 60.0,
            "attempts": 3,
            "concurrency": 4,
        }
        estimates = changes.pop("estimates", [])
        used = changes.pop("cache", cache)
        name = changes.pop("model", "numbers")
        configuration = EndpointConfiguration(SecretStr(url), name, **(usual | changes))
        return EndpointLanguageModel(configuration, used, report=estimates.append)

    return at
