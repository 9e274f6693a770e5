"""What becomes of a call for each fault of an endpoint, and that no other item suffers from it."""

from __future__ import annotations

import json
import logging
import socket
import time
from pathlib import Path

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.response_cache import ResponseCache
from pricing_platform_tests.unit.language.endpoint.answering_server import price_of, response
from pricing_platform_tests.unit.language.endpoint.conftest import KEY, ModelAt
from pricing_platform_tests.unit.language.endpoint.faulty_proxy import (
    FAULTS,
    Fault,
    FaultyProxy,
    always,
    at_first,
    error,
    for_texts,
    retry_after_date,
)
from pricing_platform_tests.unit.language.endpoint.loopback_http import Request, Response
from pricing_platform_tests.unit.language.endpoint.price_prompts import (
    listen,
    price_prompt,
    price_prompts,
)

OF_ONE_ITEM = {  # fault -> outcome, attempts, a part of the reason
    "429": ("rate_limited", 3, "429: Slow down"),
    "429 Retry-After: 3600": ("rate_limited", 3, "429"),
    "500": ("server_error", 3, "500: It broke"),
    "503 in HTML": ("server_error", 3, "503"),
    "half a JSON": ("unreadable", 3, "half of one"),
    "empty body": ("unreadable", 3, "empty"),
    "no choice": ("unreadable", 3, "no choice"),
    "error with status 200": ("server_error", 3, "overloaded"),
    "too late": ("timed_out", 3, "1 s"),
    "connection reset": ("failed", 3, "broke"),
    "refusal": ("refused", 1, "I can't help"),
    "content filter": ("refused", 1, "filter"),
    "400 content filter": ("refused", 1, "policy"),
    "400 context length": ("too_long", 1, "8192"),
    "400 other": ("failed", 1, "400"),
}
OF_ALL = {  # fault -> what the message names
    "401": "PRICING_LLM_API_KEY",
    "403": "PRICING_LLM_API_KEY",
    "404 unknown model": "PRICING_LLM_MODEL",
    "404 wrong URL": "PRICING_LLM_BASE_URL",
    "429 no quota": "quota",
    "400 no credit": "quota is used up.*credit balance is too low",
    "400 no logprobs": "PRICING_LLM_TOP_LOGPROBS=0",
    "400 no tools": "PRICING_LLM_CALLS_TOOLS=false",
    "400 no schema": "PRICING_LLM_STRUCTURED_OUTPUT=false",
}
QUICK = {"longest_delay_seconds": 0.05}


@pytest.mark.parametrize("name", OF_ONE_ITEM)
def test_a_fault_of_one_item_is_its_outcome_and_the_others_are_answered(
    name: str, upstream: str, model_at: ModelAt
) -> None:
    outcome, attempts, reason = OF_ONE_ITEM[name]
    proxy = FaultyProxy(upstream, for_texts(FAULTS[name], "item 0002"))
    with proxy.running() as url:
        model = model_at(url, timeout_seconds=1.0 if name == "too late" else 20.0, **QUICK)
        answers = dict(model.read_prices(price_prompts(6)))
    assert sorted(answers) == list(range(6))
    failed = answers.pop(2)
    assert (failed.outcome, failed.usage.attempts) == (outcome, attempts)
    assert reason in (failed.reason or "")
    assert {answer.outcome for answer in answers.values()} == {"answered"}
    assert sum("item 0002" in body for _, body in proxy.requests) == attempts


@pytest.mark.parametrize("name", OF_ALL)
def test_a_fault_that_every_call_would_meet_ends_the_run_at_once(
    name: str, upstream: str, model_at: ModelAt
) -> None:
    proxy = FaultyProxy(upstream, always(FAULTS[name]))
    with proxy.running() as url, pytest.raises(PlatformError, match=OF_ALL[name]):
        list(model_at(url).read_prices(price_prompts(40)))
    assert len(proxy.requests) <= 4  # those that were sent before the first was answered


def test_faults_outside_the_tables_there_are_none() -> None:
    assert set(FAULTS) == {*OF_ONE_ITEM, *OF_ALL, "429 Retry-After: 1"}


def test_an_address_where_nothing_listens_is_told_at_once(model_at: ModelAt) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        started = time.monotonic()
        with pytest.raises(PlatformError, match="PRICING_LLM_BASE_URL"):
            list(model_at(url, first_delay_seconds=5.0).read_prices(price_prompts(40)))
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("name", ["429", "500", "half a JSON", "empty body", "connection reset"])
def test_what_fails_at_first_is_answered_in_the_end(
    name: str, upstream: str, model_at: ModelAt
) -> None:
    with FaultyProxy(upstream, at_first(FAULTS[name], 2)).running() as url:
        answers = dict(model_at(url).read_prices(price_prompts(3)))
    assert {(a.outcome, a.usage.attempts) for a in answers.values()} == {("answered", 3)}
    assert answers[1].text == f"Price: ${price_of('item 0001')}"


