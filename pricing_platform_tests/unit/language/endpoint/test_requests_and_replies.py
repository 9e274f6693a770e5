"""What is sent and how what comes back is read, in both interfaces."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.failures import retry_after
from pricing_platform.language.endpoint.model import EndpointLanguageModel
from pricing_platform.language.endpoint.replies import (
    UnreadableReplyError,
    price_distribution,
    read_reply,
)
from pricing_platform.language.endpoint.requests import (
    Reading,
    completion_request,
    price_request,
)
from pricing_platform.language.endpoint.tokens import TokenCounter
from pricing_platform.language.endpoint.told_errors import ToldError
from pricing_platform.language.model import (
    CompletionRequest,
    LanguageModel,
    Message,
    Prompt,
    Tool,
    ToolCall,
)
from pricing_platform.language.prompts import Currency
from pricing_platform.language.response_cache import ResponseCache
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.endpoint.answering_server import price_of
from pricing_platform_tests.unit.language.endpoint.conftest import ModelAt
from pricing_platform_tests.unit.language.endpoint.price_prompts import (
    price_prompt,
    price_prompts,
)

CHAT = Reading(kind="price", api="chat", answer_prefix="Price: $")


class Search(BaseModel):
    words: str
    count: int = 3


def configuration(**changes: Any) -> EndpointConfiguration:
    return EndpointConfiguration(SecretStr("http://127.0.0.1:9/v1"), "m", **changes)


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("top_logprobs", [0, 5])
def test_prices_are_read_over_both_interfaces(
    api: str, top_logprobs: int, upstream: str, model_at: ModelAt
) -> None:
    model = model_at(upstream, api=api, top_logprobs=top_logprobs)
    prompts = price_prompts(5)
    for index, answer in model.read_prices(prompts):
        sent = prompts[index].as_text() if api == "completions" else f"item {index:04d}"
        price = price_of(sent)
        assert str(price) in (answer.text or "")
        if not top_logprobs or price + 10 < 20:
            continue
        assert answer.distribution is not None
        assert answer.distribution.prices.tolist() == [price, price + 10]
        assert answer.distribution.probabilities[0] == pytest.approx(0.6225, abs=1e-3)


def test_a_structured_price_is_its_number(upstream: str, model_at: ModelAt) -> None:
    model = model_at(upstream, structured_output=True)
    ((_, answer),) = model.read_prices([price_prompt("a")])
    assert answer.text == f"{price_of('a')}.00"


def test_a_schema_is_sent_strict_where_the_server_can() -> None:
    asked = CompletionRequest(50, ("\n",), schema=Search)
    plain = completion_request(price_prompt("a"), asked, configuration())
    assert "response_format" not in plain.body
    strict = completion_request(price_prompt("a"), asked, configuration(structured_output=True))
    schema: Any = strict.body["response_format"]
    assert schema["json_schema"]["strict"] is True
    assert schema["json_schema"]["schema"]["additionalProperties"] is False
    assert set(schema["json_schema"]["schema"]["required"]) == {"words", "count"}
    assert strict.body["stop"] == ["\n"]


def test_calls_of_tools_cross_both_ways() -> None:
    call = ToolCall("c7", "find", '{"words": "x"}')
    turns = (
        Message("user", "go"),
        Message("assistant", "", (call,)),
        Message("tool", "found", call_id="c7"),
    )
    tool = Tool("find", "Finds products.", Search)
    request = completion_request(
        Prompt(turns), CompletionRequest(50, tools=(tool,)), configuration()
    )
    body: Any = request.body
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"words": "x"}'
    assert body["messages"][2] == {"role": "tool", "content": "found", "tool_call_id": "c7"}
    assert body["tools"][0]["function"]["parameters"]["required"] == ["words"]
    assert body["parallel_tool_calls"] is False
    function = {"name": "find", "arguments": '{"words": "x"}'}
    message = {"content": None, "tool_calls": [{"id": "c7", "function": function}]}
    reply = read_reply(json.dumps({"choices": [{"message": message}]}), request.reading)
    assert reply.tool_calls == (call,)
    none = completion_request(
        Prompt(turns), CompletionRequest(50, tools=(tool,)), configuration(calls_tools=False)
    )
    assert "tools" not in none.body


def test_a_completion_does_not_repeat_the_prefix() -> None:
    reading = Reading(kind="completion", api="chat", answer_prefix="Action:")
    body = json.dumps({"choices": [{"message": {"content": " Action: answer"}}]})
    assert read_reply(body, reading).text == " answer"


STRUCTURED = CHAT.model_copy(update={"structured": True})


@pytest.mark.parametrize(
    ("text", "reading", "cut"),
    [
        ("Price: $12", CHAT, True),
        ("Price: $1,", CHAT, True),
        ("Price: $12.", CHAT, True),
        ("Price: $12 for", CHAT, False),
        ("Price: $12\n", CHAT, False),
        ("**Price: $12.50**\n\nIt is a pan of", CHAT, False),
        ("The estimated price is $12. Pans like", CHAT, False),
        ("12 or", CHAT, True),
        ("Price: $12 per", CHAT, True),
        ("Similar pans cost around $30 but", CHAT, True),
        ('{"price": 12', STRUCTURED, True),
        ('{"price": 12}', STRUCTURED, False),
        ("12", Reading(kind="completion", api="chat"), False),
    ],
)
def test_a_price_that_was_cut_off_is_none(text: str, reading: Reading, cut: bool) -> None:
    def body(finish_reason: str) -> str:
        choice = {"message": {"content": text}, "finish_reason": finish_reason}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9}})

    assert read_reply(body("stop"), reading).outcome == "answered"
    if not cut:
        assert read_reply(body("length"), reading).outcome == "answered"
        return
    with pytest.raises(UnreadableReplyError, match="cut off") as raised:
        read_reply(body("length"), reading)
    assert raised.value.usage is not None
    assert not raised.value.again


Tokens = list[tuple[str, dict[str, float | None]]]
NUMBER: dict[str, float | None] = {"120": -0.1, "130": -2.0, " 120": -3.0, "x": -1.0, "0": -4.0}


@pytest.mark.parametrize(
    ("tokens", "reading", "prices"),
    [
        ([("120", NUMBER)], CHAT, [120, 130]),
        ([("Price", {}), (":", {}), (" $", {}), ("120", NUMBER), (".", {})], CHAT, [120, 130]),
        ([("$", {}), ("120", NUMBER), ("\n", {})], CHAT, [120, 130]),
        ([("120", NUMBER), (".", {}), ("99", {})], CHAT, None),
        ([("1", {"1": -0.1, "2": -1.0}), ("2", {}), ("0", {})], CHAT, None),
        ([("7", {"7": -0.1, "8": -1.0}), ("\n", {})], CHAT, None),  # maybe a digit a token
        ([("129", NUMBER), ("9", {})], CHAT, None),
        ([("1", {"1": -0.1}), (",", {}), ("299", {})], CHAT, None),
        ([("A ", {}), ("2", NUMBER), ("-pack: $", {}), ("30", {})], CHAT, None),
        ([("$120", NUMBER)], CHAT, None),
        ([("about twenty", {})], CHAT, None),
        ([], CHAT, None),
        ([("120", {"120": None, "?": -1.0})], CHAT, None),
        (
            [('{"', {}), ("price", {}), ('":', {}), ("120", NUMBER), ("}", {})],
            CHAT.model_copy(update={"structured": True}),
            [120, 130],
        ),
        (
            [('{"', {}), ("pieces", {}), ('":', {}), ("120", NUMBER), ("}", {})],
            CHAT.model_copy(update={"structured": True}),
            None,
        ),
    ],
)
def test_where_a_distribution_is_read(
    tokens: Tokens, reading: Reading, prices: list[int] | None
) -> None:
    found = price_distribution([t for t, _ in tokens], [a for _, a in tokens], reading)
    assert (None if found is None else found.prices.tolist()) == prices


Jsons = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "usage", "logprobs", "text", "error", "code", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(Jsons | st.dictionaries(st.just("choices"), st.lists(Jsons, max_size=2)))
def test_any_body_is_read_or_told(body: Any) -> None:
    with suppress(UnreadableReplyError, ToldError):
        assert isinstance(read_reply(json.dumps(body), CHAT).text, str)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_retry_after_is_seconds_or_none(text: str) -> None:
    seconds = retry_after({"retry-after": text})
    assert seconds is None or seconds >= 0


def test_retry_after_in_seconds_and_as_a_date() -> None:
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert (retry_after({"retry-after": "Wed, 21 Oct 2095 07:28:00 GMT"}) or 0) > 1e9
    assert retry_after({}) is None


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["Estimate a price. item"] * 5, trainer)
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_tokens_are_counted_by_the_tokenizer_or_by_bytes(tokenizer_folder: Path) -> None:
    prompt = price_prompt("naïve")
    text = prompt.as_text()
    plain = TokenCounter(configuration(api="completions"))
    assert plain.count([prompt]) == [-(-len(text.encode()) // 3)]
    assert plain.most(prompt) >= len(text.encode())
    own = TokenCounter(configuration(api="completions", tokenizer=tokenizer_folder))
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    assert own.count([prompt]) == [len(tokenizer.encode(text).ids)]
    chat = TokenCounter(configuration(tokenizer=tokenizer_folder))
    assert chat.count([prompt])[0] == own.count([prompt])[0] + 16
    assert own.most(prompt, "x" * 50) >= own.count([prompt])[0] + 50


def test_the_window_and_the_tokenizer_are_part_of_the_identity(
    tokenizer_folder: Path, tmp_path: Path, model_at: ModelAt
) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    text = (tokenizer_folder / "tokenizer.json").read_text(encoding="utf-8")
    (changed / "tokenizer.json").write_text(f"{text}\n", encoding="utf-8")
    hows: list[dict[str, Any]] = [
        {},
        {"context_window": 4096},
        {"tokenizer": tokenizer_folder},
        {"tokenizer": changed},
    ]
    models = [model_at("http://127.0.0.1:9/v1", **how) for how in hows]
    assert len({model.identity for model in models}) == 4


def test_a_tokenizer_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="PRICING_LLM_TOKENIZER"):
        TokenCounter(configuration(tokenizer=tmp_path)).count([price_prompt("a")])


def test_the_settings_make_a_model(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        llm_base_url="http://someone:pa55word@127.0.0.1:9/v1/?token=t0ken",
        llm_model="m",
        llm_api_key=SecretStr("s3cret-key"),
        llm_usd_per_million_input=3.0,
        llm_api="completions",
    )
    cache = ResponseCache.from_settings(settings)
    model = EndpointLanguageModel.from_settings(settings, cache, Currency("EUR"))
    assert isinstance(model, LanguageModel)
    assert (model.name, model.context_window, model.calls_tools) == ("m", 8192, False)
    assert model.estimate_cost_usd(1_000_000, 5) == 3.0
    assert model.configuration.prices.cached == 3.0
    assert model.configuration.shown_url == "http://127.0.0.1:9/v1"
    shown = repr(model.configuration) + model.identity
    for secret in ("pa55word", "t0ken", "s3cret-key", "someone"):
        assert secret not in shown
        assert secret not in model.configuration.masked(f"echo: {secret}!") or secret == "someone"


@pytest.mark.parametrize(
    ("url", "named"),
    [(None, "PRICING_LLM_BASE_URL"), ("no address", "PRICING_LLM_BASE_URL"), ("", "BASE_URL")],
)
def test_a_missing_or_wrong_address_is_told(tmp_path: Path, url: str | None, named: str) -> None:
    settings = Settings(home=tmp_path, llm_model="m").model_copy(update={"llm_base_url": url})
    with pytest.raises(PlatformError, match=named):
        EndpointConfiguration.from_settings(settings)


def test_an_address_may_be_a_secret(tmp_path: Path) -> None:
    secret = SecretStr("http://127.0.0.1:9/v1")
    settings = Settings(home=tmp_path, llm_model="m").model_copy(update={"llm_base_url": secret})
    assert EndpointConfiguration.from_settings(settings).url == "http://127.0.0.1:9/v1"


def test_other_parameters_are_other_answers() -> None:
    apis: tuple[Literal["chat", "completions"], ...] = ("chat", "completions")
    keys = {
        price_request(
            price_prompt(text), configuration(api=api, top_logprobs=top, structured_output=held)
        ).key
        for api in apis
        for top in (0, 5)
        for held in (False, True)
        for text in ("a", "b")
    }
    assert len(keys) == 2 * (2 * 2 + 2)  # completions are never held to a schema
    one, other = price_prompt("a"), Prompt(price_prompt("a").messages, "Price: $", "else", "step")
    assert price_request(one, configuration()).key == price_request(other, configuration()).key
