"""Replies in the shapes that servers give them, over real HTTP: what is an answer and what is none.

Here belong single shapes of a body with status 200. Faults that a server tells with a status belong
to ``test_outcomes``, those that a server has in one way throughout to ``test_odd_servers``.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint import model as endpoint_model
from pricing_platform.language.endpoint import requests
from pricing_platform.language.endpoint.costs import TokenPrices
from pricing_platform.language.endpoint.failures import refused_status
from pricing_platform.language.endpoint.response_bodies import reported_usage
from pricing_platform.language.endpoint.sending import listed_models
from pricing_platform.language.endpoint.thoughts import after_thoughts
from pricing_platform.language.model import CompletionRequest, Message, PriceAnswer, Prompt, Tool
from pricing_platform.language.price_text import finished_price, parse_price
from pricing_platform.language.prompts import Currency
from pricing_platform.language.response_cache import Budget
from pricing_platform_tests.unit.language.endpoint.conftest import ModelAt
from pricing_platform_tests.unit.language.endpoint.faulty_proxy import Fault, FaultyProxy, always
from pricing_platform_tests.unit.language.endpoint.loopback_http import (
    Request,
    Response,
    serving,
)
from pricing_platform_tests.unit.language.endpoint.price_prompts import price_prompt, price_prompts

USD = Currency("USD")
THOUGHT = {"completion_tokens_details": {"reasoning_tokens": 32}}
USAGE = {"prompt_tokens": 20, "completion_tokens": 32}
R1 = "Okay, so I need to find a price. Similar pans cost around $30 but"
HARMONY = "<|channel|>analysis<|message|>Pans cost $24 and $29.<|end|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"


def body(content: object, finish: str | None = "stop", **more: Any) -> str:
    """A chat's answer; ``message`` and ``choice`` are added to those, the rest to the body."""
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": finish, **more.pop("choice", {})}
    return json.dumps({"choices": [choice], "usage": USAGE, **more})


def proxy_of(told: str) -> FaultyProxy:
    return FaultyProxy("", always(Fault(200, told)))


def price_of(answer: PriceAnswer) -> float | None:
    return parse_price(answer.text or "", USD).price


NO_ROOM = {
    "o-series": body("", "length", usage=USAGE | THOUGHT),
    "nothing shown": body(None, "length"),
    "azure": body("", "length", message={"refusal": None, "annotations": []}),
    "mistral": body(
        [{"type": "thinking", "thinking": [{"type": "text", "text": "$24"}]}], "length"
    ),
    "mistral's own reason": body([], "model_length"),
    "gemini": body([{"text": "a pan for $24", "thought": True}], "MAX_TOKENS"),
    "ollama": body("", "length", message={"thinking": "$24 or"}),
    "open router": body(None, "length", message={"reasoning_details": [{"text": "$24"}]}),
    "no reason told": body("", None),
    "think": body("Sure. <think>maybe $24 or", "length"),
    "harmony": body(HARMONY[:-8], "length"),
    "harmony, only its beginning": body("<|channel|>analysis", "length"),
    "kimi": body("◁think▷ $24 and", "length"),
    "seed": body("<seed:think>about $24", "length"),
}


COMPLETIONS = ("o-series", "mistral", "no reason told", "think")


@pytest.mark.parametrize(
    ("name", "asked"),
    [(name, "price") for name in NO_ROOM] + [(name, "completion") for name in COMPLETIONS],
)
def test_replies_without_room_for_an_answer_stop_the_run_and_are_not_kept(
    name: str, asked: str, model_at: ModelAt
) -> None:
    proxy = proxy_of(NO_ROOM[name])
    prompts = price_prompts(30)

    def ask() -> None:
        model = model_at(url)
        if asked == "price":
            list(model.read_prices(prompts))
        else:
            list(model.complete(prompts, CompletionRequest(max_tokens=32)))

    with proxy.running() as url:
        for turn in (1, 2):
            with pytest.raises(PlatformError, match="no answer") as raised:
                ask()
            assert "PRICING_LLM_ANSWER_TOKENS" in raised.value.remedy
            assert turn <= len(proxy.requests) <= turn * 4
        assert model_at(url).estimate(prompts).kept == 0


def test_the_older_interface_is_held_to_the_same(model_at: ModelAt) -> None:
    told = json.dumps({"choices": [{"text": "", "finish_reason": "length"}], "usage": USAGE})
    with (
        proxy_of(told).running() as url,
        pytest.raises(PlatformError, match="PRICING_LLM_ANSWER_TOKENS"),
    ):
        list(model_at(url, api="completions").read_prices(price_prompts(30)))


