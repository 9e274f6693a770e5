"""Sending requests: so many at once, again where that may help, within the budget.

Here belongs one run: the requests of one call of the model that nobody has answered. It has an
event loop of its own, in a thread of its own, so that answers come as they are ready and the
caller's work does not hold up the calls that are under way. Nor does the file of answers, which
another process may hold: a second thread waits for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint import failures
from pricing_platform.language.endpoint.client import QUIET, async_client
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.failures import Failure
from pricing_platform.language.endpoint.replies import (
    Reply,
    ThoughtsOnlyError,
    UnreadableReplyError,
    read_reply,
)
from pricing_platform.language.endpoint.requests import EndpointRequest
from pricing_platform.language.endpoint.response_bodies import ReportedUsage
from pricing_platform.language.endpoint.told_errors import (
    ToldError,
    error_in,
    page_text,
)
from pricing_platform.language.model import Outcome, Usage
from pricing_platform.language.response_cache import (
    KEPT_OUTCOMES,
    Cost,
    KeptAnswer,
    ResponseCache,
)

if TYPE_CHECKING:
    import openai

_T = TypeVar("_T")
_LOOK_AGAIN_SECONDS = 0.02
_ANSWERED: frozenset[Outcome] = frozenset({"answered", "refused", "too_long"})


@dataclass(frozen=True)
class Unanswered:
    """A request, the tokens its prompt has by our count, and the most that asking can cost."""

    request: EndpointRequest
    tokens_in: int
    most_tokens_in: int


@dataclass(frozen=True)
class _End:
    error: BaseException | None


_LEAST_READ, _LEAST_READ_BY_LENGTH = 0.8, 0.45
"""Of the tokens of a prompt, what a server reads at least that does not cut it: by its tokenizer,
and by three bytes a token, which is more than most texts have."""

_FEW_TOKENS = 200
_log = logging.getLogger(__name__)


class Sending:
    """One run; ``total`` and ``known`` say of how many prompts how many were answered before.

    ``dropped`` are parameters that the server does not know; what a run learns of them is added.
    """

    def __init__(
        self,
        configuration: EndpointConfiguration,
        cache: ResponseCache,
        unanswered: Sequence[Unanswered],
        *,
        dropped: list[str],
        total: int,
        known: int,
    ) -> None:
        self._configuration = configuration
        self._cache = cache
        self._waiting = deque(unanswered)
        self._total = total
        self._answered = known
        self._any_answered = False
        self._failures_in_a_row = 0
        self._end: BaseException | None = None
        self._stopped = threading.Event()
        self._not_before = 0.0
        self._told_of_cut = False
        self._dropped = dropped
        self._results: queue.SimpleQueue[tuple[str, KeptAnswer] | _End] = queue.SimpleQueue()
        # One thread, because what is done in the file is done one thing after the other.
        self._keeper = ThreadPoolExecutor(1, "language-model-answers")

    def answers(self) -> Iterator[tuple[str, KeptAnswer]]:
        """Key and answer of each request as they come.

        One who stops listening stops the sending; the calls under way end and are kept.

        Raises:
            PlatformError: when every other call would fail too, or the budget is spent; answers
                that were there have come before.
        """
        thread = threading.Thread(target=self._in_thread, name="language-model-calls", daemon=True)
        thread.start()
        try:
            while not isinstance(result := self._results.get(), _End):
                yield result
        finally:
            self._stopped.set()
            thread.join()
        if result.error is not None:
            raise result.error

    def _in_thread(self) -> None:
        try:
            with self._keeper:
                self._cache.write_off_dead()
                asyncio.run(self._run())
        except BaseException as error:  # a defect is told where the answers are awaited
            self._end = self._end or error
        finally:
            self._results.put(_End(self._end))

    async def _run(self) -> None:
        with QUIET:
            async with async_client(self._configuration) as client, asyncio.TaskGroup() as group:
                for _ in range(min(self._configuration.concurrency, len(self._waiting))):
                    group.create_task(self._work(client))

    async def _work(self, client: openai.AsyncOpenAI) -> None:
        while self._waiting and not self._stopped.is_set():
            unanswered = self._waiting.popleft()
            try:
                answer = await self._answer(client, unanswered)
            except Exception as error:
                self._stop(error)
                return
            if answer is not None:
                self._deliver(unanswered.request.key, answer)

    def _deliver(self, key: str, answer: KeptAnswer) -> None:
        self._results.put((key, answer))
        self._any_answered |= answer.outcome in _ANSWERED
        self._answered += answer.outcome in KEPT_OUTCOMES
        if self._failures_in_a_row >= 2 * self._configuration.concurrency:
            self._stop(self._is_down(answer))

    def _stop(self, error: BaseException) -> None:
        self._end = self._end or error
        self._stopped.set()

    async def _answer(
        self, client: openai.AsyncOpenAI, unanswered: Unanswered
    ) -> KeptAnswer | None:
        """The answer, or None where the run was stopped before there was one."""
        request, worst = unanswered.request, self._worst(unanswered)
        while not self._stopped.is_set():
            budget = self._configuration.budget
            claim = await self._in_file(self._cache.claim, request.key, worst, budget)
            if claim == "mine":
                answer = None
                try:
                    answer = await self._ask(client, unanswered)
                    return answer
                finally:
                    if answer is None or answer.outcome not in KEPT_OUTCOMES:
                        await self._in_file(self._cache.release, request.key)
            if claim == "answered":
                found = (await self._in_file(self._cache.find, [request.key])).get(request.key)
                if found is not None:
                    return found.again()
            if claim == "no room":
                self._stop(await self._is_spent(worst))
                return None
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return None

    async def _ask(self, client: openai.AsyncOpenAI, unanswered: Unanswered) -> KeptAnswer | None:
        """Sends until there is an answer, or the last attempt has failed."""
        attempt, used = 0, Usage()
        while True:
            attempt += 1
            await self._wait_for_server()
            if self._stopped.is_set():
                return None
            body = failures.without_parameters(unanswered.request.body, self._dropped)
            started = time.perf_counter()
            result = await self._attempt(client, unanswered.request, body, unanswered.tokens_in)
            milliseconds = (time.perf_counter() - started) * 1000
            if isinstance(result, Reply):
                self._failures_in_a_row = 0
                used = replace(used, latency_ms=milliseconds, attempts=attempt)
                return await self._kept(unanswered, result, used)
            if result.without is not None and result.without in body:
                self._dropped += [] if result.without in self._dropped else [result.without]
                attempt -= 1  # the server refused a parameter, not the call
                continue
            lost = self._lost(unanswered, result)
            used = replace(_sum(used, lost), latency_ms=milliseconds, attempts=attempt)
            has_room = await self._charge(lost, told=result.usage is not None)
            if result.end is not None:
                self._stop(result.end)
                return None
            if not result.again or attempt >= self._configuration.attempts:
                return await self._failed(unanswered.request, result, used)
            if not has_room:
                self._stop(await self._is_spent(self._worst(unanswered)))
                return None
            await self._sleep(self._delay(attempt, result))

    async def _attempt(
        self,
        client: openai.AsyncOpenAI,
        request: EndpointRequest,
        body: dict[str, object],
        tokens_in: int,
    ) -> Reply | Failure:
        import httpx2
        import openai

        try:
            async with asyncio.timeout(self._configuration.timeout_seconds):
                # The raw response: what servers really send is read and validated by replies.
                response = await client.post(request.path, cast_to=httpx2.Response, body=body)
            text = self._configuration.masked_answer(response.text)
            reply = read_reply(text, request.reading)
            return self._whole(reply, tokens_in)
        except ToldError as error:
            return failures.told_in_answer(
                error, self._configuration, any_answered=self._any_answered, sent=body.keys()
            )
        except ThoughtsOnlyError as error:
            return failures.thoughts_only(
                error.reason, error.usage, self._configuration, any_answered=self._any_answered
            )
        except UnreadableReplyError as error:
            reason = self._configuration.masked(error.reason)
            return failures.unreadable(reason, error.usage, again=error.again)
        except (TimeoutError, openai.APITimeoutError):
            return failures.timed_out(self._configuration)
        except openai.APIStatusError as error:
            return failures.refused_status(
                error.status_code,
                error.response.headers,
                error.response.text,
                self._configuration,
                any_answered=self._any_answered,
                sent=body.keys(),
            )
        except openai.APIConnectionError as error:
            return failures.not_connected(
                error, self._configuration, any_answered=self._any_answered
            )

    def _whole(self, reply: Reply, tokens_in: int) -> Reply | Failure:
        """The reply, unless the server cut its prompt, which is told of once."""
        has_tokenizer = self._configuration.tokenizer is not None
        least = (_LEAST_READ if has_tokenizer else _LEAST_READ_BY_LENGTH) * tokens_in
        if reply.usage is None or reply.usage.read_tokens >= min(least, tokens_in - _FEW_TOKENS):
            return reply
        failure = failures.cut_prompt(tokens_in, reply.usage)
        if not self._told_of_cut:
            self._told_of_cut = True
            _log.warning("%s %s", self._configuration.shown_url, failure.reason)
        return failure

    async def _kept(self, unanswered: Unanswered, reply: Reply, before: Usage) -> KeptAnswer:
        """Keeps the answer; ``before``: what the attempts before took, counted already."""
        request = unanswered.request
        told = reply.usage is not None
        last = usage_of(reply.usage, self._configuration) if reply.usage else self._most(unanswered)
        answer = answer_of(reply, _sum(before, last))
        await self._keep(request, answer, _cost(last), told=told)
        return answer

    async def _failed(self, request: EndpointRequest, failure: Failure, used: Usage) -> KeptAnswer:
        """The end of a call without an answer, which is kept where it would end so again."""
        of_the_call = failure.server_lives and (self._answered > 0 or not failure.unexplained)
        self._failures_in_a_row = 0 if of_the_call else self._failures_in_a_row + 1
        answer = KeptAnswer(used, outcome=failure.outcome, reason=failure.reason)
        if answer.outcome in KEPT_OUTCOMES:
            await self._keep(request, answer)
        return answer

    async def _keep(
        self,
        request: EndpointRequest,
        answer: KeptAnswer,
        spent: Cost | None = None,
        *,
        told: bool = True,
    ) -> None:
        key, kind, name = request.key, request.reading.kind, self._configuration.model
        await self._in_file(self._cache.keep, key, kind, name, answer, spent, told=told)

    async def _in_file(self, use: Callable[..., _T], *arguments: object, **named: object) -> _T:
        """What a use of the file of answers gives; the other calls go on while it is waited for."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._keeper, partial(use, *arguments, **named))

    def _lost(self, unanswered: Unanswered, failure: Failure) -> Usage:
        """What an attempt took that failed; at the most it can be where the server told nothing."""
        if failure.usage is not None:
            return usage_of(failure.usage, self._configuration)
        return self._most(unanswered) if failure.may_be_billed else Usage()

    async def _charge(self, lost: Usage, *, told: bool) -> bool:
        budget = self._configuration.budget
        return await self._in_file(self._cache.charge, _cost(lost), budget, told=told)

    def _most(self, unanswered: Unanswered) -> Usage:
        tokens_out = unanswered.request.most_tokens_out
        usd = self._worst(unanswered).usd
        return Usage(unanswered.most_tokens_in, tokens_out=tokens_out, cost_usd=usd)

    def _worst(self, unanswered: Unanswered) -> Cost:
        return worst_cost(unanswered, self._configuration)

    def _delay(self, attempt: int, failure: Failure) -> float:
        longest = self._configuration.longest_delay_seconds
        if failure.after is not None:
            asked = min(failure.after, longest)
            self._not_before = max(self._not_before, time.monotonic() + asked)
            return asked + random.uniform(0.0, self._configuration.first_delay_seconds)  # noqa: S311
        doubled = self._configuration.first_delay_seconds * 2.0 ** min(attempt - 1, 20)
        return min(doubled, longest) * random.uniform(0.5, 1.0)  # noqa: S311

    async def _wait_for_server(self) -> None:
        """What the server asked of one call with Retry-After it meant for all."""
        await self._sleep(self._not_before - time.monotonic())

    async def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopped.is_set():
            await asyncio.sleep(min(left, 0.25))

    def _is_down(self, last: KeptAnswer) -> PlatformError:
        no_more = "no more" if self._answered else "no call"
        return PlatformError(
            f"The endpoint {self._configuration.shown_url} answers {no_more}:"
            f" {self._failures_in_a_row} calls failed one after another, the last with:"
            f" {last.reason} {self._answered} of {self._total} prompts are answered.",
            "See to the server and run again: what was answered is kept and not asked again.",
        )

    async def _is_spent(self, worst: Cost) -> PlatformError:
        return await self._in_file(
            budget_error, self._configuration, self._cache, worst, self._answered, self._total
        )


