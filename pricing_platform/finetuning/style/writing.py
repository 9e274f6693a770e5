"""Replies in a style, held to what is known.

Here belongs asking a model and what is done where its reply can't stand. What speaks against a
reply is decided by ``facts.written_answers``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pricing_platform.facts.answers import FoundAnswer
from pricing_platform.facts.written_answers import AnswerGuard, WrittenAnswer
from pricing_platform.finetuning.style.dialogue import NO_HINTS, StyleHints, reply_prompt
from pricing_platform.language.model import Completion, CompletionRequest, LanguageModel, Prompt
from pricing_platform.stores.postgres import Postgres

_LONGEST = 120  # tokens
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_UNFINISHED = re.compile(r"(?<=[.!?])[^.!?]*$")


@dataclass(frozen=True)
class StyledReply:
    """What a model wrote at first, and what of it stands: as it is, after a second try, or not."""

    first: str
    first_refusal: str | None
    written: WrittenAnswer


def write_in_style(model: LanguageModel, postgres: Postgres, found: FoundAnswer) -> WrittenAnswer:
    """A reply to the question in the model's style, with its source and age.

    Where something was found, the model is shown it. A reply that loses or changes it does not
    stand, see :class:`AnswerGuard`.
    """
    return styled_replies(model, [AnswerGuard.of(postgres, found)])[0].written


def styled_replies(
    model: LanguageModel,
    guards: Sequence[AnswerGuard],
    hints: StyleHints = NO_HINTS,
    *,
    max_tokens: int = _LONGEST,
) -> list[StyledReply]:
    """A guarded reply to each question, in order.

    A reply that is refused is written a second time around what was found: after the first
    sentence, which is mostly a greeting, the statement is put into the model's mouth word for word,
    and the model goes on. That one is held to the same.
    """
    prompts = [_prompt(guard.found, hints) for guard in guards]
    first = complete_replies(model, prompts, max_tokens=max_tokens)
    refusals = [
        _refusal(guard, answer, text) for guard, (answer, text) in zip(guards, first, strict=True)
    ]
    again = {
        at: _around_statement(guards[at], prompts[at], first[at][1])
        for at, refused in enumerate(refusals)
        if refused and first[at][0].outcome == "answered" and guards[at].found.answer is not None
    }
    second = dict(
        zip(
            again, complete_replies(model, list(again.values()), max_tokens=max_tokens), strict=True
        )
    )
    replies = []
    for at, guard in enumerate(guards):
        text, refused = first[at][1], refusals[at]
        if refused and at in second:
            tried = f"{again[at].answer_prefix} {second[at][1]}".strip()
            if _refusal(guard, second[at][0], tried) is None:
                text, refused = tried, None
        standing = WrittenAnswer(None, refused) if refused else WrittenAnswer(guard.cited(text))
        replies.append(StyledReply(first[at][1], refusals[at], standing))
    return replies


def complete_replies(
    model: LanguageModel, prompts: Sequence[Prompt], *, max_tokens: int
) -> list[tuple[Completion, str]]:
    """What the model makes of each prompt, in order, and its text on one line.

    A text that reaches the limit ends with its last whole sentence, and one that goes in circles
    before it repeats a sentence.
    """
    if not prompts:
        return []
    request = CompletionRequest(max_tokens=max_tokens, stop=("\n",))
    found = dict(model.complete(prompts, request))
    replies = []
    for at in range(len(prompts)):
        text = " ".join(found[at].text.split())
        if found[at].usage.tokens_out >= max_tokens:
            text = _UNFINISHED.sub("", text)
        replies.append((found[at], _until_it_repeats(text)))
    return replies


def _until_it_repeats(text: str) -> str:
    said: dict[str, str] = {}
    for sentence in _SENTENCE.split(text):
        if sentence.casefold() in said:
            break
        said[sentence.casefold()] = sentence
    return " ".join(said.values())


def _prompt(found: FoundAnswer, hints: StyleHints) -> Prompt:
    facts = [found.statement] if found.statement else []
    return reply_prompt(found.question, facts, hints)


def _around_statement(guard: AnswerGuard, prompt: Prompt, text: str) -> Prompt:
    """The prompt whose answer begins with the first sentence and the statement."""
    found = guard.found
    statement = (found.statement or found.answer or "").rstrip()
    statement += "" if statement.endswith((".", "!", "?")) else "."
    opening = _SENTENCE.split(text)[0] if text else ""
    if not opening.endswith((".", "!", "?")) or guard.contradiction(opening):
        opening = ""
    return Prompt(prompt.messages, f"{opening} {statement}".lstrip(), prompt.item_id, prompt.step)


def _refusal(guard: AnswerGuard, answer: Completion, text: str) -> str | None:
    if answer.outcome != "answered":
        return answer.reason or answer.outcome
    return guard.refusal(text)
