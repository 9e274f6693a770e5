"""Prompting with tools: before it names a price, the model may look things up.

Here belongs the loop of calls and results. What the tools answer belongs to ``pricing_tools``. Only
what the model itself writes makes a tool run: listings, results and facts stand inside tags, and
nothing here ever looks for a call in them. A call that is not valid is told to the model when it is
asked for the next one, and is not there when it is asked for the price.

A model that is trained to call functions is offered them; any other writes one action a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.language import prompts
from pricing_platform.language.context_fit import FittedPrompt, fit_context
from pricing_platform.language.model import (
    Completion,
    CompletionRequest,
    Message,
    PriceAnswer,
    Prompt,
    ToolCall,
)
from pricing_platform.pricing.known_facts import KnownFacts
from pricing_platform.pricing.language_calls import LanguageCalls
from pricing_platform.pricing.language_technique import (
    ANSWER_TOKENS,
    LanguageContext,
    LanguageTechnique,
)
from pricing_platform.pricing.pricing_tools import TOOLS, ItemView, PricingTools, ToolResult
from pricing_platform.pricing.references import PriceHistory, References, observed_at, texts_of
from pricing_platform.pricing.word_search import WordSearch

STEP_LIMIT = 4
"""Rounds of tool calls for an item at most."""

_CALLS_AT_ONCE = 4
_ACTION_TOKENS = 48
_ACTION = re.compile(r"^\s*(?P<name>[a-z_]+)\s*(?P<arguments>\{.*)?$", re.DOTALL)
_DONE = re.compile(rf"{prompts.ANSWER_ACTION}\b", re.IGNORECASE)
_LONGEST_ARGUMENTS = 500
_CALL_TOKENS = 160
_PLAIN = CompletionRequest(max_tokens=_ACTION_TOKENS, stop=("\n",))
_NATIVE = CompletionRequest(max_tokens=_CALL_TOKENS, tools=TOOLS)

Rendered = Callable[[list[str]], Prompt]
"""The conversation with these lines of a result."""


@dataclass
class _Conversation:
    """Where one item stands: ``prompt`` asks for the next action, ``final`` for the price.

    ``valid`` is the conversation without calls that were not valid; ``erred`` says that the last
    round had none that was.
    """

    prompt: Prompt
    valid: Prompt
    final: FittedPrompt
    view: ItemView
    cut: int = 0
    comparables: int = 0
    open: bool = True
    erred: bool = False


@dataclass(frozen=True)
class _Step:
    """How a conversation goes on after a round: ``valid`` leaves out what was not valid."""

    result: ToolResult
    render: Rendered
    valid: Rendered


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptTools(LanguageTechnique):
    """A language model that may search the training items, ask for facts and calculate."""

    name: ClassVar[str] = "prompt_tools"
    version: ClassVar[str] = "2"
    calibration_items: ClassVar[int] = 200

    references: References

    @classmethod
    def prepared(
        cls,
        train: ItemSet,
        *,
        seed: int,  # noqa: ARG003
        language: LanguageContext,
        count: int | None = None,  # noqa: ARG003
    ) -> Self:
        """See :class:`LanguageTechnique`."""
        return cls(
            model_name=language.model.name,
            base_weights=language.model.base_weights,
            language=language,
            references=References.of(train),
        )

    @property
    def settings(self) -> dict[str, JsonValue]:
        """How many rounds of calls there may be."""
        return {"step_limit": STEP_LIMIT, "tools": [tool.name for tool in TOOLS]}

    def prompts(self, items: ItemSet) -> list[FittedPrompt]:
        """See :class:`LanguageTechnique`; the first of the conversation.

        It fits where the question for the price, with no action before it, has room as well.
        """
        fitted = self.fitted_alone(
            items,
            lambda text, item_id: self._closing(self._opening(text, item_id)),
            room=self._room,
        )
        texts, ids = texts_of(items), items.frame["item_id"]
        return [
            replace(at, prompt=self._opening(text, item_id))
            for at, text, item_id in zip(fitted, texts, ids, strict=True)
        ]

    def answers(
        self, items: ItemSet, asked: dict[int, FittedPrompt], calls: LanguageCalls
    ) -> tuple[dict[int, PriceAnswer], dict[int, FittedPrompt]]:
        """See :class:`LanguageTechnique`: all items go from round to round together."""
        own, moments = self.references.own(items), observed_at(items)
        talks = {
            place: self._started(at, ItemView(int(moments[place]), own[place]))
            for place, at in asked.items()
        }
        for _ in range(STEP_LIMIT):
            going = {place: talk for place, talk in talks.items() if talk.open}
            self._one_round(going, calls)
        last = {
            place: replace(talk.final, shown=talk.comparables, cut=talk.cut)
            for place, talk in talks.items()
        }
        final = {place: at.prompt for place, at in last.items() if at.fits}
        return calls.read_prices(final), last

    def save_parts(self, folder: Path) -> None:
        """Writes the references; the index of words is made anew."""
        self.references.save(folder)

    @classmethod
    def load_parts(cls, folder: Path, settings: dict[str, JsonValue]) -> dict[str, Any]:  # noqa: ARG003
        """See :class:`LanguageTechnique`."""
        return {"references": References.load(folder)}

    def make_ready(self) -> None:
        """Makes the indices of the tools."""
        self.tools  # noqa: B018

    @cached_property
    def tools(self) -> PricingTools:
        """The tools over what was kept of the training items."""
        return PricingTools(
            self.references,
            PriceHistory(self.references, self.context.price_history),
            WordSearch(self.references.texts),
            KnownFacts(self.context.brand_facts),
            self.context.currency,
        )

    @cached_property
    def _room(self) -> int:
        """Tokens that are kept for the next action and, after it, the price.

        Functions are sent beside the conversation, which is what is counted, and take room too.
        """
        model = self.context.model
        if not model.calls_tools:
            return ANSWER_TOKENS + _ACTION_TOKENS
        functions = json.dumps([tool.as_function() for tool in _NATIVE.tools])
        (offered,) = model.count_tokens([Prompt((Message("system", functions),))])
        return ANSWER_TOKENS + _CALL_TOKENS + offered

    def _opening(self, text: str, item_id: str) -> Prompt:
        currency = self.context.currency
        if not self.context.model.calls_tools:
            return prompts.tools_start(text, TOOLS, currency, item_id=item_id)
        asked = prompts.zero_shot(text, currency, item_id=item_id)
        return replace(asked, answer_prefix="", step="action")

    def _started(self, fitted: FittedPrompt, view: ItemView) -> _Conversation:
        final = self._closing(fitted.prompt)
        return _Conversation(fitted.prompt, fitted.prompt, replace(fitted, prompt=final), view)

    def _one_round(self, talks: dict[int, _Conversation], calls: LanguageCalls) -> None:
        """Asks for one action each, and adds its result where there is room for it.

        A conversation is over where the model asks for none, or for the second time in a row for
        nothing that is valid.
        """
        native = self.context.model.calls_tools
        answers = calls.complete(
            {place: talk.prompt for place, talk in talks.items()}, _NATIVE if native else _PLAIN
        )
        going_on: list[tuple[_Conversation, _Step]] = []
        for place, answer in answers.items():
            talk = talks[place]
            step = self._native(talk, answer) if native else self._plain(talk, answer)
            talk.open = step is not None and (step.result.valid or not talk.erred)
            if step is not None and talk.open:
                talk.erred = not step.result.valid
                going_on.append((talk, step))
        self._add(going_on)

    def _plain(self, talk: _Conversation, answer: Completion) -> _Step | None:
        """How the conversation goes on after a line of text; None where it names no tool."""
        action = answer.text.strip().split("\n", 1)[0][:_LONGEST_ARGUMENTS].strip()
        if answer.outcome != "answered" or not action or _DONE.match(action):
            return None
        found = _ACTION.match(action)
        if found is None:
            result = ToolResult.error("write a tool's name and its arguments in JSON")
        else:
            result = self.tools.call(found["name"], found["arguments"] or "", talk.view)
        before = talk.valid

        def render(kept: list[str]) -> Prompt:
            return prompts.tools_result(before, action, kept)

        return _Step(result, render, render if result.valid else lambda _: before)

    def _native(self, talk: _Conversation, answer: Completion) -> _Step | None:
        """How it goes on after function calls; None where the model asked for none."""
        if answer.outcome != "answered" or not answer.tool_calls:
            if answer.outcome == "answered" and answer.text.strip():
                said = (Message("assistant", answer.text.strip()),)
                spoken = replace(talk.valid, messages=talk.valid.messages + said)
                self._add([(talk, _Step(ToolResult([]), lambda _: spoken, lambda _: spoken))])
            return None
        asked = answer.tool_calls[:_CALLS_AT_ONCE]
        made = [
            (at, self.tools.call(at.name, at.arguments[:_LONGEST_ARGUMENTS], talk.view))
            for at in asked
        ]
        # Those that are valid come first, so that what is cut is an error before it is a result.
        made.sort(key=lambda call: not call[1].valid)
        valid = [call for call in made if call[1].valid]
        before = talk.valid
        return _Step(
            _joined([result for _, result in made]),
            lambda kept: _with_calls(before, answer.text, made, kept),
            lambda kept: _with_calls(before, answer.text, valid, kept),
        )

    def _add(self, going_on: list[tuple[_Conversation, _Step]]) -> None:
        """Goes on with as many lines of each result as have room; with none, it is over."""

        def closed(at: int, count: int) -> Prompt:
            _, step = going_on[at]
            return self._closing(step.render(step.result.lines[:count]))

        fitted = fit_context(
            self.context.model,
            closed,
            [len(step.result.lines) for _, step in going_on],
            answer_tokens=self._room,
        )
        for (talk, step), found in zip(going_on, fitted, strict=True):
            lines = step.result.lines[: found.shown]
            if step.result.valid:
                talk.cut += found.cut if found.fits else len(step.result.lines)
            if found.fits:
                talk.prompt, talk.valid = step.render(lines), step.valid(lines)
                talk.final = replace(found, prompt=self._closing(talk.valid))
                talk.comparables += min(step.result.comparables, found.shown)
            else:
                talk.open = False

    def _closing(self, prompt: Prompt) -> Prompt:
        """The conversation with the question for the price at its end."""
        currency = self.context.currency
        if not self.context.model.calls_tools:
            return prompts.tools_price(prompt, currency)
        asked = (Message("user", prompts.FINAL_PRICE_CUE),)
        turns = prompt.messages + asked
        return Prompt(turns, currency.answer_prefix, prompt.item_id, "price")


def _with_calls(
    before: Prompt, text: str, made: list[tuple[ToolCall, ToolResult]], kept: list[str]
) -> Prompt:
    """The conversation with calls and so many lines of their results; as it was without a call."""
    if not made:
        return before
    turns = [Message("assistant", text, tool_calls=tuple(call for call, _ in made))]
    left = len(kept)
    for call, result in made:
        turns.append(_tool_turn(call, result.lines[:left]))
        left = max(left - len(result.lines), 0)
    return replace(before, messages=before.messages + tuple(turns))


def _tool_turn(call: ToolCall, lines: list[str]) -> Message:
    return Message("tool", prompts.render("result", lines=lines), call_id=call.call_id)


def _joined(results: list[ToolResult]) -> ToolResult:
    """The lines of all results; those with comparables come first in what the model asks for."""
    lines = [line for result in results for line in result.lines]
    comparables = sum(result.comparables for result in results)
    return ToolResult(lines, comparables, valid=any(result.valid for result in results))
