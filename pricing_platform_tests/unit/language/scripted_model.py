"""A language model whose answers a test writes down: what is tested is what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pricing_platform.language.model import (
    Completion,
    CompletionRequest,
    PriceAnswer,
    Prompt,
    PromptForm,
    Usage,
)

Pricing = Callable[[Prompt], PriceAnswer]
Completing = Callable[[Prompt, CompletionRequest], Completion]
USAGE = Usage(tokens_in=10, tokens_cached=4, tokens_out=2, latency_ms=1.5, cost_usd=0.001)


def forty_two(_prompt: Prompt) -> PriceAnswer:
    return PriceAnswer(USAGE, text="42")


def nothing(_prompt: Prompt, _request: CompletionRequest) -> Completion:
    return Completion(USAGE)


class ScriptedModel:
    """Answers in reverse order, as a model may; a token is a word. It keeps what it was asked."""

    def __init__(
        self,
        price: Pricing = forty_two,
        complete: Completing = nothing,
        *,
        context_window: int = 4096,
        calls_tools: bool = False,
        prompt_forms: tuple[PromptForm, ...] = ("chat",),
    ) -> None:
        self._price = price
        self._complete = complete
        self._context_window = context_window
        self._calls_tools = calls_tools
        self.prompt_forms = prompt_forms
        self.priced: list[Prompt] = []
        self.completed: list[Prompt] = []
        self.requests: list[CompletionRequest] = []

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def identity(self) -> str:
        return "scripted"

    @property
    def base_weights(self) -> dict[str, str]:
        return {"scripted": "0" * 64}

    @property
    def context_window(self) -> int:
        return self._context_window

    @property
    def calls_tools(self) -> bool:
        return self._calls_tools

    def count_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        return [len(prompt.as_text().split()) for prompt in prompts]

    def read_prices(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, PriceAnswer]]:
        self.priced.extend(prompts)
        for place in reversed(range(len(prompts))):
            yield place, self._price(prompts[place])

    def complete(
        self, prompts: Sequence[Prompt], request: CompletionRequest
    ) -> Iterator[tuple[int, Completion]]:
        self.completed.extend(prompts)
        self.requests.append(request)
        for place in reversed(range(len(prompts))):
            yield place, self._complete(prompts[place], request)

    def estimate_cost_usd(self, tokens_in: int, tokens_out: int) -> float:
        return 0.0
