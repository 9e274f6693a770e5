"""Prompting in a chain: attributes first, then comparable products, then the price.

Here belongs what each step asks and when its answer is of use. An answer that is not is left out,
and the chain goes on: the ledger says why. Only the last step decides whether there is a price.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import (
    BaseModel,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from pricing_platform.catalog.item_set import ItemSet, family_names
from pricing_platform.language import prompts
from pricing_platform.language.context_packing import FittedPrompt, pack_context
from pricing_platform.language.excerpts import excerpt
from pricing_platform.language.model import Completion, CompletionRequest, PriceAnswer, Prompt
from pricing_platform.language.price_text import parse_price
from pricing_platform.language.prompts import Currency, WorkedChain
from pricing_platform.pricing.prompting.language_calls import LanguageCalls
from pricing_platform.pricing.prompting.language_technique import (
    ANSWER_TOKENS,
    LanguageContext,
    LanguageTechnique,
)
from pricing_platform.pricing.prompting.reference_items import PriceHistory, References, observed_at

MOST_ATTRIBUTES = 12
MOST_COMPARABLES = 3
_NOTHING = "none"
_PRICE = "price"
_LONGEST_LINE = 160
_TAG = "\n<"
"""Where a model starts on another product."""

_WORKED_TEXT, _WORKED_TITLE, _WORKED_ATTRIBUTES = 240, 40, 3  # characters, and lines
_ATTRIBUTES = CompletionRequest(max_tokens=40, stop=(prompts.COMPARABLES_CUE, _TAG))
_COMPARABLES = CompletionRequest(max_tokens=48, stop=(prompts.FINAL_PRICE_CUE, _TAG))
_PAIR = re.compile(r"^[\s*\-•]*(?P<name>[^:]+?)[\s*]*:\s*(?P<value>.+)$")
_LISTED = re.compile(r"^[\s*\-•\d.)]*(?P<name>.+?)\s*[:–—-]\s*(?P<price>[^:]+)$")
_ENDS = re.compile(r"\s*(?:\bto\b|\band\b|–|—|-)\s*")

Rendered = Callable[[int, list[str]], Prompt]
"""The prompt of an item with these lines of its earlier answers."""

_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
_Value = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]
_Price = Annotated[float, Field(gt=0)]


class Attribute(BaseModel):
    """A line ``name: value``."""

    name: _Name
    value: _Value


class AttributesAnswer(BaseModel):
    """What the first step is to give."""

    attributes: Annotated[list[Attribute], Field(min_length=1, max_length=MOST_ATTRIBUTES)]

    @classmethod
    def read(cls, text: str) -> Self:
        """The lines that are attributes; others are left out, and so is a price: it comes last.

        Raises:
            ValidationError: when there is no such line.
        """
        pairs = [found for line in _lines(text) if (found := _PAIR.match(line))]
        kept = [
            Attribute(name=name, value=value)
            for found in pairs
            if (name := found["name"].strip()[:40].strip())
            and (value := found["value"].strip()[:120].strip())
            and name.lower() != _PRICE
        ]
        return cls(attributes=kept[:MOST_ATTRIBUTES])

    def lines(self) -> list[str]:
        """As the next step's prompt shows them."""
        return [f"{at.name}: {at.value}" for at in self.attributes]


class ComparableProduct(BaseModel):
    """A line ``- name: price``."""

    name: _Value
    price: _Price