def worst_cost(unanswered: Unanswered, configuration: EndpointConfiguration) -> Cost:
    """The most that one attempt can cost."""
    tokens_in, tokens_out = unanswered.most_tokens_in, unanswered.request.most_tokens_out
    return Cost(tokens_in + tokens_out, configuration.prices.worst(tokens_in, tokens_out))


def usage_of(reported: ReportedUsage, configuration: EndpointConfiguration) -> Usage:
    """What the server says that one attempt took, at the configured prices."""
    tokens = reported.prompt_tokens, reported.cached_tokens, reported.completion_tokens
    tokens_in, cached, tokens_out = tokens
    cost = configuration.prices.cost(tokens_in, tokens_out, cached)
    return Usage(tokens_in, cached, tokens_out, cost_usd=cost)


def answer_of(reply: Reply, usage: Usage) -> KeptAnswer:
    """A reply with what it took; a live one and one of a batch become the same."""
    calls, outcome = reply.tool_calls, reply.outcome
    answer = KeptAnswer(usage, reply.text, calls, reply.distribution, outcome, reply.reason)
    return answer.as_kept()


def budget_error(
    configuration: EndpointConfiguration,
    cache: ResponseCache,
    worst: Cost,
    answered: int,
    total: int,
) -> PlatformError:
    """What is said when the next call, or the batch, does not fit the budget."""
    spending = cache.spending()
    limits, names = [], []
    budget = configuration.budget
    if budget.usd is not None:
        limits.append(f"{spending.total.usd:.6f} of {budget.usd:g} USD")
        names.append("PRICING_LLM_BUDGET_USD")
    if budget.tokens is not None:
        limits.append(f"{spending.total.tokens:,} of {budget.tokens:,} tokens")
        names.append("PRICING_LLM_BUDGET_TOKENS")
    lost = spending.not_told
    doubt = (
        f" (of it {lost.tokens:,} tokens, {lost.usd:.6f} USD, at most, for calls that never told"
        " what they cost)"
        if lost.tokens
        else ""
    )
    return PlatformError(
        f"The budget has no room for the next call, which may take {worst.tokens:,} tokens and"
        f" {worst.usd:.6f} USD: {' and '.join(limits)} are spent{doubt}."
        f" {answered} of {total} prompts are answered.",
        f"Raise {' or '.join(names)} and run again: it goes on with those that are not answered.",
    )


