from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pricing_platform.finetuning.hosted.configuration import HostedTraining
from pricing_platform.finetuning.hosted.training import HostedModel, fine_tune_at_endpoint
from pricing_platform.finetuning.hosted.training_file import price_chats
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.tokens import TokenCounter
from pricing_platform.language.model import Completion, Prompt
from pricing_platform.language.prompts import Currency
from pricing_platform.language.response_cache import ResponseCache
from pricing_platform_tests.unit.finetuning.hosted.fine_tuning_server import BASE, KEY

USD = Currency("USD")


def chats(count: int, start: int = 0) -> list[Prompt]:
    numbers = range(start, start + count)
    return price_chats([f"Oak desk no. {n}" for n in numbers], [10.0 + n for n in numbers], USD)


class Run:
    """One home: what is trained, for how much; called with the URL of an endpoint, it trains."""

    def __init__(self, folder: Path, cache: ResponseCache) -> None:
        self.cache = cache
        self.training = HostedTraining(
            BASE,
            epochs=2,
            items=100,
            folder=folder / "fine_tuning",
            usd_per_million=1000.0,
            wait_seconds=20.0,
            first_look_seconds=0.001,
            longest_look_seconds=0.01,
        )
        self.ended: list[Completion] = []
        self.told: list[tuple[str, int, int]] = []

    @property
    def folder(self) -> Path:
        """That of the one training that there is."""
        (found,) = self.training.folder.iterdir()
        return found

    def __call__(self, url: str, *, examples: int = 12, **changes: Any) -> HostedModel:
        training = {
            name: changes.pop(name)
            for name in ("epochs", "base_model", "wait_seconds", "usd_per_million")
            if name in changes
        }
        usual: dict[str, Any] = {
            "api_key": SecretStr(KEY),
            "first_delay_seconds": 0.001,
            "longest_delay_seconds": 0.01,
            "timeout_seconds": 5.0,
            "attempts": 3,
        }
        configuration = EndpointConfiguration(SecretStr(url), BASE, **(usual | changes))
        return fine_tune_at_endpoint(
            configuration,
            self.cache,
            chats(examples),
            chats(3, start=1_000_000),
            replace(self.training, **training),
            count_tokens=TokenCounter(configuration).count,
            seed=7,
            progress=lambda *told: self.told.append(told),
            on_end=self.ended.append,
        )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    cache = ResponseCache(tmp_path / "cache" / "language_responses.sqlite")
    yield Run(tmp_path, cache)
    cache.close()