@pytest.mark.parametrize("as_date", [False, True])
def test_nobody_asks_again_before_the_server_wants_it(
    as_date: bool, upstream: str, model_at: ModelAt
) -> None:
    def script(number: int, _body: str) -> Fault | None:
        fault = retry_after_date(2.0) if as_date else FAULTS["429 Retry-After: 1"]
        return fault if number == 0 else None

    proxy = FaultyProxy(upstream, script)
    with proxy.running() as url:
        answers = list(model_at(url, concurrency=1).read_prices([price_prompt("item")]))
    first, second = (when for when, _ in proxy.requests)
    assert answers[0][1].outcome == "answered"
    assert 0.9 < second - first < 2.5  # a date tells whole seconds


def test_a_server_that_wants_too_long_a_wait_is_asked_after_the_longest(
    upstream: str, model_at: ModelAt
) -> None:
    script = at_first(FAULTS["429 Retry-After: 3600"], 1)
    with FaultyProxy(upstream, script).running() as url:
        model = model_at(url, longest_delay_seconds=0.2)
        assert [a.outcome for _, a in model.read_prices(price_prompts(1))] == ["answered"]


def test_an_endpoint_that_went_down_ends_the_run_and_keeps_what_was_answered(
    upstream: str, model_at: ModelAt
) -> None:
    answered: list[int] = []
    well = 10

    def script(number: int, body: str) -> Fault | None:
        return None if any(f"item {n:04d}" in body for n in range(well)) else FAULTS["500"]

    proxy = FaultyProxy(upstream, script)
    with proxy.running() as url:
        model = model_at(url, concurrency=2, attempts=2)
        with pytest.raises(PlatformError, match=r"answers no more: 4 calls .* 10 of 60"):
            listen(model.read_prices(price_prompts(60)), answered)
        assert sorted(answered) == list(range(well))
        sent = len(proxy.requests)
        assert sent <= well + 2 * (4 + 2)
        again = [a.usage.from_cache for _, a in model.read_prices(price_prompts(well))]
    assert again == [True] * well
    assert len(proxy.requests) == sent


@pytest.mark.parametrize("name", ["400 other", "half a JSON", "400 context length"])
def test_failures_of_a_living_server_never_end_the_run(
    name: str, upstream: str, model_at: ModelAt
) -> None:
    failing = [f"item {number:04d}" for number in range(1, 13)]
    with FaultyProxy(upstream, for_texts(FAULTS[name], *failing)).running() as url:
        model = model_at(url, concurrency=2, attempts=1)
        list(model.read_prices(price_prompts(1)))
        answers = dict(model.read_prices(price_prompts(20)))
    assert sum(answer.outcome == "answered" for answer in answers.values()) == 8


def test_a_server_that_answers_nothing_and_does_not_say_why_ends_the_run(
    upstream: str, model_at: ModelAt
) -> None:
    proxy = FaultyProxy(upstream, always(FAULTS["400 other"]))
    with (
        proxy.running() as url,
        pytest.raises(PlatformError, match=r"answers no call: 4 calls .* 400: Something about"),
    ):
        list(model_at(url, concurrency=2).read_prices(price_prompts(60)))
    assert len(proxy.requests) <= 4 + 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("Filtered by our content policy", "content_filter")),
        (400, error("The prompt triggered Azure OpenAI's content management policy. Retry.")),
        (400, error("Invalid prompt: it may violate our usage policy.", "invalid_prompt")),
        (400, error("Content Exists Risk", "invalid_request_error")),
        (400, error("The request was rejected.", "content_filter")),
        (422, error("Blocked for safety reasons")),
    ],
)
def test_what_a_server_will_never_answer_is_asked_once(
    status: int, body: str, upstream: str, model_at: ModelAt
) -> None:
    proxy = FaultyProxy(upstream, for_texts(Fault(status, body), "item 0001"))
    with proxy.running() as url:
        for _ in range(2):
            answers = dict(model_at(url).read_prices(price_prompts(3)))
            assert answers[1].outcome == "refused"
    assert answers[1].usage.from_cache
    assert len(proxy.requests) == 3


