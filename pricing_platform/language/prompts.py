"""Prompts, rendered from the Jinja2 templates in ``templates`` and versioned by their hash.

Here belongs what a model is told, and where. What a technique puts into a prompt, and which of it
is left out where the window is full, belongs to the technique.

Texts of listings and documents stand inside tags. What looks in a text like one of these tags, or
like a mark by which a chat template sets turns apart, is taken out: a text can't end its own tag,
and can't write a turn of its own. Whoever reads the prompt, it is the same.

A prompt of the plain form has no tags and no instructions: products stand one below the other, each
with the line of its price, and a blank line parts them. A text has no blank line and no line that
begins as those of the prompt do, so that it can't be two products and can't name its own price.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from pydantic import BaseModel

from pricing_platform.language.excerpts import EXCERPT_CHARACTERS
from pricing_platform.language.model import Message, Prompt, PromptForm, Tool

FOLDER = Path(__file__).parent / "templates"
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}
_TAGS = ("product", "comparable", "facts", "result", "document")
# Of chat templates that set turns apart in plain text or in tokens that no list of theirs tells.
_MARKS = (
    r"s|bos|eos|pad|unk|(?:start|end)_of_turn|(?:start|end)_of_image|think|tools"
    r"|tool_(?:calls?|responses?|results?)|function_calls?"
)
_BRACKETED = r"INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS"
_FORGED = re.compile(
    rf"<[\s/]*(?P<tag>{'|'.join(_TAGS)})\b(?P<closed>[^<>\n]{{0,80}}>)?"
    r"|<\s*[|｜][^|｜<>\n]{1,40}[|｜]?\s*>|<[^\s|｜<>]{1,40}[|｜]>"
    rf"|<[\s/]*(?:{_MARKS})\s*/?>|<<[\s/]*SYS\s*>>"
    rf"|\[[\s/]*(?:{_BRACKETED})\s*\]",
    re.IGNORECASE,
)
_TAKEN_OUT_AT_MOST = 20
_LABEL = re.compile(
    r"^(\W*(?:(?:final\W+)?price|action|attributes|comparable\W+products|similar))\s*[:：=]",
    re.IGNORECASE,
)
_BLANK_LINES = re.compile(r"\n\s*\n+")

ATTRIBUTES_CUE = "Attributes:"
COMPARABLES_CUE = "Comparable products:"
FINAL_PRICE_CUE = "Final price:"
SIMILAR_LABEL = "Similar:"
RANGE_LABEL = "Price range:"
ACTION_LABEL = "Action:"
ANSWER_ACTION = "answer"
PRICE_LINE = "\nPrice:"
BLANK_LINE = "\n\n"
_ANSWER = "Price: "


@dataclass(frozen=True)
class PricedText:
    """A product's text with its price, and how many days old that price is."""

    text: str
    price: float
    age_days: int = 0


@dataclass(frozen=True)
class WorkedChain:
    """A product with what the steps of a chain are to say of it, and its price."""

    text: str
    attributes: tuple[str, ...]
    comparables: tuple[str, ...]
    price: float


@dataclass(frozen=True)
class WorkedTools:
    """A product with one call of a tool, the lines of its result, and its price."""

    text: str
    action: str
    result: tuple[str, ...]
    price: float


@dataclass(frozen=True)
class Currency:
    """An ISO 4217 code, and the sign that stands before a number."""

    code: str

    @property
    def symbol(self) -> str:
        """As in ``$``; a currency without a sign of its own is written as its code and a space."""
        return _SYMBOLS.get(self.code, f"{self.code} ")

    @property
    def answer_prefix(self) -> str:
        """How an answer begins; the number follows at once."""
        return f"{_ANSWER}{self.symbol}"

    def price_line(self, price: float) -> str:
        """A price as every prompt shows it."""
        return f"{self.answer_prefix}{whole_price(price)}"


def whole_price(price: float) -> int:
    """The whole number that stands for a price: at least 1, halves to the even one."""
    return max(1, round(price))


def data(text: object) -> str:
    """A text as it may stand inside a tag: no such tag in it, no chat mark, and no blank line."""
    return _BLANK_LINES.sub("\n", without_forged_marks(str(text))).strip()


def plain_data(text: object) -> str:
    """A text as it may stand in a plain prompt: as :func:`data`, and no line of it is a label's."""
    lines = (line.strip() for line in without_forged_marks(str(text)).splitlines())
    return "\n".join(_LABEL.sub(r"\1", line) for line in lines if line)


