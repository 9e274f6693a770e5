"""Greedy continuations of prompts, batched.

Here belongs what is generated and where it ends. The forward pass belongs to ``network``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pricing_platform.language.local.network import Batch, Network
from pricing_platform.language.local.prompt_tokens import PromptTokenizer

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Generated:
    """What was written after a prompt, and of how many tokens, the one that ended it included."""

    text: str
    tokens: int


def generate(
    network: Network,
    tokenizer: PromptTokenizer,
    prompts: Sequence[list[int]],
    prefix: Sequence[int],
    prefix_cache: Any | None,
    *,
    max_tokens: int,
    stop: Sequence[str],
) -> list[Generated]:
    """The most probable next token, one after the other, until EOS, a stop string or the limit.

    Args:
        network: what writes.
        tokenizer: the network's.
        prompts: token ids, each beginning with the prefix.
        prefix: what all of them begin with.
        prefix_cache: the prefix's keys and values; None for no prefix.
        max_tokens: how long an answer may be.
        stop: strings at which an answer ends; they are not part of it.
    """
    import torch
    from transformers import GenerationConfig

    batch = Batch.of(prompts, len(prefix), tokenizer.pad_id, network.device)
    start = torch.tensor([list(prefix)] * len(prompts), dtype=torch.long, device=network.device)
    ids = torch.cat([start.reshape(len(prompts), -1), batch.input_ids], dim=1)
    ends = end_ids(network, tokenizer)
    with torch.inference_mode(), network.arithmetic():
        written = network.module.generate(
            ids,
            attention_mask=batch.mask,
            past_key_values=network.expanded(prefix_cache, len(prompts)),
            generation_config=GenerationConfig(
                max_new_tokens=max_tokens,
                do_sample=False,
                eos_token_id=ends or None,
                pad_token_id=tokenizer.pad_id,
            ),
            stopping_criteria=[_StopsAt(tokenizer, prompts, ids.shape[1], stop)] if stop else None,
        )
    new = written[:, ids.shape[1] :].cpu().numpy()
    return [
        _ended(tokenizer, prompt, row, ends, stop) for prompt, row in zip(prompts, new, strict=True)
    ]


class _StopsAt:
    """Ends an answer whose text holds a stop string.

    In the place of ``transformers``' own ``StopStringCriteria``, which takes the name of a byte's
    token, as <0x0A>, for its text.
    """

    def __init__(
        self,
        tokenizer: PromptTokenizer,
        prompts: Sequence[list[int]],
        start: int,
        stop: Sequence[str],
    ) -> None:
        self._tokenizer = tokenizer
        self._prompts = prompts
        self._start = start
        self._stop = stop
        self._ended = [False] * len(prompts)

    def __call__(self, ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        """Of each row whether it has ended, bool of shape (prompts,)."""
        import torch

        for row, written in enumerate(ids[:, self._start :].tolist()):
            if not self._ended[row]:
                text = self._tokenizer.decode_after(self._prompts[row], written)
                self._ended[row] = any(string in text for string in self._stop)
        return torch.tensor(self._ended, device=ids.device)


def end_ids(network: Network, tokenizer: PromptTokenizer) -> list[int]:
    """Tokens that end an answer: the tokenizer's EOS, and those the model's authors name."""
    named = network.module.generation_config.eos_token_id
    several = named if isinstance(named, list) else [named]
    return sorted({at for at in (tokenizer.eos_id, *several) if at is not None})


def _ended(
    tokenizer: PromptTokenizer,
    prompt: list[int],
    ids: np.ndarray[Any, Any],
    ends: Sequence[int],
    stop: Sequence[str],
) -> Generated:
    """What of a row of new tokens belongs to the answer; rows go on until the last one ends."""
    last = np.flatnonzero(np.isin(ids, ends))
    count = int(last[0]) + 1 if len(last) else len(ids)
    text = tokenizer.decode_after(prompt, ids[: count - bool(len(last))].tolist())
    found = [at for at in (text.find(string) for string in stop) if at >= 0]
    if not found:
        return Generated(text, count)
    return Generated(text[: min(found)], _tokens_until(tokenizer, prompt, ids, min(found)))


def _tokens_until(
    tokenizer: PromptTokenizer, prompt: list[int], ids: np.ndarray[Any, Any], characters: int
) -> int:
    """How many tokens it took to write more than so many characters."""
    low, high = 1, len(ids)
    while low < high:
        middle = (low + high) // 2
        if len(tokenizer.decode_after(prompt, ids[:middle].tolist())) > characters:
            high = middle
        else:
            low = middle + 1
    return low