@pytest.mark.parametrize(
    "told", [body(R1, "length"), body("Price: $12", "length"), body("The set costs $1", "length")]
)
def test_a_price_that_was_cut_off_is_none_and_many_stop_the_run(
    told: str, model_at: ModelAt
) -> None:
    proxy = proxy_of(told)
    with proxy.running() as url:
        ((_, answer),) = model_at(url).read_prices(price_prompts(1))
        assert (answer.outcome, answer.usage.attempts) == ("unreadable", 1)
        assert "PRICING_LLM_ANSWER_TOKENS" in (answer.reason or "")
        with pytest.raises(PlatformError, match="PRICING_LLM_ANSWER_TOKENS"):
            list(model_at(url).read_prices(price_prompts(60)))
        assert model_at(url).estimate(price_prompts(60)).kept == 0
    assert len(proxy.requests) <= 1 + 8 + 4


GOOD = {
    "think": body("Sure. <think>maybe $24 or $29</think> 27"),
    "harmony": body(f"{HARMONY}{FINAL}27<|return|>"),
    "harmony without special tokens": body("analysisPans cost $24 and $29.assistantfinal27"),
    "harmony, half of them": body(
        "<|channel|>analysis<|message|>Pans cost $24 and $29.…final<|message|>27"
    ),
    "kimi": body("◁think▷ $24 and $29 ◁/think▷ 27"),
    "seed": body("<seed:think>$24 and $29</seed:think>27"),
    "gemma": body("<|channel>thought\n$24 and $29<channel|>27"),
    "command": body("<|START_THINKING|>$24<|END_THINKING|><|START_RESPONSE|>27<|END_RESPONSE|>"),
    "granite": body("Here is my thought process: $24.\n\nHere is my response:\n27"),
    "hunyuan": body("<think>$24</think>\n<answer>\n27\n</answer>"),
    "glm": body("<think>$24</think>The price: <|begin_of_box|>27<|end_of_box|>"),
    "parts without a type": body([{"text": "27"}]),
    "gemini's thought": body([{"text": "$24", "thought": True}, {"text": "27"}]),
    "a part's value": body([{"type": "text", "text": {"value": "27"}}]),
    "one part": body({"type": "text", "text": "27"}),
    "a number": body(27),
    "half a character": body("27").replace('"27"', '"27 \\ud83d"'),
    "cut off after its price": body("Price: $27\n\nThis pan is made of", "length"),
    "cut off after a sentence": body("The estimated price is $27. Pans of this", "length"),
    "usage below 0": body("27", usage={"prompt_tokens": -1, "completion_tokens": -1}),
    "usage of 0": body("27", usage={"prompt_tokens": 0, "completion_tokens": 0}),
    "usage as a list": body("27", usage=[]),
    "usage as numbers of the wrong kind": body("27", usage={"prompt_tokens": "many"}),
    "details as a list": body("27", usage=USAGE | {"prompt_tokens_details": []}),
    "details below 0": body("27", usage=USAGE | {"prompt_tokens_details": {"cached_tokens": -1}}),
    "logprobs as a list": body("27", choice={"logprobs": []}),
    "logprobs as words": body("27", choice={"logprobs": "none"}),
    "a null token": body("27", choice={"logprobs": {"content": [{"token": None}]}}),
    "top_logprobs as an object": body(
        "27",
        choice={"logprobs": {"content": [{"token": "27", "top_logprobs": {"27": -0.1}}]}},
    ),
    "top_logprobs with a null token": body(
        "27",
        choice={"logprobs": {"content": [{"token": "27", "top_logprobs": [{"token": None}]}]}},
    ),
    "refusal false": body("27", message={"refusal": False}),
    "tool_calls as an object": body("27", message={"tool_calls": {}}),
    "finish_reason as an object": body("27", choice={"finish_reason": {"type": "stop"}}),
    "an error that is none": body("27", error={"code": 0, "message": ""}),
    "an empty error": body("27", error={}, choice={"error": ""}),
    "one piece of a stream": json.dumps(
        {"choices": [{"delta": {"content": "27"}, "finish_reason": "stop"}], "usage": USAGE}
    ),
    "the index as words": body("27", choice={"index": "first"}),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_answer_is_taken_in_whichever_shape(name: str, model_at: ModelAt) -> None:
    proxy = proxy_of(GOOD[name])
    with proxy.running() as url:
        for _ in range(2):
            ((_, answer),) = model_at(url, top_logprobs=5).read_prices(price_prompts(1))
            assert (answer.outcome, answer.usage.attempts) == ("answered", 1)
            assert answer.distribution is not None or price_of(answer) == 27
            assert answer.distribution is None or answer.distribution.quantile(0.5) == 27
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("- Pan A: $24\n- Pan B: $1", "- Pan A: $24\n- Pan B: "),
        ("about $1,2", "about "),
        ("- Pan A: $24\n", "- Pan A: $24\n"),
        ("Brand: Acme, 28 cm", "Brand: Acme, 28 cm"),
    ],
)
def test_a_completion_that_is_cut_in_a_number_has_no_half_of_it(
    written: str, read: str, model_at: ModelAt
) -> None:
    with proxy_of(body(written, "length")).running() as url:
        ((_, cut),) = model_at(url).complete(price_prompts(1), CompletionRequest(max_tokens=32))
    with proxy_of(body(written)).running() as url:
        ((_, whole),) = model_at(url).complete(price_prompts(1), CompletionRequest(max_tokens=32))
    assert [(cut.outcome, cut.text), (whole.outcome, whole.text)] == [
        ("answered", read),
        ("answered", written),
    ]