class ComparablesAnswer(BaseModel):
    """What the second step is to give: products with prices, and the range of prices."""

    products: Annotated[list[ComparableProduct], Field(max_length=MOST_COMPARABLES)]
    low: _Price | None = None
    high: _Price | None = None

    @model_validator(mode="after")
    def _has_a_price(self) -> Self:
        if not self.products and self.low is None:
            raise ValueError("neither a product with its price nor a price range")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("the price range ends below where it starts")
        return self

    @classmethod
    def read(cls, text: str, currency: Currency) -> Self:
        """The products and the range that the lines name; others are left out.

        Raises:
            ValidationError: when there are neither, or the range runs downwards.
        """
        products, low, high = [], None, None
        for line in _lines(text):
            if prompts.RANGE_LABEL.lower() in line.lower():
                low, high = _range(line, currency)
            elif (product := _product(line, currency)) is not None:
                products.append(product)
        return cls(products=products[:MOST_COMPARABLES], low=low, high=high)

    def lines(self, currency: Currency) -> list[str]:
        """As the next step's prompt shows them; the range comes last."""
        lines = [f"- {at.name}: {_written(at.price, currency)}" for at in self.products]
        if self.low is not None and self.high is not None:
            ends = f"{_written(self.low, currency)} to {_written(self.high, currency)}"
            lines.append(f"{prompts.RANGE_LABEL} {ends}")
        return lines


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptChain(LanguageTechnique):
    """A language model that first names attributes and comparable products, then a price."""

    name: ClassVar[str] = "prompt_chain"
    version: ClassVar[str] = "4"
    choosing_items: ClassVar[int] = 16

    worked: References
    """A training item and after it two that are like it, which a plain prompt shows worked out."""

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
        return cls(**cls.bound_fields(language), worked=_typical_items(train))

    @property
    def settings(self) -> dict[str, JsonValue]:
        """How much each step may write."""
        return {
            "attributes_tokens": _ATTRIBUTES.max_tokens,
            "comparables_tokens": _COMPARABLES.max_tokens,
        }

    def prompts(self, items: ItemSet) -> list[FittedPrompt]:
        """See :class:`LanguageTechnique`; the first step's."""
        own, moments = self.worked.own(items), observed_at(items)
        examples = {
            item_id: self._example(int(moment)) if len(own[place]) == 0 else None
            for place, (item_id, moment) in enumerate(
                zip(items.frame["item_id"], moments, strict=True)
            )
        }

        def asked(text: str, item_id: str) -> Prompt:
            return prompts.chain_start(
                text,
                self.context.currency,
                example=examples[item_id],
                item_id=item_id,
                form=self.form,
            )

        return self.fitted_alone(items, asked, room=_ATTRIBUTES.max_tokens)

    def answers(
        self,
        items: ItemSet,  # noqa: ARG002
        asked: dict[int, FittedPrompt],
        calls: LanguageCalls,
    ) -> tuple[dict[int, PriceAnswer], dict[int, FittedPrompt]]:
        """See :class:`LanguageTechnique`: all items go from step to step together.

        What does not fit into the window any more is cut from the end of the attributes, then from
        that of the comparables.
        """
        start = {place: at.prompt for place, at in asked.items()}
        attributes = self._attributes(start, calls)
        second = self._fitted(
            attributes,
            lambda place, kept: prompts.chain_comparables(start[place], _shown(kept)),
            _COMPARABLES.max_tokens,
        )
        comparables = self._comparables(second, calls)

        def priced(place: int, kept: list[str]) -> Prompt:
            found = len(comparables[place])
            before = prompts.chain_comparables(start[place], _shown(kept[found:]))
            return prompts.chain_price(before, _shown(kept[:found]), self.context.currency)

        both = {place: comparables[place] + attributes[place] for place in start}
        last = self._fitted(both, priced, ANSWER_TOKENS)
        final = {place: at.prompt for place, at in last.items() if at.fits}
        return calls.read_prices(final), {place: replace(at, shown=0) for place, at in last.items()}

    def save_parts(self, folder: Path) -> None:
        """Writes the item that is worked out, and those beside it."""
        self.worked.save(folder)

    @classmethod
    def load_parts(cls, folder: Path, settings: dict[str, JsonValue]) -> dict[str, Any]:  # noqa: ARG003
        """See :class:`LanguageTechnique`."""
        return {"worked": References.load(folder)}

    @cached_property
    def _history(self) -> PriceHistory:
        return PriceHistory(self.worked, self.context.price_history)

    def _example(self, moment: int) -> WorkedChain | None:
        """The item worked out with the prices of a time; None where one was not known yet."""
        prices, currency = self._history.at(moment).prices, self.context.currency
        if self.form == "chat" or len(prices) < 2 or not np.isfinite(prices).all():
            return None
        others = [
            ComparableProduct(name=excerpt(title, _WORKED_TITLE) or "a product", price=price)
            for title, price in zip(self.worked.titles[1:], prices[1:], strict=True)
        ]
        answer = ComparablesAnswer(products=others, low=prices.min(), high=prices.max())
        text = excerpt(self.worked.texts[0], _WORKED_TEXT)
        attributes = [line for line in _lines(text) if _PAIR.match(line)][:_WORKED_ATTRIBUTES]
        return WorkedChain(text, tuple(attributes), tuple(answer.lines(currency)), float(prices[0]))

    def _requests(self) -> tuple[CompletionRequest, CompletionRequest]:
        """For attributes and for comparables; in a plain prompt a blank line ends them too."""
        if self.form == "chat":
            return _ATTRIBUTES, _COMPARABLES
        ended = (prompts.BLANK_LINE,)
        return (
            replace(_ATTRIBUTES, stop=_ATTRIBUTES.stop + ended),
            replace(_COMPARABLES, stop=(*_COMPARABLES.stop, prompts.PRICE_LINE, *ended)),
        )

    def _attributes(self, asked: dict[int, Prompt], calls: LanguageCalls) -> dict[int, list[str]]:
        """The lines of the first step's answers; none where an answer is of no use."""
        lines: dict[int, list[str]] = {place: [] for place in asked}

        def check(place: int, answer: Completion) -> str | None:
            try:
                lines[place] = AttributesAnswer.read(answer.text).lines()
            except ValidationError:
                return "it has no line of the form `name: value`"
            return None

        calls.complete(asked, self._requests()[0], check=check)
        return lines

    def _comparables(
        self, fitted: dict[int, FittedPrompt], calls: LanguageCalls
    ) -> dict[int, list[str]]:
        """As :meth:`_attributes`, of the second step; what has no room for it goes without."""
        currency = self.context.currency
        lines: dict[int, list[str]] = {place: [] for place in fitted}

        def check(place: int, answer: Completion) -> str | None:
            try:
                lines[place] = ComparablesAnswer.read(answer.text, currency).lines(currency)
            except ValidationError as error:
                return str(error.errors()[0]["msg"])
            return None

        asked = {place: at.prompt for place, at in fitted.items() if at.fits}
        calls.complete(asked, self._requests()[1], check=check)
        return lines

    def _fitted(
        self, lines: dict[int, list[str]], render: Rendered, answer_tokens: int
    ) -> dict[int, FittedPrompt]:
        places = list(lines)
        fitted = pack_context(
            self.context.model,
            lambda at, count: render(places[at], lines[places[at]][:count]),
            [len(lines[place]) for place in places],
            answer_tokens=answer_tokens,
        )
        return dict(zip(places, fitted, strict=True))


