"""The language model behind an OpenAI-compatible endpoint, asked at once or in offline batches.

Here belongs the protocol ``LanguageModel``: which prompts are answered already, and who asks the
rest. The parts of it belong to the other modules of this package.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Self

from pricing_platform.language.endpoint.batches import write_batch
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.costs import CostEstimate
from pricing_platform.language.endpoint.requests import (
    REPLY_VERSION,
    EndpointRequest,
    completion_request,
    price_request,
)
from pricing_platform.language.endpoint.sending import Sending, Unanswered
from pricing_platform.language.endpoint.tokens import TokenCounter
from pricing_platform.language.model import (
    Completion,
    CompletionRequest,
    PriceAnswer,
    Prompt,
    PromptForm,
)
from pricing_platform.language.prompts import Currency
from pricing_platform.language.response_cache import (
    KEPT_OF_BATCHES,
    KEPT_OUTCOMES,
    READING_VERSION,
    KeptAnswer,
    ResponseCache,
    grouped,
)
from pricing_platform.settings import Settings

_log = logging.getLogger(__name__)


def _log_estimate(estimate: CostEstimate) -> None:
    _log.info("%s", estimate.told())


class EndpointLanguageModel:
    """Asks an endpoint what the cache does not know.

    ``report`` is told before each run what it will cost at most.
    """

    def __init__(
        self,
        configuration: EndpointConfiguration,
        cache: ResponseCache,
        *,
        report: Callable[[CostEstimate], None] = _log_estimate,
    ) -> None:
        self.configuration = configuration
        self.cache = cache
        self._report = report
        self._counter = TokenCounter(configuration)
        self._dropped: list[str] = []

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        cache: ResponseCache,
        currency: Currency,
        *,
        report: Callable[[CostEstimate], None] = _log_estimate,
    ) -> Self:
        """The configured endpoint.

        Raises:
            PlatformError: when none is configured.
        """
        configuration = EndpointConfiguration.from_settings(settings, currency.code)
        return cls(configuration, cache, report=report)

    def fine_tuned(self, name: str) -> EndpointLanguageModel:
        """A model of the same endpoint that was fine-tuned to answer in words, not in JSON."""
        changed = replace(self.configuration, model=name, structured_output=False)
        return EndpointLanguageModel(changed, self.cache, report=self._report)

    @property
    def name(self) -> str:
        """The endpoint's name of the model."""
        return self.configuration.model

    @property
    def identity(self) -> str:
        """The endpoint, the model, and the parameters that its answers follow from.

        The window and the tokenizer are among them, because they decide what of a prompt is cut.
        """
        c = self.configuration
        how = [c.known_url, c.model, c.api, c.structured_output, c.calls_tools, c.top_logprobs]
        asked = [c.answer_tokens, dict(c.extra_body)]
        versions = [READING_VERSION, REPLY_VERSION]
        return json.dumps([*versions, *how, c.context_window, self._counter.sha256, asked])

    @property
    def base_weights(self) -> dict[str, str]:
        """None are on this machine."""
        return {}

    @property
    def context_window(self) -> int:
        """As configured."""
        return self.configuration.context_window

    @property
    def prompt_forms(self) -> tuple[PromptForm, ...]:
        """Turns alone: the server writes them as its model knows them."""
        return ("chat",)

    @property
    def calls_tools(self) -> bool:
        """As configured; the completions interface has no tools."""
        return self.configuration.calls_tools

    def count_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        """By the configured tokenizer, or three bytes a token; a chat's turns are approximate."""
        return self._counter.count(prompts)

    def estimate_cost_usd(self, tokens_in: int, tokens_out: int) -> float:
        """By the configured prices, nothing in the provider's cache."""
        return self.configuration.prices.cost(tokens_in, tokens_out)

    def estimate(
        self, prompts: Sequence[Prompt], request: CompletionRequest | None = None
    ) -> CostEstimate:
        """What asking will cost; without a request, that of reading prices."""
        requests = self._requests(prompts, request)
        indices = grouped([one.key for one in requests])
        known = self._known(indices)
        missing = [places[0] for key, places in indices.items() if key not in known]
        return self._estimate(prompts, requests, missing)

    def read_prices(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, PriceAnswer]]:
        """Kept answers first, then the others as they come.

        Raises:
            PlatformError: when every call would fail, the budget has no room for the next one, or
                requests were written for a batch; after the answers that there are.
        """
        answers = self._answers(prompts, self._requests(prompts, None))
        return ((index, answer.price()) for index, answer in answers)

    def complete(
        self, prompts: Sequence[Prompt], request: CompletionRequest
    ) -> Iterator[tuple[int, Completion]]:
        """Kept answers first, then the others as they come; raises as ``read_prices`` does."""
        answers = self._answers(prompts, self._requests(prompts, request))
        return ((index, answer.completion()) for index, answer in answers)

    def _requests(
        self, prompts: Sequence[Prompt], request: CompletionRequest | None
    ) -> list[EndpointRequest]:
        if request is None:
            return [price_request(prompt, self.configuration) for prompt in prompts]
        return [completion_request(prompt, request, self.configuration) for prompt in prompts]

    def _answers(
        self, prompts: Sequence[Prompt], requests: Sequence[EndpointRequest]
    ) -> Iterator[tuple[int, KeptAnswer]]:
        indices = grouped([one.key for one in requests])
        known = self._known(indices)
        for key, answer in known.items():
            for index in indices[key]:
                yield index, answer.again()
        missing = [places[0] for key, places in indices.items() if key not in known]
        if not missing:
            return
        self._report(self._estimate(prompts, requests, missing))
        unanswered = [self._unanswered(prompts[place], requests[place]) for place in missing]
        counts = {"total": len(indices), "known": len(known)}
        if self.configuration.batches_folder is not None:
            raise write_batch(self.configuration, self.cache, unanswered, **counts)
        sending = Sending(
            self.configuration, self.cache, unanswered, dropped=self._dropped, **counts
        )
        for key, answer in sending.answers():
            first, *equal = indices[key]
            yield first, answer
            for index in equal:
                yield index, answer.again()

    def _known(self, keys: Iterable[str]) -> dict[str, KeptAnswer]:
        """What is kept; one who can ask at once asks again for what a batch could not answer."""
        in_batches = self.configuration.batches_folder is not None
        return self.cache.find(keys, KEPT_OF_BATCHES if in_batches else KEPT_OUTCOMES)

    def _unanswered(self, prompt: Prompt, request: EndpointRequest) -> Unanswered:
        tools = json.dumps(request.body["tools"]) if "tools" in request.body else ""
        schema = json.dumps(request.body.get("response_format") or "")
        most = self._counter.most(prompt, tools + schema)
        return Unanswered(request, self._counter.count([prompt])[0], most)

    def _estimate(
        self,
        prompts: Sequence[Prompt],
        requests: Sequence[EndpointRequest],
        missing: Sequence[int],
    ) -> CostEstimate:
        tokens_in = sum(self._counter.count([prompts[place] for place in missing]))
        tokens_out = sum(requests[place].most_tokens_out for place in missing)
        equal = {requests[place].key for place in missing}
        asked = sum(request.key in equal for request in requests)
        usd = self.configuration.prices.worst(tokens_in, tokens_out)
        return CostEstimate(len(prompts), len(prompts) - asked, tokens_in, tokens_out, usd)