def _cost(usage: Usage) -> Cost:
    return Cost(usage.tokens_in + usage.tokens_out, usage.cost_usd)


def _sum(before: Usage, last: Usage) -> Usage:
    """Tokens and cost of both; the rest is the first's."""
    return replace(
        before,
        tokens_in=before.tokens_in + last.tokens_in,
        tokens_cached=before.tokens_cached + last.tokens_cached,
        tokens_out=before.tokens_out + last.tokens_out,
        cost_usd=before.cost_usd + last.cost_usd,
    )


def listed_models(configuration: EndpointConfiguration) -> list[str] | None:
    """The names of the models that an endpoint lists, which costs nothing; None if it lists none.

    Raises:
        PlatformError: when it can't be reached, or does not let us in.
    """
    import httpx2
    import openai

    async def ask() -> list[str]:
        async with async_client(configuration) as client:
            response = await client.get("/models", cast_to=httpx2.Response)
            if response.text.lstrip().startswith("<"):
                raise _told(page_text(response.text))
            found = json.loads(response.text)
            listed = isinstance(found, dict) and isinstance(found.get("data"), list)
            if not listed and (words := error_in(found)) is not None:
                raise _told(words.text or words.names)
            return [str(model["id"]) for model in found["data"]]

    def _told(said: str) -> PlatformError:
        told = configuration.masked(said)[:300]
        return PlatformError(
            f"What {configuration.shown_url} answers is an error: {told}.",
            "Set PRICING_LLM_BASE_URL to the address that /chat/completions follows: most end in"
            " /v1.",
        )

    try:
        with QUIET:
            return asyncio.run(ask())
    except openai.APITimeoutError:
        reason = failures.timed_out(configuration).reason
    except openai.APIConnectionError as error:
        reason = failures.not_connected(error, configuration, any_answered=True).reason
    except openai.APIStatusError as error:
        if error.status_code not in (401, 403):
            return None
        reason = f"It answers {error.status_code}: PRICING_LLM_API_KEY is not one that it knows."
    except (openai.OpenAIError, ValueError, TypeError, KeyError):  # an answer of another kind
        return None
    raise PlatformError(
        f"The endpoint of {configuration.model} cannot be used. {reason}",
        "See that the server runs, and that PRICING_LLM_BASE_URL and PRICING_LLM_API_KEY fit it.",
    )