def _typical_items(train: ItemSet) -> References:
    """The item whose price is nearest to the median, and two of other families that are like it."""
    if len(train) == 0:
        return References.of(train)
    prices = train.prices()
    chosen = int(np.abs(prices - np.median(prices)).argmin())
    families = np.array(family_names(train), dtype=object)
    alike = train.embeddings.astype(np.float32) @ train.embeddings[chosen].astype(np.float32)
    alike[families == families[chosen]] = -np.inf
    nearest = [int(at) for at in np.argsort(-alike, kind="stable")[:2] if np.isfinite(alike[at])]
    return References.of(train.take([chosen, *nearest]))


def _shown(lines: list[str]) -> str:
    return "\n".join(lines) or _NOTHING


def _lines(text: str) -> list[str]:
    return [line.strip()[:_LONGEST_LINE] for line in text.splitlines() if line.strip()]


def _product(line: str, currency: Currency) -> ComparableProduct | None:
    """The product with its price that a line names; null where it names none."""
    found = _LISTED.match(line)
    price = parse_price(found["price"], currency).price if found is not None else None
    if found is None or price is None or found["name"].lower() == _PRICE:
        return None
    return ComparableProduct(name=found["name"][:120], price=price)


def _range(line: str, currency: Currency) -> tuple[float | None, float | None]:
    """Both ends of a line ``Price range: low to high``; null where either is no price."""
    ends = _ENDS.split(line.partition(":")[2].strip())
    prices = [parse_price(end, currency).price for end in ends]
    if len(prices) != 2 or None in prices:
        return None, None
    return prices[0], prices[1]


def _written(price: float, currency: Currency) -> str:
    return f"{currency.symbol}{prompts.whole_price(price)}"
