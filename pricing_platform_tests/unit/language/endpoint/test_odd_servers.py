"""Servers that answer as servers do: each in one odd way, over real HTTP."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint.replies import (
    ThoughtsOnlyError,
    UnreadableReplyError,
    read_reply,
)
from pricing_platform.language.endpoint.requests import Reading
from pricing_platform.language.endpoint.sending import listed_models
from pricing_platform.language.model import CompletionRequest, Message, PriceAnswer
from pricing_platform_tests.unit.language.endpoint.conftest import ModelAt
from pricing_platform_tests.unit.language.endpoint.price_prompts import price_prompts

STUB = Path(__file__).parents[4] / "../shared/cases/common/stub_endpoint.py"
needs_stub = pytest.mark.skipif(not STUB.is_file(), reason="../shared/cases is not there")
PROMPTS = price_prompts(12)
PRICE, WORDS = Reading(kind="price", api="chat"), Reading(kind="completion", api="chat")


@pytest.fixture(scope="module")
def stub() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stub_endpoint", STUB)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def serving(stub: ModuleType, mode: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The stub in a mode: its address, and the bodies that it was sent."""
    bodies: list[dict[str, Any]] = []
    answer: Callable[..., tuple[int, Any]] = stub.answer

    class Handler(stub.Handler):  # type: ignore[misc, name-defined]
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            self._send(*answer(self.mode, self.path, body))

    Handler.mode = mode
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked(model: Any) -> list[PriceAnswer]:
    return [answer for _, answer in sorted(model.read_prices(PROMPTS), key=lambda at: at[0])]


def right(stub: ModuleType, answers: list[PriceAnswer]) -> bool:
    texts = ["\n".join(m.content for m in prompt.messages) for prompt in PROMPTS]
    expected = [stub.price_of(text) for text in texts]
    digits = ["".join(filter(str.isdigit, answer.text or "")) for answer in answers]
    return digits == [str(price) for price in expected]


@needs_stub
@pytest.mark.parametrize(
    "mode",
    [
        "plain",
        "think",
        "no_stop",
        "list_content",
        "usage_empty",
        "usage_nulls",
        "top_logprobs_null",
    ],
)
def test_a_good_answer_stays_good(stub: ModuleType, model_at: ModelAt, mode: str) -> None:
    with serving(stub, mode) as (url, _):
        model = model_at(url, answer_tokens=64)
        answers = asked(model)
        assert [answer.outcome for answer in answers] == ["answered"] * len(PROMPTS)
        assert right(stub, answers)
        again = asked(model)
    assert right(stub, again), "and is kept as it was read"


@needs_stub
def test_parameters_that_a_server_refuses_are_left_out_and_done_here(
    stub: ModuleType, model_at: ModelAt
) -> None:
    plain = [replace(prompt, answer_prefix="") for prompt in PROMPTS]
    with serving(stub, "no_stop") as (url, bodies):
        model = model_at(url)
        request = CompletionRequest(max_tokens=20, stop=(": $",))
        for _, completion in model.complete(plain[:3], request):
            assert (completion.outcome, completion.text) == ("answered", "Price")
        refused = len(bodies)
        assert len(list(model.complete(plain[3:5], request))) == 2
    for body in bodies[-2:]:
        assert not body.keys() & {"stop", "temperature", "max_tokens"}
    assert len(bodies) == refused + 2, "what was learnt of the server is remembered"
    assert bodies[-1]["max_completion_tokens"] == 20


@needs_stub
@pytest.mark.parametrize("mode", ["reasoning", "think"])
def test_thoughts_that_take_all_the_room_stop_the_run(
    stub: ModuleType, model_at: ModelAt, mode: str
) -> None:
    with serving(stub, mode) as (url, bodies):
        with pytest.raises(PlatformError, match="thoughts took all the room") as raised:
            list(model_at(url).complete(PROMPTS, CompletionRequest(max_tokens=8)))
        assert "PRICING_LLM_ANSWER_TOKENS" in raised.value.remedy
        assert len(bodies) <= 4
        model = model_at(url, answer_tokens=2_000)
        assert right(stub, asked(model))
        assert bodies[-1]["max_tokens"] == 2_000


@needs_stub
def test_the_advice_is_the_number_that_is_allowed(stub: ModuleType, model_at: ModelAt) -> None:
    with serving(stub, "logprobs_limit") as (url, _):
        with pytest.raises(PlatformError) as raised:
            asked(model_at(url, top_logprobs=50))
        assert raised.value.remedy == "Set PRICING_LLM_TOP_LOGPROBS=20."
        assert right(stub, asked(model_at(url, top_logprobs=20)))