def test_a_call_of_a_tool_without_arguments_is_one(model_at: ModelAt) -> None:
    for arguments, expected in ((None, ""), ({"words": "x"}, '{"words": "x"}')):
        call = {"id": 7, "type": "function", "function": {"name": "find", "arguments": arguments}}
        told = body(None, "tool_calls", message={"tool_calls": [call, {"function": None}]})
        with proxy_of(told).running() as url:
            request = CompletionRequest(max_tokens=20 + len(expected))
            ((_, answer),) = model_at(url).complete(price_prompts(1), request)
        assert answer.outcome == "answered"
        assert [(c.call_id, c.name, c.arguments) for c in answer.tool_calls] == [
            ("7", "find", expected)
        ]


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 0}, None),
        ({"prompt_tokens": 40, "prompt_tokens_details": {"cached_tokens": 1000}}, (1040, 1000)),
        ({"prompt_tokens": 40, "cache_read_input_tokens": 1000}, (1040, 1000)),
        ({"input_tokens": 40, "cache_read_input_tokens": 1000}, (1040, 1000)),
        ({"prompt_tokens": 1028, "prompt_cache_hit_tokens": 1000}, (1028, 1000)),
    ],
)
def test_a_long_answer_is_taken_where_cached_tokens_are_counted_elsewhere(
    usage: dict[str, Any], read: tuple[int, int] | None, model_at: ModelAt
) -> None:
    long = Prompt((Message("user", "a pan for one " * 220),), "Price: $")
    prices = TokenPrices(sent=100.0, cached=10.0)
    with proxy_of(body("27", usage=usage | {"completion_tokens": 1})).running() as url:
        model = model_at(url, prices=prices)
        ((_, answer),) = model.read_prices([long])
        spending = model.cache.spending()
    assert (answer.outcome, answer.text) == ("answered", "27")
    if read is None:
        assert spending.not_told.tokens > 1_000
        assert spending.not_told.usd > 0
    else:
        assert (answer.usage.tokens_in, answer.usage.tokens_cached) == read
        cost = ((read[0] - read[1]) * prices.sent + read[1] * prices.cached) / 1e6
        assert answer.usage.cost_usd == pytest.approx(cost)


def test_a_budget_fills_where_a_server_counts_nothing(model_at: ModelAt) -> None:
    told = body("27", usage={"prompt_tokens": 0, "completion_tokens": 0})
    proxy = proxy_of(told)
    with proxy.running() as url, pytest.raises(PlatformError, match="PRICING_LLM_BUDGET_TOKENS"):
        list(model_at(url, budget=Budget(tokens=600)).read_prices(price_prompts(60)))
    assert 0 < len(proxy.requests) < 10


