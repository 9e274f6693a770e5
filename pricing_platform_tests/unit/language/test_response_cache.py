"""Keeping answers: what is kept, that it comes back the same, and who may ask when."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.errors import PlatformError
from pricing_platform.language import response_cache
from pricing_platform.language.model import (
    Completion,
    CompletionRequest,
    LanguageModel,
    Message,
    Outcome,
    PriceAnswer,
    Prompt,
    PromptForm,
    ToolCall,
    Usage,
)
from pricing_platform.language.price_distribution import PriceDistribution
from pricing_platform.language.response_cache import (
    BatchRequest,
    Budget,
    CachedLanguageModel,
    Cost,
    KeptAnswer,
    ResponseCache,
    request_key,
)

USAGE = Usage(10, 2, 3, 12.5, 0.25, 2)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ResponseCache]:
    cache = ResponseCache(tmp_path / "home" / "language_responses.sqlite")
    yield cache
    cache.close()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=40, unique=True),
    st.floats(0.1, 50.0),
    st.text(max_size=50),
)
def test_an_answer_comes_back_as_it_was_kept(
    tmp_path_factory: pytest.TempPathFactory, prices: list[int], width: float, text: str
) -> None:
    ascending = np.array(sorted(prices), dtype=np.float64)
    likely = np.exp(-np.abs(ascending - ascending[0]) / width).astype(np.float32)
    answer = KeptAnswer.of(PriceAnswer(USAGE, PriceDistribution(ascending, likely), text))
    cache = ResponseCache(tmp_path_factory.mktemp("cache") / "c.sqlite")
    cache.keep("k", "price", "m", answer)
    found = cache.find(["k"])["k"]
    cache.close()
    assert found.distribution is not None
    assert answer.distribution is not None
    assert np.array_equal(found.distribution.prices, ascending)
    assert np.array_equal(found.distribution.probabilities, answer.distribution.probabilities)
    assert replace(found, distribution=None) == replace(answer, distribution=None)
    given_median = PriceDistribution(ascending, likely).quantile(0.5)
    assert found.distribution.quantile(0.5) == pytest.approx(given_median, abs=0.01)


def test_a_thousand_prices_take_two_kilobytes(cache: ResponseCache) -> None:
    prices = np.arange(1, 1001, dtype=np.float64)
    even = PriceDistribution(prices, np.full(1000, 0.001, np.float32))
    for number in range(100):
        answer = PriceAnswer(USAGE, even, "12")
        cache.keep(str(number), "price", "m", KeptAnswer.of(answer))
    cache.close()
    assert cache.path.stat().st_size < 100 * 4500


def test_calls_of_tools_come_back(cache: ResponseCache) -> None:
    said = Completion(USAGE, "", (ToolCall("c1", "find", '{"k": 3}'),))
    cache.keep("k", "completion", "m", KeptAnswer.of(said))
    assert cache.find(["k", "other"])["k"].completion() == said


def test_a_row_that_cannot_be_read_is_no_answer(cache: ResponseCache) -> None:
    cache.keep("k", "price", "m", KeptAnswer(USAGE, "12"))
    with cache._transaction() as connection:
        connection.execute("UPDATE responses SET answer = '{\"usage\": 1}'")
    assert cache.find(["k"]) == {}


def test_a_damaged_file_is_told(cache: ResponseCache) -> None:
    cache.path.parent.mkdir()
    cache.path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(PlatformError, match="is damaged"):
        cache.find(["k"])


@pytest.mark.parametrize("text", ["database is locked", "disk I/O error", "unable to open"])
def test_a_file_that_cannot_be_used_is_told_and_used_again(cache: ResponseCache, text: str) -> None:
    with pytest.raises(PlatformError, match=text), cache._transaction():
        raise sqlite3.OperationalError(text)
    assert cache.claim("k", Cost(), Budget()) == "mine"


def test_a_commit_that_fails_is_told_and_leaves_no_transaction(cache: ResponseCache) -> None:
    with pytest.raises(PlatformError, match="cannot be used"), cache._transaction() as connection:
        connection.execute("COMMIT")  # the next one finds none
    connection = cache._open()
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE a (x PRIMARY KEY)")
    connection.execute("CREATE TABLE b (x REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError), cache._transaction():
        connection.execute("INSERT INTO b VALUES (1)")  # COMMIT finds that a has none
    assert cache.claim("k", Cost(), Budget()) == "mine"


def test_how_an_answer_is_read_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = request_key("a", "price", "p")
    monkeypatch.setattr(response_cache, "READING_VERSION", response_cache.READING_VERSION + 1)
    assert request_key("a", "price", "p") != before


def test_the_key_follows_from_each_part() -> None:
    keys = {
        request_key(identity, kind, prompt)
        for identity in ("a", "b")
        for kind in ("price", "completion")
        for prompt in ("p", "q")
    }
    assert len(keys) == 8


def test_one_asks_at_a_time(cache: ResponseCache) -> None:
    other = ResponseCache(cache.path)
    assert cache.claim("k", Cost(), Budget()) == "mine"
    assert other.claim("k", Cost(), Budget()) == "elsewhere"
    cache.release("k")
    assert other.claim("k", Cost(), Budget()) == "mine"
    other.keep("k", "price", "m", KeptAnswer(USAGE, "12"))
    assert cache.claim("k", Cost(), Budget()) == "answered"
    other.close()


def test_calls_under_way_take_room_of_the_budget(cache: ResponseCache) -> None:
    budget = Budget(usd=1.0, tokens=100)
    assert cache.claim("a", Cost(60, 0.1), budget) == "mine"
    assert cache.claim("b", Cost(60, 0.1), budget) == "no room now"
    assert cache.claim("b", Cost(10, 0.95), budget) == "no room now"
    cache.keep("a", "price", "m", KeptAnswer(USAGE, "12"), Cost(30, 0.05))
    assert cache.claim("b", Cost(60, 0.1), budget) == "mine"
    assert cache.claim("c", Cost(71, 0.0), budget) == "no room"
    assert cache.spending().total == Cost(30, 0.05)


def test_what_a_killed_process_asked_counts_in_full_and_may_be_asked_again(
    cache: ResponseCache,
) -> None:
    program = (
        "import sys, os, signal; from pathlib import Path;"
        "from pricing_platform.language.response_cache import *;"
        "cache = ResponseCache(Path(sys.argv[1]));"
        "assert cache.claim('k', Cost(70, 0.5), Budget()) == 'mine';"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(cache.path)], env=os.environ)
    assert ended.returncode == -9
    assert cache.claim("k", Cost(70, 0.5), Budget(tokens=139)) == "no room"
    assert cache.spending().not_told == Cost(70, 0.5)
    assert cache.claim("k", Cost(70, 0.5), Budget(tokens=140)) == "mine"


def test_what_waits_in_a_batch_is_not_waited_for(cache: ResponseCache) -> None:
    cache.add_batch_requests([BatchRequest("b", "f", "{}", Cost(60, 0.0))])
    assert cache.claim("a", Cost(50, 0.0), Budget(tokens=100)) == "no room"
    cache.remove_batch_request("b")
    assert cache.claim("a", Cost(50, 0.0), Budget(tokens=100)) == "mine"


def test_a_dead_process_holds_no_room(cache: ResponseCache) -> None:
    with cache._transaction() as connection:
        connection.execute("INSERT INTO claims VALUES ('d', '999999999:1.0:x', 40, 0)")
    assert cache.claim("a", Cost(80, 0.0), Budget(tokens=100)) == "no room"
    assert cache.spending().not_told == Cost(40, 0.0)


class CountingModel:
    """Answers 12 to each, and counts what it was asked."""

    name = "counting"
    identity = "counting-1"
    base_weights: dict[str, str] = {}  # noqa: RUF012
    context_window = 100
    prompt_forms: tuple[PromptForm, ...] = ("plain", "chat")
    calls_tools = False

    def __init__(self, outcome: Outcome = "answered") -> None:
        self.asked: list[list[str]] = []
        self.outcome = outcome

    def count_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        return [len(prompt.as_text()) for prompt in prompts]

    def read_prices(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, PriceAnswer]]:
        self.asked.append([prompt.item_id for prompt in prompts])
        for index in reversed(range(len(prompts))):
            yield index, PriceAnswer(USAGE, text=prompts[index].item_id, outcome=self.outcome)

    def complete(
        self, prompts: Sequence[Prompt], request: CompletionRequest
    ) -> Iterator[tuple[int, Completion]]:
        self.asked.append([prompt.item_id for prompt in prompts])
        for index, prompt in enumerate(prompts):
            yield index, Completion(USAGE, f"{prompt.item_id} {request.max_tokens}")

    def estimate_cost_usd(self, tokens_in: int, tokens_out: int) -> float:
        return 0.0


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt((Message("user", text),), "Price: $", text) for text in texts]


def test_the_inner_model_is_asked_for_what_is_missing_in_one_call(cache: ResponseCache) -> None:
    inner = CountingModel()
    model = CachedLanguageModel(inner, cache)
    assert isinstance(model, LanguageModel)
    list(model.read_prices(prompts("b")))
    answers = dict(model.read_prices(prompts("a", "b", "a", "c")))
    assert {index: answer.text for index, answer in answers.items()} == dict(enumerate("abac"))
    assert inner.asked == [["b"], ["a", "c"]]
    assert [answers[index].usage.from_cache for index in range(4)] == [False, True, True, False]


def test_what_was_answered_before_the_run_broke_off_is_kept(cache: ResponseCache) -> None:
    inner = CountingModel()
    model = CachedLanguageModel(inner, cache, together=2)
    for _ in model.read_prices(prompts("a", "b", "c", "d", "e")):
        break
    list(model.read_prices(prompts("a", "b", "c", "d", "e")))
    assert inner.asked == [["a", "b"], ["c", "d"], ["e"]]


def test_what_is_asked_together_is_kept_together(cache: ResponseCache) -> None:
    class BreakingOff(CountingModel):
        def read_prices(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, PriceAnswer]]:
            yield next(super().read_prices(prompts))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(CachedLanguageModel(BreakingOff(), cache).read_prices(prompts("a", "b")))
    inner = CountingModel()
    list(CachedLanguageModel(inner, cache).read_prices(prompts("a", "b")))
    assert inner.asked == [["a", "b"]]


def test_failures_are_not_kept_and_refusals_are(cache: ResponseCache) -> None:
    for outcome, times in (("timed_out", 2), ("refused", 1)):
        inner = CountingModel(outcome)  # type: ignore[arg-type]
        inner.identity = outcome
        for _ in range(2):
            list(CachedLanguageModel(inner, cache).read_prices(prompts("a")))
        assert len(inner.asked) == times


def test_another_request_or_model_is_another_question(cache: ResponseCache) -> None:
    inner = CountingModel()
    model = CachedLanguageModel(inner, cache)
    for request in (CompletionRequest(5), CompletionRequest(6), CompletionRequest(5, ("x",))):
        list(model.complete(prompts("a"), request))
    list(model.read_prices(prompts("a")))
    inner.identity = "counting-2"
    list(model.complete(prompts("a"), CompletionRequest(5)))
    assert len(inner.asked) == 5
    assert [a.text for _, a in model.complete(prompts("a"), CompletionRequest(5))] == ["a 5"]
    assert len(inner.asked) == 5
