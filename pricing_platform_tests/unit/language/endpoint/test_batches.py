"""Offline batches: requests out, results in, and the same answers as when asked at once."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint import EndpointLanguageModel, import_batch_results
from pricing_platform.language.model import CompletionRequest
from pricing_platform.language.prompts import Currency
from pricing_platform.language.response_cache import ResponseCache
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.endpoint.answering_server import (
    AnsweringServer,
    price_of,
    response,
)
from pricing_platform_tests.unit.language.endpoint.price_prompts import price_prompts

USD = Currency("USD")


def configured(home: Path, **changes: Any) -> Settings:
    usual: dict[str, Any] = {
        "home": home,
        "llm_base_url": "http://127.0.0.1:9/v1",
        "llm_model": "vendor/numbers 1",
        "llm_mode": "batch",
        "llm_usd_per_million_input": 100.0,
        "llm_top_logprobs": 5,
    }
    return Settings(**(usual | changes))


def batch_model(settings: Settings) -> EndpointLanguageModel:
    return EndpointLanguageModel.from_settings(settings, ResponseCache.from_settings(settings), USD)


def written(settings: Settings) -> list[Path]:
    return sorted((settings.home_folder / "batches").glob("*.requests.jsonl"))


def requests(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def result(request: dict[str, Any]) -> str:
    body = response(request["body"])
    return json.dumps(
        {
            "id": "b",
            "custom_id": request["custom_id"],
            "response": {"status_code": 200, "request_id": "r", "body": body},
            "error": None,
        }
    )


def test_requests_out_results_in_in_any_order(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    model = batch_model(settings)
    with pytest.raises(PlatformError, match=r"(?s)9 requests are written to .* batch import FILE"):
        list(model.read_prices([*price_prompts(9), *price_prompts(2)]))
    (path,) = written(settings)
    assert re.fullmatch(r"vendor-numbers-1-1-[0-9a-f]{12}\.requests\.jsonl", path.name)
    asked = requests(path)
    assert {(one["method"], one["url"]) for one in asked} == {("POST", "/v1/chat/completions")}
    random.Random(1).shuffle(asked)
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(map(result, asked)), encoding="utf-8")
    told = import_batch_results(settings, model.cache, results)
    assert (told.read, told.kept, told.failed, told.unknown, told.damaged) == (9, 9, 0, 0, ())
    answers = dict(model.read_prices(price_prompts(9)))
    for index, answer in answers.items():
        assert answer.text == f"Price: ${price_of(f'item {index:04d}')}"
        assert answer.usage.from_cache
        assert answer.distribution is not None
    spent = model.cache.spending().total
    again = import_batch_results(settings, model.cache, results)
    assert (again.kept, model.cache.spending().total) == (9, spent)
    assert spent.usd > 0


def test_an_answer_of_a_batch_is_the_same_as_one_at_once(tmp_path: Path) -> None:
    server = AnsweringServer()
    with server.running() as url:
        at_once = batch_model(configured(tmp_path / "a", llm_mode="live", llm_base_url=url))
        live = dict(at_once.read_prices(price_prompts(3)))
        settings = configured(tmp_path / "b", llm_base_url=url)
        offline = batch_model(settings)
        with pytest.raises(PlatformError):
            list(offline.read_prices(price_prompts(3)))
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(map(result, requests(written(settings)[0]))), encoding="utf-8")
    import_batch_results(settings, offline.cache, results)
    for index, answer in offline.read_prices(price_prompts(3)):
        assert (answer.text, answer.outcome) == (live[index].text, live[index].outcome)
        assert answer.usage.cost_usd == live[index].usage.cost_usd
        assert answer.distribution is not None
        assert live[index].distribution is not None
        assert (answer.distribution.prices == live[index].distribution.prices).all()  # type: ignore[union-attr]
    # One who asks at once now finds what the batch brought.
    asked_live = batch_model(settings.model_copy(update={"llm_mode": "live"}))
    assert len(list(asked_live.read_prices(price_prompts(3)))) == 3
    assert len(server.asked) == 3


def test_a_request_that_waits_is_not_written_again(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    model = batch_model(settings)
    with pytest.raises(PlatformError):
        list(model.read_prices(price_prompts(4)))
    with pytest.raises(PlatformError, match=r"^2 requests are written .* 4 wait for the results"):
        list(model.read_prices(price_prompts(6)))
    with pytest.raises(PlatformError, match=r"^6 wait for the results"):
        list(model.read_prices(price_prompts(6)))
    first, second = written(settings)
    assert (len(requests(first)), len(requests(second))) == (4, 2)
    first.unlink()  # somebody lost it: it is written anew
    with pytest.raises(PlatformError, match=r"^4 requests are written"):
        list(model.read_prices(price_prompts(6)))


def test_errors_and_damage_are_counted_and_told(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    model = batch_model(settings)
    with pytest.raises(PlatformError):
        list(model.complete(price_prompts(5), CompletionRequest(50)))
    asked = requests(written(settings)[0])
    error = {"message": "It broke", "code": "server_error"}
    failed = [
        {"custom_id": asked[0]["custom_id"], "response": None, "error": error},
        {
            "custom_id": asked[1]["custom_id"],
            "response": {"status_code": 500, "body": {"error": error}},
        },
        {"custom_id": asked[2]["custom_id"], "response": {"status_code": 200, "body": {}}},
        {"custom_id": "of another run", "response": {"status_code": 200, "body": {}}},
    ]
    lines = [*map(json.dumps, failed), "{half", "", "[1]", result(asked[3])]
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(lines) + "\n", encoding="utf-8")
    told = import_batch_results(settings, model.cache, results)
    assert (told.read, told.kept, told.failed, told.unknown) == (5, 1, 3, 1)
    assert told.reasons == {
        "It broke": 1,
        "The server answered 500: It broke": 1,
        "There was no choice in the answer.": 1,
    }
    assert [re.search(r"line \d+", text).group() for text in told.damaged] == ["line 5", "line 7"]  # type: ignore[union-attr]
    with pytest.raises(PlatformError, match=r"^3 requests are written .* 1 wait"):
        list(model.complete(price_prompts(5), CompletionRequest(50)))


def error_line(request: dict[str, Any], status: int, message: str) -> str:
    body = {"error": {"message": message, "code": None}}
    response = {"status_code": status, "body": body}
    return json.dumps({"custom_id": request["custom_id"], "response": response, "error": None})


def test_what_will_never_be_answered_is_taken_in_and_holds_up_nothing(tmp_path: Path) -> None:
    settings = configured(tmp_path, llm_structured_output=True)
    model = batch_model(settings)
    with pytest.raises(PlatformError, match=r"^5 requests"):
        list(model.read_prices(price_prompts(5)))
    asked = requests(written(settings)[0])
    cut_off = json.loads(result(asked[2]))
    choice = cut_off["response"]["body"]["choices"][0]
    choice |= {"finish_reason": "length", "message": {"content": '{"pri'}}
    cut_off["response"]["body"]["usage"] = {"prompt_tokens": 70, "completion_tokens": 32}
    lines = [
        error_line(asked[0], 400, "Filtered by our content policy"),
        error_line(asked[1], 400, "This model's maximum context length is 8192 tokens"),
        json.dumps(cut_off),
        error_line(asked[3], 400, "Something else"),
        error_line(asked[4], 400, "Your credit balance is too low"),
    ]
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(lines), encoding="utf-8")
    told = import_batch_results(settings, model.cache, results)
    assert (told.kept, told.failed) == (3, 2)
    assert any("Raise it with the provider" in reason for reason in told.reasons)
    assert import_batch_results(settings, model.cache, results).kept == 3
    assert model.cache.spending().total.tokens == 102
    assert model.cache.spending().not_told.tokens == 0
    answers = dict(model.read_prices(price_prompts(3)))
    assert [answers[n].outcome for n in range(3)] == ["refused", "too_long", "unreadable"]
    assert "8192" in (answers[1].reason or "")
    assert answers[2].usage.tokens_out == 32
    assert model.estimate(price_prompts(5)).kept == 3
    with pytest.raises(PlatformError, match=r"^2 requests"):
        list(model.read_prices(price_prompts(5)))


def test_one_who_can_ask_at_once_asks_again_for_what_did_not_fit_a_batch(tmp_path: Path) -> None:
    server = AnsweringServer()
    with server.running() as url:
        settings = configured(tmp_path, llm_base_url=url)
        model = batch_model(settings)
        with pytest.raises(PlatformError):
            list(model.read_prices(price_prompts(1)))
        (asked,) = requests(written(settings)[0])
        results = tmp_path / "results.jsonl"
        results.write_text(error_line(asked, 413, "too long"), encoding="utf-8")
        assert import_batch_results(settings, model.cache, results).kept == 1
        live = batch_model(settings.model_copy(update={"llm_mode": "live"}))
        assert [answer.outcome for _, answer in live.read_prices(price_prompts(1))] == ["answered"]
    assert [answer.outcome for _, answer in model.read_prices(price_prompts(1))] == ["answered"]


def test_the_next_file_is_without_what_the_model_does_not_know(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    other = configured(tmp_path, llm_model="another")
    model = batch_model(settings)
    for unknown in (
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        "Unsupported value: 'temperature' does not support 0 with this model.",
    ):
        with pytest.raises(PlatformError, match=r"^2 requests are written"):
            list(model.read_prices(price_prompts(2)))
        lines = [error_line(one, 400, unknown) for one in requests(written(settings)[-1])]
        results = tmp_path / "results.jsonl"
        results.write_text("\n".join(lines), encoding="utf-8")
        assert import_batch_results(settings, model.cache, results).failed == 2
    for configuration, names in (
        (settings, {"max_completion_tokens"}),
        (other, {"max_tokens", "temperature"}),
    ):
        with pytest.raises(PlatformError, match=r"^2 requests are written"):
            list(batch_model(configuration).read_prices(price_prompts(2)))
        newest = max(written(configuration), key=lambda path: path.stat().st_mtime_ns)
        sent = {name for one in requests(newest) for name in one["body"]}
        assert sent & {"max_tokens", "max_completion_tokens", "temperature"} == names
    kept = [json.loads(result(one)) for one in requests(written(settings)[-1])]
    results.write_text("\n".join(map(json.dumps, kept)), encoding="utf-8")
    assert import_batch_results(settings, model.cache, results).kept == 2


def test_a_batch_that_does_not_fit_the_budget_is_not_written(tmp_path: Path) -> None:
    settings = configured(tmp_path, llm_budget_tokens=300)
    with pytest.raises(PlatformError, match="PRICING_LLM_BUDGET_TOKENS"):
        list(batch_model(settings).read_prices(price_prompts(50)))
    assert written(settings) == []


def test_results_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    with pytest.raises(PlatformError, match="cannot be read"):
        import_batch_results(settings, batch_model(settings).cache, tmp_path / "none.jsonl")


def test_a_file_that_was_noted_and_not_written_is_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configured(tmp_path)
    killed = batch_model(settings)
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", lambda _file: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            list(killed.read_prices(price_prompts(3)))
    with pytest.raises(PlatformError, match=r"^2 requests are written"):
        list(batch_model(settings).read_prices(price_prompts(2, start=3)))
    with pytest.raises(PlatformError, match=r"^3 requests are written"):
        list(batch_model(settings).read_prices(price_prompts(3)))
    assert sorted(len(requests(path)) for path in written(settings)) == [2, 3]


def test_a_file_that_is_written_anew_takes_its_room_once(tmp_path: Path) -> None:
    model = batch_model(configured(tmp_path))
    with pytest.raises(PlatformError, match="4 requests are written"):
        list(model.read_prices(price_prompts(4)))
    with model.cache._transaction() as connection:
        (tokens,) = connection.execute("SELECT sum(tokens) FROM batch_requests").fetchone()
    for room, told in ((tokens - 1, "PRICING_LLM_BUDGET_TOKENS"), (tokens, "^4 requests are")):
        settings = configured(tmp_path, llm_budget_tokens=room)
        for path in written(settings):
            path.unlink()
        with pytest.raises(PlatformError, match=told):
            list(batch_model(settings).read_prices(price_prompts(4)))


def test_what_a_batch_cost_is_counted_whatever_it_tells_and_brings(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    model = batch_model(settings)
    with pytest.raises(PlatformError):
        list(model.read_prices(price_prompts(3)))
    asked = requests(written(settings)[0])
    worst = model.cache.batch_requests(one["custom_id"] for one in asked)
    without_usage = json.loads(result(asked[0]))
    del without_usage["response"]["body"]["usage"]
    no_choice = json.loads(result(asked[1]))
    no_choice["response"]["body"] |= {"choices": [], "usage": {"prompt_tokens": 70}}
    failed = json.loads(result(asked[2]))
    failed["response"] = {"status_code": 500, "body": {"usage": {"prompt_tokens": 11}}}
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(map(json.dumps, (without_usage, no_choice, failed))))
    told = import_batch_results(settings, model.cache, results)
    assert (told.kept, told.failed) == (1, 2)
    known = worst[asked[0]["custom_id"]].worst
    spending = model.cache.spending()
    assert spending.not_told == known
    assert spending.total.tokens == known.tokens + 70 + 11
    answer = model.cache.find([asked[0]["custom_id"]])[asked[0]["custom_id"]]
    assert (answer.usage.tokens_in, answer.usage.cost_usd) == (known.tokens, known.usd)