def without_forged_marks(text: str) -> str:
    """The text without tags of the prompts and marks of chat templates; a space for each of them.

    Of a tag that is not closed, only the sign before its name is taken out. What is taken out may
    leave another one behind, so it is looked for until there is none; a text that goes on with it
    is made to do it, and loses every bracket.
    """
    for _ in range(_TAKEN_OUT_AT_MOST):
        text, found = _FORGED.subn(_left_of, text)
        if not found:
            return text
    return text.translate({ord("<"): " ", ord("["): " "})


def is_markup(text: str) -> bool:
    """Whether the prompts themselves write this text, though a tokenizer may have it as a token."""
    return text.startswith(_ANSWER) or any(text in prompt.as_text() for prompt in _examples())


def _left_of(found: re.Match[str]) -> str:
    return f" {found['tag']}" if found["tag"] and not found["closed"] else " "


def zero_shot(
    text: str, currency: Currency, *, item_id: str = "", form: PromptForm = "chat"
) -> Prompt:
    """The product, after instructions where there are turns."""
    return multi_shot(text, [], currency, item_id=item_id, form=form)


def multi_shot(
    text: str,
    shots: Sequence[PricedText],
    currency: Currency,
    *,
    item_id: str = "",
    form: PromptForm = "chat",
) -> Prompt:
    """The instructions, other products with their prices as turns of their own, the product."""
    if form == "plain":
        return _plain(text, shots, [], currency, item_id)
    turns = [_instructions("price_instructions", currency)]
    for shot in shots:
        turns.append(Message("user", render("product", text=shot.text)))
        turns.append(Message("assistant", currency.price_line(shot.price)))
    turns.append(Message("user", render("product", text=text)))
    return Prompt(tuple(turns), currency.answer_prefix, item_id)


def rag(
    text: str,
    comparables: Sequence[PricedText],
    facts: Sequence[str],
    currency: Currency,
    *,
    item_id: str = "",
    form: PromptForm = "chat",
) -> Prompt:
    """The instructions, and in one turn comparables in the order given, facts, the product."""
    if form == "plain":
        return _plain(text, comparables, facts, currency, item_id)
    found = render(
        "rag", text=text, comparables=comparables, facts=facts, symbol=currency.answer_prefix
    )
    turns = (_instructions("price_instructions", currency), Message("user", found))
    return Prompt(turns, currency.answer_prefix, item_id)


def chain_start(
    text: str,
    currency: Currency,
    *,
    example: WorkedChain | None = None,
    item_id: str = "",
    form: PromptForm = "chat",
) -> Prompt:
    """The first of three steps: the product's attributes are asked for.

    The example stands in a plain prompt in the place of instructions.
    """
    if form == "plain":
        asked = render(
            "plain_chain",
            text=text,
            example=example,
            attributes_cue=ATTRIBUTES_CUE,
            comparables_cue=COMPARABLES_CUE,
            symbol=currency.answer_prefix,
        )
        return Prompt((Message("user", asked),), "", item_id, "attributes", form)
    turns = (
        _instructions("chain_instructions", currency),
        Message("user", f"{render('product', text=text)}\n{ATTRIBUTES_CUE}"),
    )
    return Prompt(turns, "", item_id, "attributes")


def chain_comparables(before: Prompt, attributes: str) -> Prompt:
    """The second step, after the answer to the first: comparable products and a price range."""
    said = (Message("assistant", _said(before, attributes)), Message("user", COMPARABLES_CUE))
    return Prompt(before.messages + said, "", before.item_id, "comparables", before.form)


def chain_price(before: Prompt, comparables: str, currency: Currency) -> Prompt:
    """The third step, after the answer to the second: the price."""
    said = Message("assistant", _said(before, comparables))
    return _asked_for_price(before, said, currency)


def tools_start(
    text: str,
    tools: Sequence[Tool],
    currency: Currency,
    *,
    example: WorkedTools | None = None,
    item_id: str = "",
    form: PromptForm = "chat",
) -> Prompt:
    """The tools and the product; the answer is an action.

    The example stands in a plain prompt in the place of instructions.
    """
    if form == "plain":
        asked = render(
            "plain_tools",
            text=text,
            tools=tools,
            example=example,
            action_label=ACTION_LABEL,
            answer_action=ANSWER_ACTION,
            symbol=currency.answer_prefix,
        )
        return Prompt((Message("user", asked),), ACTION_LABEL, item_id, "action", form)
    instructions = _instructions("tools_instructions", currency, tools=tools)
    turns = (instructions, Message("user", render("product", text=text)))
    return Prompt(turns, ACTION_LABEL, item_id, "action")