BESIDE = {
    "error": body("2", error={"code": 502, "message": "The upstream hung up."}),
    "words": body("2", error="The upstream hung up."),
    "in the choice": body("2", choice={"error": {"message": "The upstream hung up."}}),
    "the reason": body("2", "error"),
    "deep seek": body("2", "insufficient_system_resource"),
    "aborted": body("2", "abort"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_an_error_beside_an_answer_wins(name: str, model_at: ModelAt) -> None:
    proxy = proxy_of(BESIDE[name])
    with proxy.running() as url:
        model = model_at(url, attempts=2)
        ((_, answer),) = model.read_prices(price_prompts(1))
        assert (answer.outcome, answer.usage.attempts) == ("server_error", 2)
        assert model.estimate(price_prompts(1)).kept == 0
        assert answer.usage.tokens_in == 2 * 20, "what it says it took is counted"


TOLD: dict[str, tuple[str, str, str]] = {  # body, outcome or what the message names, its words
    "page": ("<html><title>Sign in</title><p>x</p></html>", "PRICING_LLM_BASE_URL", "Sign in"),
    "fast api": ('{"detail":"Not Found"}', "PRICING_LLM_BASE_URL", "Not Found"),
    "path": ('{"error":"Not Found","status":404,"path":"/x"}', "PRICING_LLM_BASE_URL", "Not Found"),
    "gateway": (
        '{"message":"no Route matched with those values"}',
        "PRICING_LLM_BASE_URL",
        "Route",
    ),
    "vllm": (
        '{"object":"error","message":"The model `x` does not exist.","code":40401}',
        "PRICING_LLM_MODEL",
        "does not exist",
    ),
    "ollama": ('{"error":"model \\"x\\" not found"}', "PRICING_LLM_MODEL", "not found"),
    "no key": ('{"code":401,"msg":"token invalid"}', "PRICING_LLM_API_KEY", "token invalid"),
    "not let in": ('{"detail":"Not authenticated"}', "PRICING_LLM_API_KEY", "Not authenticated"),
    "no money": (
        '{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"},"choices":null}',
        "quota is used up",
        "insufficient balance",
    ),
    "gemini": (
        '[{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT"}}]',
        "PRICING_LLM_API_KEY",
        "API key not valid",
    ),
    "too long": (
        '{"object":"error","message":"The maximum context length is 4096 tokens","code":40303}',
        "too_long",
        "4096",
    ),
    "limited": ('{"code":"rate_limit_exceeded","message":"Slow"}', "rate_limited", "Slow"),
    "overloaded": (
        '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        "server_error",
        "Overloaded",
    ),
    "cloudflare": (
        '{"success":false,"errors":[{"code":7000,"message":"It broke"}],"result":null}',
        "server_error",
        "It broke",
    ),
    "validation": (
        '{"detail":[{"loc":["body","top_k"],"msg":"Bad value","type":"value_error"}]}',
        "failed",
        "top_k: Bad value",
    ),
    "provider": (
        '{"error":{"message":"Provider returned error","code":502,"metadata":{"raw":"It fell"}}}',
        "server_error",
        "It fell",
    ),
    "words": ("upstream connect error", "server_error", "upstream connect error"),
}


@pytest.mark.parametrize("name", TOLD)
def test_an_error_with_a_good_status_is_told_and_stops_the_run(
    name: str, model_at: ModelAt
) -> None:
    told, outcome, words = TOLD[name]
    proxy = proxy_of(told)
    with proxy.running() as url:
        model = model_at(url, attempts=2, longest_delay_seconds=0.02)
        if outcome.islower() and " " not in outcome:
            ((_, answer),) = model.read_prices(price_prompts(1))
            assert answer.outcome == outcome
            assert words in (answer.reason or "")
        if outcome == "too_long":
            return
        with pytest.raises(PlatformError) as raised:
            list(model.read_prices(price_prompts(60)))
        assert words in raised.value.problem
        if not (outcome.islower() and " " not in outcome):
            assert outcome in f"{raised.value.problem} {raised.value.remedy}"
            assert len(proxy.requests) <= 4
        assert len(proxy.requests) <= 2 * (1 + 8 + 4)
        assert model.cache.spending().total.tokens == 0


def test_pages_that_come_later_stop_the_run_too(upstream: str, model_at: ModelAt) -> None:
    page = Fault(200, "<!doctype html><html><body><h1>Maintenance</h1></body></html>")
    proxy = FaultyProxy(upstream, lambda _n, sent: None if "item 0000" in sent else page)
    with proxy.running() as url:
        model = model_at(url, concurrency=2, attempts=2)
        list(model.read_prices(price_prompts(1)))
        with pytest.raises(PlatformError, match="Maintenance"):
            list(model.read_prices(price_prompts(60)))
    assert len(proxy.requests) <= 1 + 2 * 6


@pytest.mark.parametrize("told", ["<html>Welcome</html>", '{"detail":"Not Found"}'])
def test_doctor_says_that_an_address_is_of_something_else(told: str, model_at: ModelAt) -> None:
    async def answer(_request: Request) -> Response:
        return Response(200, told.encode())

    with serving(answer) as url, pytest.raises(PlatformError, match=r"Welcome|Not Found") as raised:
        listed_models(model_at(url).configuration)
    assert "/v1" in raised.value.remedy


REFUSED = [  # the message, the body's further fields
    ("Unsupported parameter: '{name}' is not supported with this model.", {"param": "{name}"}),
    ("Unsupported parameter: '{name}'", {}),
    ("Unrecognized request argument supplied: {name}", {}),
    ("Unrecognized request arguments supplied: frequency_penalty, {name}", {}),
    ("{name} is not supported", {}),
    ("`{name}` is not supported with this model", {}),
    ("unknown field {name}", {}),
    ('json: unknown field "{name}"', {}),
    ('Invalid JSON payload received. Unknown name "{name}": Cannot find field.', {}),
    ("property '{name}' is unsupported", {}),
    ("{name}: Extra inputs are not permitted", {}),
    ("Argument not supported on this model: {name}", {}),
    ("This model does not support the parameter {name}.", {}),
    ("openai does not support parameters: ['{name}'], for model=o1", {}),
    ("Malformed input request: #: extraneous key [{name}] is not permitted", {}),
]


NAMES = ("max_tokens", "stop", "temperature", "parallel_tool_calls")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("message", "more"), REFUSED)
def test_what_servers_say_of_a_parameter_that_they_do_not_take(
    name: str, message: str, more: dict[str, str], model_at: ModelAt
) -> None:
    error = {"message": message} | more
    told = json.dumps({"error": {at: text.format(name=name) for at, text in error.items()}})
    known = model_at("http://127.0.0.1:9/v1").configuration
    sent = ("model", "messages", *NAMES)
    failure = refused_status(400, {}, told, known, any_answered=False, sent=sent)
    assert failure.without == name
    others = [other for other in sent if other != name]
    kept = refused_status(400, {}, told, known, any_answered=False, sent=others)
    assert kept.without is None, "another one is not left out for it"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "told",
    [
        '{"error": {"message": "Unrecognized request argument supplied: NAME"}}',
        '{"detail": [{"loc": ["body", "NAME"], "msg": "Extra inputs are not permitted"}]}',
        '{"object": "error", "message": {"detail": [{"loc": ["NAME"], "msg": "Extra inputs"}]}}',
    ],
)
def test_a_parameter_that_a_server_does_not_take_is_left_out(
    name: str, told: str, model_at: ModelAt
) -> None:
    assert_left_out(name, told.replace("NAME", name), model_at)


