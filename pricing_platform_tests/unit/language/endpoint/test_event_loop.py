"""While calls are under way, nothing waits in their event loop for the file of answers."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint.costs import TokenPrices
from pricing_platform.language.response_cache import Budget, Cost, ResponseCache
from pricing_platform_tests.unit.language.endpoint.answering_server import AnsweringServer
from pricing_platform_tests.unit.language.endpoint.conftest import ModelAt
from pricing_platform_tests.unit.language.endpoint.faulty_proxy import (
    FAULTS,
    FaultyProxy,
    always,
)
from pricing_platform_tests.unit.language.endpoint.loopback_http import (
    Request,
    Response,
    serving,
)
from pricing_platform_tests.unit.language.endpoint.price_prompts import listen, price_prompts


class WatchedCache(ResponseCache):
    """Notes of every transaction whether an event loop runs in its thread."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.in_loop: list[bool] = []

    def _open(self) -> sqlite3.Connection:
        running = True
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            running = False
        self.in_loop.append(running)
        return super()._open()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedCache]:
    cache = WatchedCache(tmp_path / "watched.sqlite")
    yield cache
    cache.close()


def test_the_watched_cache_sees_what_is_done_in_a_loop(watched: WatchedCache) -> None:
    async def use() -> None:
        watched.spending()

    asyncio.run(use())
    watched.spending()
    assert watched.in_loop == [True, False]


@pytest.mark.parametrize("fault", ["none", "500", "no choice", "content filter", "half a JSON"])
def test_no_answer_and_no_failure_is_kept_in_the_loop(
    fault: str, upstream: str, model_at: ModelAt, watched: WatchedCache
) -> None:
    with FaultyProxy(upstream, always(FAULTS.get(fault))).running() as url:
        answers = model_at(url, cache=watched).read_prices(price_prompts(5))
        with suppress(PlatformError):
            assert len(list(answers)) == 5
    assert len(watched.in_loop) > 10
    assert not any(watched.in_loop)


def test_nor_is_a_budget_that_is_spent_looked_up_there(
    model_at: ModelAt, watched: WatchedCache
) -> None:
    answered: list[int] = []
    prices = TokenPrices(sent=100.0, cached=10.0, written=1000.0)
    with AnsweringServer().running() as url:
        model = model_at(url, cache=watched, budget=Budget(tokens=600), prices=prices)
        with pytest.raises(PlatformError, match="Raise PRICING_LLM_BUDGET"):
            listen(model.read_prices(price_prompts(50)), answered)
    assert answered
    assert not any(watched.in_loop)


def test_nor_is_what_somebody_else_asks(model_at: ModelAt, watched: WatchedCache) -> None:
    """The one that asks first is answered when the other has seen that it asks."""
    asked, seen = threading.Event(), threading.Event()

    class Waiting(WatchedCache):
        def claim(self, key: str, worst: Cost, budget: Budget) -> str:  # type: ignore[override]
            found = super().claim(key, worst, budget)
            if found == "elsewhere":
                seen.set()
            return found

    async def answer(request: Request) -> Response:
        asked.set()
        await asyncio.to_thread(seen.wait, 10)
        return await answering.answer(request)

    answering = AnsweringServer()
    second = Waiting(watched.path)
    with serving(answer) as address:
        url = f"{address}/v1"
        first = threading.Thread(
            target=lambda: list(model_at(url, cache=watched).read_prices(price_prompts(1)))
        )
        first.start()
        assert asked.wait(10)
        ((_, found),) = model_at(url, cache=second).read_prices(price_prompts(1))
        first.join()
    second.close()
    assert seen.is_set()
    assert found.usage.from_cache
    assert len(answering.asked) == 1
    assert not any(watched.in_loop + second.in_loop)