@pytest.mark.parametrize("status", [400, 418, 422])
def test_what_need_not_be_about_the_prompt_is_asked_again(
    status: int, upstream: str, model_at: ModelAt
) -> None:
    fault = Fault(status, error("Something else"))
    script = at_first(fault, 1)
    with FaultyProxy(
        upstream, lambda number, body: script(number, body) if "item 0001" in body else None
    ).running() as url:
        assert dict(model_at(url).read_prices(price_prompts(3)))[1].outcome == "failed"
        answers = dict(model_at(url).read_prices(price_prompts(3)))
    assert answers[1].outcome == "answered"
    assert not answers[1].usage.from_cache


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, "Your credit balance is too low to access the Anthropic API. Please go to Plans."),
        (400, "You have reached your specified API usage limits. You will regain access on 1 May."),
        (400, "Budget has been exceeded! Current cost: 0.0102, Max budget: 0.01"),
        (400, "ExceededBudget: Current spend for token: 7.2; Max Budget for Token: 2.0"),
        (400, "Billing hard limit has been reached"),
        (403, "Your team has either used all available credits or reached its spending limit."),
        (403, "This API method requires billing to be enabled."),
        (422, "Insufficient balance"),
        (429, "You exceeded your current quota, please check your plan and billing details."),
    ],
)
def test_money_that_runs_out_half_way_ends_the_run_and_is_no_answer(
    status: int, told: str, upstream: str, model_at: ModelAt
) -> None:
    paid = [False]

    def script(_number: int, body: str) -> Fault | None:
        return None if paid[0] or "item 0000" in body else Fault(status, error(told))

    with FaultyProxy(upstream, script).running() as url:
        list(model_at(url).read_prices(price_prompts(1)))
        with pytest.raises(PlatformError, match="quota is used up"):
            list(model_at(url).read_prices(price_prompts(20)))
        paid[0] = True
        answers = [answer for _, answer in model_at(url).read_prices(price_prompts(20))]
    assert {answer.outcome for answer in answers} == {"answered"}
    assert sum(answer.usage.from_cache for answer in answers) == 1


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (429, "Rate limit reached. Try again in 2 s, or add a payment method under billing."),
        (429, "You exceeded your current quota, check your billing details. Please retry in 1 s."),
        (400, "max_tokens must be greater than thinking.budget_tokens"),
        (400, "A credit card holder is not what was expected, there is no field like it"),
    ],
)
def test_what_only_sounds_like_money_ends_no_run(
    status: int, told: str, upstream: str, model_at: ModelAt
) -> None:
    with FaultyProxy(upstream, for_texts(Fault(status, error(told)), "item 0001")).running() as url:
        answers = dict(model_at(url, **QUICK).read_prices(price_prompts(3)))
    assert answers[1].outcome == ("rate_limited" if status == 429 else "failed")


def test_a_key_that_is_refused_later_is_kept_of_no_item(upstream: str, model_at: ModelAt) -> None:
    with FaultyProxy(upstream, for_texts(FAULTS["403"], "item 0002")).running() as url:
        model = model_at(url, concurrency=1)
        assert dict(model.read_prices(price_prompts(3)))[2].outcome == "failed"
        assert model.estimate(price_prompts(3)).kept == 2


@pytest.mark.parametrize("status", [402, 405])
def test_no_money_and_no_such_call_end_the_run(
    status: int, upstream: str, model_at: ModelAt
) -> None:
    with (
        FaultyProxy(upstream, always(Fault(status, "no"))).running() as url,
        pytest.raises(PlatformError),
    ):
        list(model_at(url).read_prices(price_prompts(2)))


def test_a_kept_row_that_cannot_be_read_is_asked_anew(upstream: str, model_at: ModelAt) -> None:
    proxy = FaultyProxy(upstream)
    with proxy.running() as url:
        model = model_at(url)
        list(model.read_prices(price_prompts(2)))
        with model.cache._transaction() as connection:
            connection.execute("UPDATE responses SET answer = 'half of'")
        answers = list(model.read_prices(price_prompts(2)))
        assert [a.usage.from_cache for _, a in model.read_prices(price_prompts(2))] == [True] * 2
    assert [answer.outcome for _, answer in answers] == ["answered"] * 2
    assert len(proxy.requests) == 4


def test_a_claim_that_could_not_be_released_is_not_waited_for(
    upstream: str, model_at: ModelAt, cache: ResponseCache
) -> None:
    """The disk fails from the first attempt's end on, and is well again in the next run."""

    def script(number: int, _body: str) -> Fault | None:
        if number:
            return None
        with cache._transaction() as connection:
            connection.execute(
                "CREATE TRIGGER broken BEFORE DELETE ON claims"
                " BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
            )
        return FAULTS["500"]

    with FaultyProxy(upstream, script).running() as url:
        with pytest.raises(Exception, match="disk I/O"):
            list(model_at(url, attempts=1).read_prices(price_prompts(1)))
        with cache._transaction() as connection:
            connection.execute("DROP TRIGGER broken")
        again = model_at(url, cache=ResponseCache(cache.path))
        answers = [answer.outcome for _, answer in again.read_prices(price_prompts(1))]
        again.cache.close()
    assert answers == ["answered"]
    assert cache.spending().not_told.tokens > 0  # nobody knows any more what it cost