class Words(BaseModel):
    words: str


def assert_left_out(name: str, told: str, model_at: ModelAt) -> None:
    asked: list[dict[str, Any]] = []

    async def answer(request: Request) -> Response:
        asked.append(json.loads(request.body))
        if name in asked[-1]:
            return Response(400, told.encode())
        return Response(200, body("27 pans").encode())

    request = CompletionRequest(9, (" pans",), tools=(Tool("find", "Finds.", Words),))
    with serving(answer) as url:
        model = model_at(url, concurrency=1)
        answers = [answer for _, answer in model.complete(price_prompts(2), request)]
    assert [(answer.outcome, answer.text) for answer in answers] == [("answered", "27")] * 2
    assert len(asked) == 3, "what was learnt of the server is remembered"
    assert asked[-1].get("max_completion_tokens") == (9 if name == "max_tokens" else None)


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 32. This model's maximum context"
            " length is 4096 tokens and your request has 5000 input tokens",
            "too_long",
        ),
        ("max_tokens must be greater than thinking.budget_tokens", "failed"),
        ("Invalid 'max_tokens': integer below minimum value. Expected a value >= 64", "failed"),
    ],
)
def test_what_is_said_of_the_room_is_not_always_that_it_is_unknown(
    message: str, outcome: str, model_at: ModelAt
) -> None:
    proxy = FaultyProxy("", always(Fault(400, json.dumps({"error": {"message": message}}))))
    with proxy.running() as url:
        ((_, answer),) = model_at(url).read_prices(price_prompts(1))
    assert answer.outcome == outcome
    assert len(proxy.requests) == 1


