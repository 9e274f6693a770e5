"""Budgets are never exceeded, and raising one goes on."""

from __future__ import annotations

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint.costs import CostEstimate, TokenPrices
from pricing_platform.language.model import CompletionRequest
from pricing_platform.language.response_cache import Budget, Cost
from pricing_platform_tests.unit.language.endpoint.answering_server import AnsweringServer
from pricing_platform_tests.unit.language.endpoint.conftest import ModelAt
from pricing_platform_tests.unit.language.endpoint.faulty_proxy import (
    FAULTS,
    Fault,
    FaultyProxy,
    always,
    at_first,
    choice,
)
from pricing_platform_tests.unit.language.endpoint.price_prompts import listen, price_prompts

PRICES = TokenPrices(sent=100.0, cached=10.0, written=1000.0)


@pytest.mark.parametrize("budget", [Budget(tokens=1500), Budget(usd=0.15)])
def test_the_budget_holds_with_many_calls_under_way(budget: Budget, model_at: ModelAt) -> None:
    server = AnsweringServer(latency=0.02)
    answered: list[int] = []
    with server.running() as url:
        model = model_at(url, budget=budget, prices=PRICES, concurrency=16)
        with pytest.raises(PlatformError, match="Raise PRICING_LLM_BUDGET") as raised:
            listen(model.read_prices(price_prompts(100)), answered)
        spent = model.cache.spending().total
        assert len(answered) == len(server.asked) > 10
        assert server.most_at_once > 1
        assert f"{len(answered)} of 100 prompts are answered" in str(raised.value)
        assert spent.tokens <= (budget.tokens or 10**9)
        assert spent.usd <= (budget.usd or 1e9)
        sent = len(server.asked)
        raised_budget = Budget(tokens=10**6, usd=100.0)
        more = model_at(url, budget=raised_budget, prices=PRICES)
        assert len(list(more.read_prices(price_prompts(100)))) == 100
    assert len(server.asked) == 100
    assert sent < 100


def test_a_budget_too_small_for_one_call_sends_none(model_at: ModelAt) -> None:
    server = AnsweringServer()
    with server.running() as url:
        model = model_at(url, budget=Budget(tokens=20))
        with pytest.raises(PlatformError, match=r"may take \d+ tokens .* 0 of 3 prompts"):
            list(model.read_prices(price_prompts(3)))
    assert server.asked == []


def test_what_is_kept_costs_nothing_even_with_nothing_left(model_at: ModelAt) -> None:
    server = AnsweringServer()
    with server.running() as url:
        list(model_at(url).read_prices(price_prompts(3)))
        model = model_at(url, budget=Budget(tokens=0))
        assert len(list(model.read_prices(price_prompts(3)))) == 3


def test_tokens_of_the_providers_cache_cost_what_they_do(model_at: ModelAt) -> None:
    usage = '{"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 600}}'  # noqa: E501
    body = f'{{"choices": [{{"message": {{"content": "12"}}}}], "usage": {usage}}}'
    with FaultyProxy("", always(Fault(200, body))).running() as url:
        model = model_at(url, prices=PRICES)
        (answer,) = [a for _, a in model.read_prices(price_prompts(1))]
    assert answer.usage.cost_usd == pytest.approx((400 * 100 + 600 * 10 + 10 * 1000) / 1e6)
    assert answer.usage.tokens_cached == 600
    assert model.cache.spending().total == Cost(1010, answer.usage.cost_usd)


def test_attempts_without_an_answer_count_as_told_or_in_full(model_at: ModelAt) -> None:
    with FaultyProxy("", always(FAULTS["500"])).running() as url:
        model = model_at(url, prices=PRICES)
        list(model.read_prices(price_prompts(1)))
        assert model.cache.spending().total == Cost()
    no_choice = Fault(200, choice().replace('"choices": [{}]', '"choices": []'))
    with FaultyProxy("", always(no_choice)).running() as url:
        list(model_at(url, prices=PRICES).read_prices(price_prompts(1)))
        assert model.cache.spending().total.tokens == 3 * 25
        assert model.cache.spending().not_told == Cost()
    with FaultyProxy("", always(FAULTS["too late"])).running() as url:
        slow = model_at(url, prices=PRICES, timeout_seconds=0.1, attempts=1)
        list(slow.read_prices(price_prompts(1)))
    assert model.cache.spending().not_told.tokens > 32


def test_the_estimate_is_told_before_and_bounds_what_was_spent(model_at: ModelAt) -> None:
    estimates: list[CostEstimate] = []
    server = AnsweringServer()
    with server.running() as url:
        model = model_at(url, prices=PRICES, estimates=estimates)
        list(model.read_prices(price_prompts(4)))
        list(model.read_prices([*price_prompts(6), *price_prompts(1, start=5)]))
        told = model.estimate(price_prompts(8), CompletionRequest(100))
    first, second = estimates
    assert (first.prompts, first.kept, first.tokens_out) == (4, 0, 4 * 32)
    assert (second.prompts, second.kept) == (7, 4)
    assert (told.kept, told.tokens_out) == (0, 800)
    assert first.usd + second.usd >= model.cache.spending().total.usd
    assert "4 of 4 prompts" in first.told()


@pytest.mark.parametrize(
    ("fault", "attempts"), [("no choice", 3), ("half a JSON", 3), ("no choice", 2)]
)
def test_the_usage_of_an_answer_is_that_of_all_its_attempts(
    fault: str, attempts: int, upstream: str, model_at: ModelAt
) -> None:
    with FaultyProxy(upstream, at_first(FAULTS[fault], 2)).running() as url:
        model = model_at(url, prices=PRICES, attempts=attempts)
        ((_, answer),) = model.read_prices(price_prompts(1))
    assert (answer.outcome == "answered") == (attempts == 3)
    spent = model.cache.spending().total
    assert answer.usage.tokens_in + answer.usage.tokens_out == spent.tokens > 2 * 20 - 1
    assert answer.usage.cost_usd == pytest.approx(spent.usd)