def test_a_server_without_a_parameter_is_asked_without_it(upstream: str, model_at: ModelAt) -> None:
    message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    fault = Fault(400, f'{{"error": {{"message": "{message}"}}}}')
    proxy = FaultyProxy(upstream, for_texts(fault, '"max_tokens"'))
    with proxy.running() as url:
        answers = [a for _, a in model_at(url).read_prices(price_prompts(8))]
    assert {(a.outcome, a.usage.attempts) for a in answers} == {("answered", 1)}
    assert len(proxy.requests) <= 8 + 4


@pytest.mark.parametrize("name", FAULTS)
def test_the_key_is_in_no_output(
    name: str,
    upstream: str,
    model_at: ModelAt,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    with FaultyProxy(upstream, always(FAULTS[name])).running() as url:
        secret_url = url.replace("//", "//user:pass-word-42@")
        model = model_at(secret_url, attempts=1, timeout_seconds=0.2)
        seen += [repr(model), repr(vars(model)), repr(model.configuration), model.identity]
        try:
            seen += [repr(answer) for answer in model.read_prices(price_prompts(2))]
        except PlatformError as error:
            seen += [repr(error), str(error), repr(error.__context__), repr(error.__cause__)]
    model.cache.close()
    seen += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    seen += [record.getMessage() for record in caplog.records]
    seen += list(capfd.readouterr())
    assert len(seen) > 8
    for text in seen:
        assert KEY not in text
        assert "pass-word-42" not in text


def test_the_key_reaches_the_server(model_at: ModelAt) -> None:
    from pricing_platform_tests.unit.language.endpoint.answering_server import AnsweringServer

    server = AnsweringServer()
    with server.running() as url:
        list(model_at(url).read_prices(price_prompts(1)))
        with_user = url.replace("//", "//user:word@")
        list(model_at(with_user, api_key=None).read_prices(price_prompts(1, start=1)))
    sent = [headers["authorization"] for headers in server.headers]
    assert sent == [f"Bearer {KEY}", "Basic dXNlcjp3b3Jk"]


def test_one_who_stops_listening_stops_the_sending(upstream: str, model_at: ModelAt) -> None:
    proxy = FaultyProxy(upstream)
    with proxy.running() as url:
        model = model_at(url)
        for _ in model.read_prices(price_prompts(200)):
            break
        sent = len(proxy.requests)
        assert sent < 100
        kept = model.estimate(price_prompts(200)).kept
    assert kept == sent  # those under way ended and were kept


def test_equal_prompts_are_sent_once_whoever_asks(
    upstream: str, model_at: ModelAt, cache: ResponseCache
) -> None:
    import threading

    proxy = FaultyProxy(upstream, lambda _n, _b: Fault(pause=0.1))
    found: list[int] = []
    with proxy.running() as url:
        prompts = [*price_prompts(5), *price_prompts(5)]

        def ask(mine: ResponseCache) -> None:
            found.extend(index for index, _ in model_at(url, cache=mine).read_prices(prompts))

        caches = [cache, ResponseCache(cache.path)]
        threads = [threading.Thread(target=ask, args=[mine]) for mine in caches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        caches[1].close()
    assert sorted(found) == sorted([*range(10)] * 2)
    assert len(proxy.requests) == 5


def test_a_query_goes_along_and_is_in_no_log_and_another_identity(
    model_at: ModelAt, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked: list[str] = []

    class Noting(FaultyProxy):
        async def _answer(self, request: Request) -> Response:
            asked.append(request.path)
            return Response(200, json.dumps(response(json.loads(request.body))).encode())

    level = logging.getLogger("httpx2").level
    with Noting("").running() as url:
        models = [model_at(f"{url}/{query}") for query in ("", "?v=1&key=t0p-secret", "?v=2")]
        for model in models:
            assert [a.outcome for _, a in model.read_prices(price_prompts(1))] == ["answered"]
    assert asked == [
        "/v1/chat/completions",
        "/v1/chat/completions?v=1&key=t0p-secret",
        "/v1/chat/completions?v=2",
    ]
    assert len({model.identity for model in models}) == 3
    told = caplog.text + "".join(model.identity for model in models)
    assert "t0p-secret" not in told
    assert logging.getLogger("httpx2").level == level
