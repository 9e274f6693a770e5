"""Prompts as token ids, by a model's own tokenizer and chat template.

Here belongs which special tokens stand where: one at the beginning where the tokenizer has such,
those of the chat template, none at the end, and none that came out of a text. What the model makes
of the ids belongs to ``network``.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pricing_platform.language import prompts
from pricing_platform.language.model import Message, Prompt

TokenIds = list[int]
_TAIL_CHARACTERS = 64
_NUMBER_GOES_ON = "0123456789,"  # a digit, or the comma of 1,299
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class PromptTokenizer:
    """The tokenizer of a folder in the layout of ``transformers``."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_fast=True
        )

    def prompt_text(self, prompt: Prompt) -> str:
        """The prompt as one text: in the chat template's form where there is one and it is asked.

        What reads like a token of the tokenizer's own, as a mark between turns, is taken out of
        messages: it would be one. Those that the prompts write themselves stay.
        """
        messages = [
            Message(at.role, self._special_text.sub(" ", at.content)) for at in prompt.messages
        ]
        if prompt.form == "plain" or not self._tokenizer.chat_template:
            return Prompt(tuple(messages), prompt.answer_prefix).as_text()
        return self._chat_text(messages) + prompt.answer_prefix

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Ids of texts as they stand, with what the tokenizer begins a text with, exactly once."""
        if not texts:
            return []
        leading = self.leading_ids
        found = self._ids(texts)
        return [ids if ids[: len(leading)] == leading else [*leading, *ids] for ids in found]

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[TokenIds]:
        """Ids of each prompt, its answer prefix included."""
        return self.encode([self.prompt_text(prompt) for prompt in prompts])

    def decode_after(self, before: TokenIds, ids: TokenIds) -> str:
        """The text that ids add to those before them, without special tokens."""
        tail = before[-8:]
        start = self._text(tail)
        whole = self._text([*tail, *ids])
        return whole[len(start) :] if whole.startswith(start) else self._text(ids)

    @functools.cached_property
    def leading_ids(self) -> TokenIds:
        """What the tokenizer puts before every text: its BOS, [CLS] or nothing."""
        plain = self._ids(["a"])[0]
        whole = list(self._tokenizer("a")["input_ids"])
        count = next(
            (at for at in range(len(whole)) if whole[at : at + len(plain)] == plain), len(whole)
        )
        return whole[:count]

    @property
    def eos_id(self) -> int | None:
        """What the tokenizer ends a text with."""
        found: int | None = self._tokenizer.eos_token_id
        return found

    @property
    def pad_id(self) -> int:
        """What fills up a batch: a token of its own where there is one; always masked."""
        for found in (
            self._tokenizer.pad_token_id,
            self._tokenizer.unk_token_id,
            self._tokenizer.eos_token_id,
        ):
            if found is not None:
                return int(found)
        return 0

    @property
    def tokenizer(self) -> Any:
        """The tokenizer itself, for what in ``transformers`` asks for one."""
        return self._tokenizer

    def number_goes_on(self, vocabulary_size: int) -> npt.NDArray[np.bool_]:
        """For each id whether, after a digit, it makes the number longer: ``7``, ``##7``, ``,2``.

        Of shape (vocabulary_size,), which may exceed the tokenizer's own.
        """
        kind = json.loads(self._tokenizer.backend_tokenizer.to_str())["model"]["type"]
        goes_on = np.zeros(vocabulary_size, dtype=np.bool_)
        for token, at in self._tokenizer.get_vocab().items():
            if at < vocabulary_size and (text := _continuation(token, kind)):
                goes_on[at] = text[0] in _NUMBER_GOES_ON
        return goes_on

    def tail_of(self, text: str, answer_prefix: str) -> str:
        """The end of a prompt's text that decides how a number after it is tokenised."""
        end = len(text) - len(answer_prefix)
        start = text.rfind("\n", max(0, end - _TAIL_CHARACTERS), end)
        return text[start:] if start >= 0 else text[max(0, end - _TAIL_CHARACTERS) :]

    def _ids(self, texts: Sequence[str]) -> list[TokenIds]:
        found: list[TokenIds] = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return found

    def _text(self, ids: TokenIds) -> str:
        # Of the tokenizer in Rust, since the one around it takes longer than it to look at the ids.
        found: str = self._tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=True)
        return found

    @functools.cached_property
    def _special_text(self) -> re.Pattern[str]:
        special = {
            token.content
            for token in self._tokenizer.added_tokens_decoder.values()
            if token.content.strip() and (token.special or _is_foreign_mark(token.content))
        } | set(self._tokenizer.all_special_tokens)
        longest_first = sorted(special, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def _chat_text(self, messages: Sequence[Message]) -> str:
        from jinja2 import TemplateError

        try:
            return self._rendered(messages)
        except TemplateError:  # some templates know no system turn
            return self._rendered(_system_in_first_turn(messages))

    def _rendered(self, messages: Sequence[Message]) -> str:
        turns = [{"role": at.role, "content": at.content} for at in messages]
        found: str = self._tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        return found


def _is_foreign_mark(token: str) -> bool:
    """Whether a token that is not marked special is no part of the prompts, and no mere word."""
    return not token.replace(" ", "").isalnum() and not prompts.is_markup(token)


def special_token_faults(
    ids: TokenIds,
    mask: Sequence[int],
    *,
    leading_ids: TokenIds,
    bos_id: int | None,
    eos_id: int | None,
) -> list[str]:
    """What is wrong with one padded row of ids as a model is given it; empty where nothing is.

    Args:
        ids: a row of a batch, padding included.
        mask: 1 where a token is seen, of the same length.
        leading_ids: what the tokenizer begins a text with.
        bos_id: the tokenizer's BOS, whether or not it begins texts with it.
        eos_id: the tokenizer's EOS.
    """
    seen = [at for at, is_seen in zip(ids, mask, strict=True) if is_seen]
    first = next((at for at, is_seen in enumerate(mask) if is_seen), len(ids))
    faults = []
    if seen[: len(leading_ids)] != leading_ids:
        faults.append("the text does not begin with what the tokenizer begins texts with")
    if bos_id is not None and bos_id != eos_id and seen.count(bos_id) > 1:
        faults.append("BOS is doubled")
    if bos_id is not None and seen[:2] == [bos_id, bos_id]:
        faults.append("BOS is doubled at the beginning")
    if not all(mask[first:]):
        faults.append("a token of the text is masked")
    if eos_id is not None and seen and seen[-1] == eos_id and len(seen) > len(leading_ids):
        faults.append("the text ends with EOS")
    return faults


def _system_in_first_turn(messages: Sequence[Message]) -> list[Message]:
    told = [at.content for at in messages if at.role == "system"]
    turns = [at for at in messages if at.role != "system"]
    if told and turns:
        turns[0] = Message(turns[0].role, "\n".join([*told, turns[0].content]))
    return turns


def _continuation(token: str, kind: str) -> str:
    """What a token adds to the text right before it; empty where it begins a word of its own."""
    if (found := _BYTE.fullmatch(token)) is not None:
        return chr(int(found[1], 16))
    if kind != "WordPiece":
        return token
    return token.removeprefix("##") if token.startswith(("##", ",")) else ""
