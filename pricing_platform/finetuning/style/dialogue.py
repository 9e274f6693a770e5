"""What a model is told of a message: the message, what is known, and how much of the style.

Here belong the prompts and the token examples that are trained on. A message, a fact and what was
said of a style are data: they stand in turns of their own or in tags.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pricing_platform.finetuning.language.token_examples import TokenExample
from pricing_platform.finetuning.style.pairs import StylePair
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.language.local.shared_beginnings import common_prefix
from pricing_platform.language.model import Message, Prompt
from pricing_platform.language.prompts import data, without_forged_marks

DIALOGUE_VERSION = "1"
"""To be raised with any change of what is asked or trained on."""

STEP = "reply"
MOST_TOKENS = 384
"""Of prompt and reply together; a longer pair is left out of the training."""

_ROLE = "You answer the customers of a shop."
_KEEP = "Keep to the facts, word for word."
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_TELLS = re.compile(r"\d")


@dataclass(frozen=True)
class StyleHints:
    """What a prompt tells and shows of a style; nothing where the model has learnt it."""

    told: str = ""
    shown: tuple[StylePair, ...] = ()


NO_HINTS = StyleHints()


def reply_prompt(message: str, facts: Sequence[str] = (), hints: StyleHints = NO_HINTS) -> Prompt:
    """A message that is to be replied to.

    Args:
        message: the customer's.
        facts: what is known of it.
        hints: a description of the style, and examples as turns of their own.
    """
    turns = [Message("system", f"{_ROLE} {data(hints.told)}".strip())]
    for pair in hints.shown:
        turns.append(Message("user", _asked(pair.message, pair.facts)))
        turns.append(Message("assistant", data(pair.reply)))
    turns.append(Message("user", _asked(message, facts)))
    return Prompt(tuple(turns), step=STEP)


def reply_example(tokenizer: PromptTokenizer, prompt: Prompt, reply: str) -> TokenExample:
    """The prompt, the reply and the token that ends it; it is to be written from the reply on."""
    text = tokenizer.prompt_text(prompt)
    before, whole = tokenizer.encode([text, text + without_forged_marks(reply).strip()])
    # A tokenizer may join the end of the prompt with the beginning of the reply.
    start = max(1, common_prefix([before, whole]))
    ends = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    return TokenExample((*whole, *ends), start)


def training_examples(tokenizer: PromptTokenizer, pairs: Sequence[StylePair]) -> list[TokenExample]:
    """An example a pair, those left out that are too long.

    Where nothing is told of what a reply was written from, the sentences of it that hold a number
    stand in for it in every other pair: so a model learns to take values from what it is shown, and
    keeps them out of its weights (as RAFT does with retrieved texts, Zhang et al. 2024).
    """
    examples = [
        reply_example(
            tokenizer,
            reply_prompt(pair.message, pair.facts or (_stand_ins(pair) if number % 2 else ())),
            pair.reply,
        )
        for number, pair in enumerate(pairs)
    ]
    return [example for example in examples if len(example.ids) <= MOST_TOKENS]


def _stand_ins(pair: StylePair) -> tuple[str, ...]:
    return tuple(at for at in _SENTENCE.split(pair.reply) if _TELLS.search(at))


def _asked(message: str, facts: Sequence[str]) -> str:
    if not facts:
        return data(message)
    listed = "\n".join(f"- {data(fact)}" for fact in facts)
    return f"<facts>\n{listed}\n</facts>\n{data(message)}\n{_KEEP}"