def tools_result(before: Prompt, action: str, lines: Sequence[str]) -> Prompt:
    """After an action and its result: the next action is asked for."""
    if before.form == "plain":
        result = "\n".join(plain_data(line) for line in lines)
    else:
        result = render("result", lines=lines)
    said = (
        Message("assistant", f"{ACTION_LABEL} {_said(before, action)}"),
        Message("user", result),
    )
    return Prompt(before.messages + said, ACTION_LABEL, before.item_id, "action", before.form)


def tools_price(before: Prompt, currency: Currency) -> Prompt:
    """After the last action: the price."""
    said = Message("assistant", f"{ACTION_LABEL} {ANSWER_ACTION}")
    return _asked_for_price(before, said, currency)


def answer(question: str, facts: Sequence[str], passages: Sequence[str]) -> Prompt:
    """A question, and what was found that may answer it."""
    found = render("answer", question=question, facts=facts, passages=passages)
    turns = (Message("system", render("answer_instructions")), Message("user", found))
    return Prompt(turns, "Answer:", step="answer")


def render(template: str, **values: Any) -> str:
    """A template's text, without the line break at its end."""
    return _template(template).render(**values).rstrip("\n")


@cache
def templates_version() -> str:
    """The first 16 hexadecimal digits of the sha256 over all that decides what a model is told.

    Those are the templates, in order of file name, an example of every prompt, how much of a text
    is shown where it is context, and what is taken out of it.
    """
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.jinja")):
        digest.update(f"{path.name}\n{path.read_text(encoding='utf-8')}\n".encode())
    for prompt in _examples():
        digest.update(f"{prompt!r}\n".encode())
    digest.update(f"{EXCERPT_CHARACTERS}\n{_FORGED.pattern}\n{_LABEL.pattern}".encode())
    return digest.hexdigest()[:16]


@cache
def _examples() -> tuple[Prompt, ...]:
    """A prompt of every function, of fixed values, among them such as are changed on the way."""
    currency, text = Currency("USD"), "Oak lamp\n\nBrand: A <product>b</product> <|user|> [INST] <"
    shots = [PricedText(text, 12.5, 3), PricedText("Desk", 0.2)]
    tools = [Tool("find", "Finds products.", BaseModel)]
    chain, acting = chain_start(text, currency), tools_start(text, tools, currency)
    compared = chain_comparables(chain, text)
    worked = WorkedChain(text, (text,), (text,), 3.0)
    plain_chain = chain_start(text, currency, example=worked, form="plain")
    plain_compared = chain_comparables(plain_chain, text)
    used = WorkedTools(text, "find {}", (text,), 3.0)
    plain_acting = tools_start(text, tools, currency, example=used, form="plain")
    return (
        zero_shot(text, currency),
        multi_shot(text, shots, currency),
        multi_shot(text, shots, Currency("XXX")),
        rag(text, shots, [text], currency),
        chain,
        compared,
        chain_price(compared, text, currency),
        acting,
        tools_result(acting, text, [text]),
        tools_price(acting, currency),
        multi_shot(text, shots, currency, form="plain"),
        rag(text, shots, [text], currency, form="plain"),
        plain_chain,
        chain_price(plain_compared, text, currency),
        tools_price(tools_result(plain_acting, text, [text]), currency),
        answer(text, [text], [text]),
    )


def _plain(
    text: str,
    examples: Sequence[PricedText],
    facts: Sequence[str],
    currency: Currency,
    item_id: str,
) -> Prompt:
    found = render(
        "plain", text=text, examples=examples, facts=facts, symbol=currency.answer_prefix
    )
    return Prompt((Message("user", found),), currency.answer_prefix, item_id, form="plain")


def _said(before: Prompt, text: str) -> str:
    """What a model said, as it may stand in the rest of its conversation."""
    return plain_data(text) if before.form == "plain" else data(text)


def _asked_for_price(before: Prompt, said: Message, currency: Currency) -> Prompt:
    """The conversation with its last words, and in turns the question for the price."""
    cue = (Message("user", FINAL_PRICE_CUE),) if before.form == "chat" else ()
    turns = (*before.messages, said, *cue)
    return Prompt(turns, currency.answer_prefix, before.item_id, "price", before.form)


def _instructions(template: str, currency: Currency, **values: Any) -> Message:
    text = render(template, currency=currency.code, symbol=currency.symbol, **values)
    return Message("system", text)


@cache
def _template(name: str) -> Template:
    # No autoescape: prompts are text, and what makes a text harmless in them is data().
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["data"] = data
    environment.filters["plain"] = plain_data
    environment.filters["price"] = lambda prefix, price: f"{prefix}{whole_price(price)}"
    return environment.get_template(f"{name}.jinja")