@needs_stub
def test_an_address_without_its_last_part_is_told_at_once(
    stub: ModuleType, model_at: ModelAt
) -> None:
    with serving(stub, "lmstudio") as (url, bodies):
        model = model_at(url.removesuffix("/v1"))
        with pytest.raises(PlatformError, match="Unexpected endpoint") as raised:
            asked(model)
        assert "/v1" in raised.value.remedy
        assert len(bodies) <= 4
        with pytest.raises(PlatformError, match="Unexpected endpoint") as raised:
            listed_models(model.configuration)
        assert "/v1" in raised.value.remedy
        assert listed_models(model_at(url).configuration) == ["stub"]


@needs_stub
def test_an_error_in_a_choice_is_asked_again_and_never_kept(
    stub: ModuleType, model_at: ModelAt
) -> None:
    with serving(stub, "choice_error") as (url, bodies):
        model = model_at(url)
        answers = asked(model)
        failed = [answer for answer in answers if answer.outcome != "answered"]
        assert 0 < len(failed) < len(PROMPTS)
        assert {answer.outcome for answer in failed} == {"server_error"}
        assert all("hung up" in (answer.reason or "") for answer in failed)
        sent = len(bodies)
        assert asked(model)[0].outcome == answers[0].outcome
        assert len(bodies) == sent + 3 * len(failed), "those alone are asked again, three times"


@needs_stub
def test_a_server_that_cuts_long_prompts_quietly_is_told_of(
    stub: ModuleType, model_at: ModelAt, caplog: pytest.LogCaptureFixture
) -> None:
    long = [
        replace(PROMPTS[number], messages=(Message("user", f"{number} a pan " * 5_000),))
        for number in range(2)
    ]
    with serving(stub, "window_4096") as (url, _):
        model = model_at(url, context_window=100_000)
        answers = dict(model.read_prices([*long, *PROMPTS[2:4]]))
    outcomes = [answers[place].outcome for place in range(4)]
    assert outcomes == ["too_long", "too_long", "answered", "answered"]
    told = [record.getMessage() for record in caplog.records if "read 4,096" in record.getMessage()]
    assert len(told) == 1
    assert "PRICING_LLM_CONTEXT_WINDOW=4096" in told[0]


def reply(content: object, **choice: object) -> str:
    return json.dumps({"choices": [{"message": {"content": content}, **choice}], "usage": None})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>like $24 and $29.</think> 27", "27"),
        ("like $24 and $29.</think>\n\n27", "27"),
        ("[THINK]so[/THINK]27", "27"),
        ("<think></think>27", "27"),
        ([{"type": "thinking", "thinking": "24"}, {"type": "text", "text": "27"}], "27"),
        (["2", {"type": "output_text", "text": "7"}], "27"),
    ],
)
def test_what_stands_before_the_end_of_thoughts_is_no_answer(content: object, text: str) -> None:
    assert read_reply(reply(content), PRICE).text == text
    assert read_reply(reply(content), WORDS).text == text


@pytest.mark.parametrize("content", ["<think>about $30", "<thinking>\nso $30.", "[THINK]30"])
@pytest.mark.parametrize("reading", [PRICE, WORDS])
def test_unfinished_thoughts_are_no_answer(content: str, reading: Reading) -> None:
    with pytest.raises(ThoughtsOnlyError):
        read_reply(reply(content, finish_reason="length"), reading)
    with pytest.raises(ThoughtsOnlyError):
        read_reply(reply(content), reading)


@pytest.mark.parametrize("reading", [PRICE, WORDS])
def test_an_answer_that_is_cut_off_before_it_begins_is_none(reading: Reading) -> None:
    with pytest.raises(ThoughtsOnlyError):
        read_reply(reply(None, finish_reason="length"), reading)
    thought = {"message": {"content": None, "reasoning": "so"}, "finish_reason": "length"}
    with pytest.raises(ThoughtsOnlyError):
        read_reply(json.dumps({"choices": [thought]}), reading)


def test_a_completion_may_be_empty_where_a_stop_string_came_first() -> None:
    stopped = WORDS.model_copy(update={"stop": ("\n",)})
    assert read_reply(reply("", finish_reason="stop"), stopped).text == ""
    with pytest.raises(UnreadableReplyError, match="wrote nothing"):
        read_reply(reply("", finish_reason="stop"), WORDS)
