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

import numpy as np
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.language import prompts
from pricing_platform.language.context_packing import FittedPrompt, pack_context
from pricing_platform.language.excerpts import excerpt
from pricing_platform.language.model import (
    Completion,
    CompletionRequest,
    Message,
    PriceAnswer,
    Prompt,
    ToolCall,
)
from pricing_platform.language.prompts import WorkedTools
from pricing_platform.pricing.prompting.language_calls import LanguageCalls
from pricing_platform.pricing.prompting.language_technique import (
    ANSWER_TOKENS,
    LanguageContext,
    LanguageTechnique,
)
from pricing_platform.pricing.prompting.prompt_facts import KnownFacts
from pricing_platform.pricing.prompting.reference_items import (
    PriceHistory,
    References,
    observed_at,
    texts_of,
)
from pricing_platform.pricing.prompting.tool_use.pricing_tools import (
    TOOLS,
    ItemView,
    PricingTools,
    ToolResult,
)
from pricing_platform.pricing.prompting.word_search import WordSearch
from pricing_platform.pricing.tabular.neighbours import Integers

STEP_LIMIT = 4
"""Rounds of tool calls for an item at most."""

PLAIN_STEP_LIMIT = 2
"""Of those with a plain prompt: a model that has to be shown how to call goes on and on with it."""

_CALLS_AT_ONCE = 4
_ACTION_TOKENS = 40
_ACTION = re.compile(r"^\s*(?P<name>[a-z_]+)\s*(?P<arguments>\{.*)?$", re.DOTALL)
_DONE = re.compile(rf"{prompts.ANSWER_ACTION}\b", re.IGNORECASE)
_LONGEST_ARGUMENTS = 500
_SEARCH = "find_comparables"
_WORKED_QUERY, _WORKED_COUNT = 60, 3
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
    version: ClassVar[str] = "3"
    choosing_items: ClassVar[int] = 16

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
            **cls.bound_fields(language),
            references=References.of(train),
        )

    @property
    def settings(self) -> dict[str, JsonValue]:
        """How many rounds of calls there may be."""
        return {"step_limit": self._step_limit, "tools": [tool.name for tool in TOOLS]}

    @property
    def _step_limit(self) -> int:
        return STEP_LIMIT if self.form == "chat" else PLAIN_STEP_LIMIT

    def prompts(self, items: ItemSet) -> list[FittedPrompt]:
        """See :class:`LanguageTechnique`; the first of the conversation.

        It fits where the question for the price, with no action before it, has room as well.
        """
        own, moments = self.references.own(items), observed_at(items)
        openings = {
            item_id: self._opening(text, item_id, self._example(int(moments[at]), own[at]))
            for at, (text, item_id) in enumerate(
                zip(texts_of(items), items.frame["item_id"], strict=True)
            )
        }
        fitted = self.fitted_alone(
            items, lambda _, item_id: self._closing(openings[item_id]), room=self._room
        )
        ids = items.frame["item_id"]
        return [
            replace(at, prompt=openings[item_id]) for at, item_id in zip(fitted, ids, strict=True)
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
        for _ in range(self._step_limit):
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

    def _example(self, moment: int, own: Integers) -> WorkedTools | None:
        """A search and the price after it, as of a time, for a training item of a typical price.

        None in turns, which have instructions, for an item of the same family, and where its price
        was not known yet.
        """
        if self.form == "chat" or len(self.references) == 0:
            return None
        place = self._typical
        price = self.tools.history.at(moment).prices[place]
        if place in own or not np.isfinite(price):
            return None
        if moment not in self._searches:
            query = excerpt(self.references.titles[place], _WORKED_QUERY)
            arguments = json.dumps({"query": query, "count": _WORKED_COUNT}, ensure_ascii=False)
            result = self.tools.call(_SEARCH, arguments, ItemView(moment, self._typical_family))
            self._searches[moment] = f"{_SEARCH} {arguments}", result.lines
        action, lines = self._searches[moment]
        text = excerpt(self.references.texts[place])
        return WorkedTools(text, action, tuple(lines), float(price))

    @cached_property
    def _typical(self) -> int:
        """The place of the reference whose price is nearest to the median."""
        prices = self.references.prices
        return int(np.abs(prices - np.median(prices)).argmin())

    @cached_property
    def _typical_family(self) -> Integers:
        families, place = self.references.families, self._typical
        alike = [at for at, family in enumerate(families) if family == families[place]]
        return np.array(alike if families[place] is not None else [place], np.int64)

    @cached_property
    def _searches(self) -> dict[int, tuple[str, list[str]]]:
        return {}

    def _opening(self, text: str, item_id: str, example: WorkedTools | None) -> Prompt:
        currency = self.context.currency
        if not self.context.model.calls_tools:
            return prompts.tools_start(
                text, TOOLS, currency, example=example, item_id=item_id, form=self.form
            )
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

        fitted = pack_context(
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
