"""What is sent: the body of a request for a price or for a completion, and its key in the cache.

Here belongs turning prompts into the two interfaces' formats. Reading what comes back belongs to
``replies``, which is told here how.
"""

from __future__ import annotations

from typing import Any, cast

from pydantic import BaseModel, JsonValue

from pricing_platform.language.endpoint.configuration import EndpointConfiguration, Interface
from pricing_platform.language.model import CompletionRequest, Message, Prompt
from pricing_platform.language.response_cache import Kind, request_key

PATHS: dict[Interface, str] = {"chat": "/chat/completions", "completions": "/completions"}
REPLY_VERSION = 1
"""To be raised when it changes what a server's reply is read as: kept answers were read already."""
_PRICE_TOKENS: dict[Interface, int] = {"chat": 32, "completions": 12}
"""How long an answer with a price may be: words around it in a chat, else a number such as
1,299.00 in single digits."""


class Reading(BaseModel, frozen=True):
    """How the answer to a request is read; ``structured``: it is JSON with a price in it.

    ``stop`` are strings that end a completion, whether the server heeds them or not. ``room`` is
    how many tokens the answer may take.
    """

    kind: Kind
    api: Interface
    answer_prefix: str = ""
    structured: bool = False
    stop: tuple[str, ...] = ()
    room: int | None = None


class EndpointRequest(BaseModel, frozen=True):
    """One request: where it goes, what is sent, how the answer is read."""

    key: str
    body: dict[str, JsonValue]
    reading: Reading

    @property
    def path(self) -> str:
        """Below the base URL."""
        return PATHS[self.reading.api]

    @property
    def most_tokens_out(self) -> int:
        """How long the answer may be."""
        return cast(int, self.body["max_tokens"])


class _PriceOnly(BaseModel):
    """What a server that can be held to a schema answers."""

    price: float


def price_request(prompt: Prompt, configuration: EndpointConfiguration) -> EndpointRequest:
    """Asks for a price, as JSON or with log-probabilities where the server can."""
    api = configuration.api
    structured = configuration.structured_output and api == "chat"
    body = _body(prompt, configuration) | _room(_PRICE_TOKENS[api], configuration)
    if api == "completions":
        body["stop"] = ["\n"]
    if structured:
        body["response_format"] = _response_format(_PriceOnly, "price")
    if configuration.top_logprobs and api == "chat":
        body |= {"logprobs": True, "top_logprobs": configuration.top_logprobs}
    elif configuration.top_logprobs:
        body["logprobs"] = configuration.top_logprobs
    reading = Reading(
        kind="price",
        api=api,
        answer_prefix=prompt.answer_prefix,
        structured=structured,
        room=cast(int, body["max_tokens"]),
    )
    return _request(body, reading, configuration)


def completion_request(
    prompt: Prompt, request: CompletionRequest, configuration: EndpointConfiguration
) -> EndpointRequest:
    """Asks for a completion, with tools and held to a schema where the server can."""
    body = _body(prompt, configuration) | _room(request.max_tokens, configuration)
    if request.stop:
        body["stop"] = list(request.stop)
    if request.schema is not None and configuration.structured_output:
        body["response_format"] = _response_format(request.schema, request.schema.__name__)
    if request.tools and configuration.calls_tools:
        body["tools"] = [tool.as_function() for tool in request.tools]
        body["parallel_tool_calls"] = False
    reading = Reading(
        kind="completion",
        api=configuration.api,
        answer_prefix=prompt.answer_prefix,
        stop=request.stop,
        room=cast(int, body["max_tokens"]),
    )
    return _request(body, reading, configuration)


def _request(
    body: dict[str, JsonValue], reading: Reading, configuration: EndpointConfiguration
) -> EndpointRequest:
    identity = f"{configuration.known_url}{PATHS[reading.api]}"
    how = reading.model_dump(mode="json", exclude={"stop", "room"})  # they stand in the body
    key = request_key(identity, reading.kind, [REPLY_VERSION, body, how])
    return EndpointRequest(key=key, body=body, reading=reading)


def _room(tokens: int, configuration: EndpointConfiguration) -> dict[str, JsonValue]:
    """The tokens that an answer may take: more than it needs where a model thinks before it."""
    return {"max_tokens": max(tokens, configuration.answer_tokens)}


def _body(prompt: Prompt, configuration: EndpointConfiguration) -> dict[str, JsonValue]:
    common: dict[str, JsonValue] = {
        **configuration.extra_body,
        "model": configuration.model,
        "temperature": configuration.extra_body.get("temperature", 0),
    }
    if configuration.api == "completions":
        return common | {"prompt": prompt.as_text()}
    return common | {"messages": [_message(message) for message in prompt.messages]}


def _message(message: Message) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {"role": message.role, "content": message.content}
    if message.role == "tool":
        told["tool_call_id"] = message.call_id or ""
    if message.tool_calls:
        told["content"] = message.content or None
        told["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return told


def _response_format(schema: type[BaseModel], name: str) -> dict[str, JsonValue]:
    import openai

    # The library's own way of making a schema strict: closed objects, all fields required.
    function: dict[str, Any] = dict(openai.pydantic_function_tool(schema)["function"])
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "strict": True, "schema": function["parameters"]},
    }
