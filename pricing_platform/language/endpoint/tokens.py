"""How many tokens a prompt has, by the endpoint's tokenizer where its folder is configured.

Here belongs counting before a call is sent. What the server counted belongs to ``replies``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.model import Prompt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BYTES_A_TOKEN = 3
_TOKENS_A_TURN = 8
"""What a chat template puts around a turn: its role, and where it starts and ends."""
_TOKENS_A_CHAT = 40
"""What a chat template may add of its own: a default system turn, the date."""


class TokenCounter:
    """Counts prompts as the endpoint will."""

    def __init__(self, configuration: EndpointConfiguration) -> None:
        self._folder = configuration.tokenizer
        self._is_chat = configuration.api == "chat"

    def count(self, prompts: Sequence[Prompt]) -> list[int]:
        """Tokens of each prompt: by the tokenizer, or a token for every three bytes."""
        turns = [_TOKENS_A_TURN * len(prompt.messages) * self._is_chat for prompt in prompts]
        texts = [_sent_text(prompt) for prompt in prompts]
        if self._tokenizer is None:
            lengths = [-(-len(text.encode()) // _BYTES_A_TOKEN) for text in texts]
        else:
            encoded = self._tokenizer.encode_batch(texts, add_special_tokens=True)
            lengths = [len(found.ids) for found in encoded]
        return [length + more for length, more in zip(lengths, turns, strict=True)]

    def most(self, prompt: Prompt, more: str = "") -> int:
        """The most tokens that a prompt and ``more`` (its tools) can be.

        Without a tokenizer it is one for every byte: none is shorter.
        """
        counted = self.count([prompt])[0]
        if self._tokenizer is None:
            turns = _TOKENS_A_TURN * len(prompt.messages) * self._is_chat
            counted = len(_sent_text(prompt).encode()) + turns
        return counted + len(more.encode()) + _TOKENS_A_CHAT * self._is_chat + 2

    @cached_property
    def sha256(self) -> str | None:
        """The hash of the tokenizer's file; None where there is none and bytes are counted.

        Raises:
            PlatformError: when it is configured and cannot be read.
        """
        if self._folder is None or self._tokenizer is None:
            return None
        return hashlib.sha256(_file(self._folder).read_bytes()).hexdigest()

    @cached_property
    def _tokenizer(self) -> Tokenizer | None:
        if self._folder is None:
            return None
        return _load(_file(self._folder))


def _file(folder: Path) -> Path:
    return folder.expanduser() / "tokenizer.json"


def _sent_text(prompt: Prompt) -> str:
    calls = [f"{c.name}{c.arguments}{c.call_id}" for m in prompt.messages for c in m.tool_calls]
    return prompt.as_text() + "".join(calls)


def _load(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        json.loads(path.read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more specific
        raise PlatformError(
            f"The endpoint's tokenizer cannot be read: {path}: {type(error).__name__}.",
            "Set PRICING_LLM_TOKENIZER to a folder with a tokenizer.json, or leave it empty: a"
            " token is then taken to be three bytes.",
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
