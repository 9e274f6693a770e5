"""The protocol behind which every language model stands, and the records that cross it.

Here belongs what a model on this machine and one behind an endpoint have in common. How either
computes its answers belongs to ``local`` and ``endpoint``; what is asked belongs to ``prompts``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from pydantic import BaseModel, JsonValue

from pricing_platform.language.price_distribution import PriceDistribution

Role = Literal["system", "user", "assistant", "tool"]
PromptForm = Literal["chat", "plain"]
"""How a prompt is written: turns with instructions and tags, or a text that the model goes on."""


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asked for: ``arguments`` are as it wrote them, not yet validated."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    ``tool_calls`` are those that an assistant's turn asked for; ``call_id`` names the call that a
    tool's turn answers.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None


@dataclass(frozen=True)
class Prompt:
    """A conversation and how the model's answer begins.

    ``answer_prefix`` is put into the model's mouth where it can be (as ``Price: $``); ``item_id``
    and ``step`` say in the ledger whom and what the call was for, and are not sent. No chat
    template is put around a prompt whose ``form`` is plain.
    """

    messages: tuple[Message, ...]
    answer_prefix: str = ""
    item_id: str = ""
    step: str = "price"
    form: PromptForm = "chat"

    def as_text(self) -> str:
        """The whole as a model reads it that has no chat template: the turns, a line each."""
        return "".join(f"{at.content}\n" for at in self.messages) + self.answer_prefix


@dataclass(frozen=True)
class Tool:
    """A function that a model may call: ``arguments`` validates what it passes."""

    name: str
    description: str
    arguments: type[BaseModel]

    def json_schema(self) -> dict[str, JsonValue]:
        """The JSON schema of the arguments."""
        return self.arguments.model_json_schema()

    def as_function(self) -> dict[str, JsonValue]:
        """The tool as models are told of it that are trained to call functions."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": self.json_schema(),
            },
        }


Outcome = Literal[
    "answered",
    "refused",  # the server or the model would not answer
    "rate_limited",  # 429 to the end of the attempts
    "server_error",  # 5xx to the end of the attempts
    "timed_out",
    "unreadable",  # half a JSON, an empty body, no choice in it
    "unusable",  # the call was answered, but what it said cannot be used
    "too_long",  # the prompt does not fit the context window
    "failed",
]


@dataclass(frozen=True)
class Usage:
    """What one call took: tokens, USD, milliseconds, and how many times it was sent.

    ``from_cache`` says that it was not sent now: the figures are those of when it was.
    """

    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    latency_ms: float = 0.0
    cost_usd: float = 0.0
    attempts: int = 1
    from_cache: bool = False


@dataclass(frozen=True)
class PriceAnswer:
    """What a model says a product costs: a distribution where its probabilities are known.

    Otherwise ``text`` is what it wrote, which need not hold a price. ``outcome`` other than
    ``answered`` comes with the ``reason``, in words for people.
    """

    usage: Usage
    distribution: PriceDistribution | None = None
    text: str | None = None
    outcome: Outcome = "answered"
    reason: str | None = None


@dataclass(frozen=True)
class Completion:
    """What a model wrote, without the prompt's ``answer_prefix``, and the calls it asked for."""

    usage: Usage
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    outcome: Outcome = "answered"
    reason: str | None = None


@dataclass(frozen=True)
class CompletionRequest:
    """How a completion is to be made, the same for all prompts of a call; greedy, not sampled.

    ``schema`` asks for JSON of that model where the server can be held to it. ``tools`` are
    offered only to models whose ``calls_tools`` is true.
    """

    max_tokens: int
    stop: tuple[str, ...] = ()
    schema: type[BaseModel] | None = None
    tools: tuple[Tool, ...] = ()


@runtime_checkable
class LanguageModel(Protocol):
    """A model that continues conversations; answers come as they are ready, in any order."""

    @property
    def name(self) -> str:
        """As the ``model`` column of the predictions names it."""
        ...

    @property
    def identity(self) -> str:
        """Equal for two models that give the same answers: weights, or endpoint and parameters."""
        ...

    @property
    def base_weights(self) -> dict[str, str]:
        """Name -> sha256 of the weights on this machine; empty for an endpoint."""
        ...

    @property
    def context_window(self) -> int:
        """Tokens that prompt and answer may have together."""
        ...

    @property
    def prompt_forms(self) -> tuple[PromptForm, ...]:
        """The forms that it can read, that first which is taken where none was chosen."""
        ...

    @property
    def calls_tools(self) -> bool:
        """Whether it is trained to call functions; others get a protocol in plain text."""
        ...

    def count_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        """Tokens of each prompt by the model's own tokenizer, the answer prefix included."""
        ...

    def read_prices(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, PriceAnswer]]:
        """The price that follows each prompt; the integer says which of the prompts it answers."""
        ...

    def complete(
        self, prompts: Sequence[Prompt], request: CompletionRequest
    ) -> Iterator[tuple[int, Completion]]:
        """What follows each prompt; the integer says which of the prompts it answers."""
        ...

    def estimate_cost_usd(self, tokens_in: int, tokens_out: int) -> float:
        """What so many tokens cost; 0 on this machine."""
        ...