def test_a_server_without_any_limit_on_answers_is_told_of(model_at: ModelAt) -> None:
    async def answer(request: Request) -> Response:
        name = next(n for n in json.loads(request.body) if n.startswith("max_"))
        return Response(400, json.dumps({"detail": f"Unsupported parameter: {name}"}).encode())

    with serving(answer) as url, pytest.raises(PlatformError, match="no limit on the length"):
        list(model_at(url).read_prices(price_prompts(3)))


def test_a_parameter_of_the_users_is_never_left_out_in_silence(model_at: ModelAt) -> None:
    message = "Unrecognized request argument supplied: reasoning_effort"
    proxy = FaultyProxy("", always(Fault(400, json.dumps({"error": {"message": message}}))))
    with proxy.running() as url, pytest.raises(PlatformError, match="reasoning_effort") as raised:
        list(model_at(url, extra_body={"reasoning_effort": "low"}).read_prices(price_prompts(30)))
    assert "PRICING_LLM_EXTRA_BODY" in raised.value.remedy
    assert len(proxy.requests) <= 4


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("27", "27"),
        ("a < b and c > d: 27", "a < b and c > d: 27"),
        ("The analysis says 27", "The analysis says 27"),
        ("analysis of the pan: 27", "analysis of the pan: 27"),
        ("", ""),
        ("<think>24</think>", ""),
        ("27 <think>is it?", None),
        ("<think>a</think>27<think>b", None),
        ("analysisThe pan costs $24", None),
        (f"{HARMONY}{FINAL}", ""),
    ],
)
def test_where_thoughts_end(text: str, answer: str | None) -> None:
    assert after_thoughts(text) == answer


_PIECES = st.sampled_from(
    ["<think>", "</think>", "◁think▷", "◁/think▷", "27", " ", "$24 ", "so", "<|"]
)


@settings(deadline=None)
@given(st.lists(_PIECES, max_size=8).map("".join), st.text(max_size=20))
def test_whatever_was_thought_only_the_end_counts(before: str, thought: str) -> None:
    found = after_thoughts(f"{before}<think>{thought}</think>27")
    assert not found or found.endswith("27")
    assert after_thoughts(f"<think>{thought.replace('<', '')}</think>27") in ("27", None)
    assert after_thoughts(f"{before} <think>{thought.replace('>', '')}") is None


@settings(deadline=None)
@given(cents=st.integers(1, 9_999_999), rest=st.text(max_size=30))
def test_what_is_finished_reads_as_the_whole_does(cents: int, rest: str) -> None:
    price = cents / 100
    for written in (f"${price:,.2f}", f"Price: ${price:,.2f}", f"**Price: ${price:.2f}**"):
        found = finished_price(f"{written}\n{rest}", "Price: $")
        assert found is not None
        assert parse_price(found, USD).price == pytest.approx(price)
        cut = finished_price(written[:-1], "Price: $")
        assert cut is None or parse_price(cut, USD).price is None


@settings(deadline=None)
@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=4), st.lists))
def test_any_usage_is_read_or_none(told: Any) -> None:
    for name in ("prompt_tokens", "completion_tokens", "prompt_tokens_details", "total_tokens"):
        found = reported_usage({"prompt_tokens": 9, name: told})
        assert found is None or (found.prompt_tokens > 0 and found.completion_tokens >= 0)
    assert reported_usage(told) is None


def test_a_failure_leaves_nothing_behind(model_at: ModelAt) -> None:
    told = [body("", "length"), body("27")]

    async def answer(_request: Request) -> Response:
        return Response(200, told[0].encode())

    with serving(answer) as url:
        with pytest.raises(PlatformError):
            list(model_at(url).read_prices([price_prompt("a")]))
        told.pop(0)
        ((_, found),) = model_at(url).read_prices([price_prompt("a")])
    assert (found.outcome, found.text, found.usage.from_cache) == ("answered", "27", False)


def test_what_was_read_otherwise_before_is_asked_anew(
    upstream: str, model_at: ModelAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_at(upstream)
    identity = model.identity
    list(model.read_prices(price_prompts(2)))
    for module in (requests, endpoint_model):
        monkeypatch.setattr(module, "REPLY_VERSION", requests.REPLY_VERSION + 1)
    assert model.identity != identity
    assert [a.usage.from_cache for _, a in model.read_prices(price_prompts(2))] == [False, False]
