"""The tools that a language model may call before it names a price, and what they answer.

Here belong the tools' names, the validation of their arguments, and their results as lines of text.
When a tool is called, and how the conversation goes on, belongs to ``prompt_tools``. A tool reads
the training items as they were known when the item was observed, never the item's own family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pricing_platform.language.excerpts import excerpt
from pricing_platform.language.model import Tool
from pricing_platform.language.prompts import Currency, whole_price
from pricing_platform.pricing.prompting.prompt_facts import KnownFacts
from pricing_platform.pricing.prompting.reference_items import PriceHistory, References
from pricing_platform.pricing.prompting.word_search import WordSearch, best
from pricing_platform.pricing.tabular.neighbours import Integers

MOST_COMPARABLES = 5
_TITLE_CHARACTERS = 120
_FACTS = 3
_QUARTILES = ("lower quartile", "median", "upper quartile")
_EXPRESSION = r"^[0-9+\-*/(). ]+$"

_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FindComparables(_Arguments):
    """Words to search for, and how many products to return."""

    query: _Words
    count: Annotated[int, Field(ge=1, le=MOST_COMPARABLES)] = 3


class PriceStatistics(_Arguments):
    """A category, and a brand where only its products count."""

    category: _Words
    brand: _Words | None = None


class CurrentFacts(_Arguments):
    """Whom or what the facts are about."""

    subject: _Words


class Calculator(_Arguments):
    """Numbers, brackets and the four operations."""

    expression: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=_EXPRESSION)]


TOOLS = (
    Tool(
        "find_comparables",
        'similar products and prices, {"query": "words", "count": 3}',
        FindComparables,
    ),
    Tool(
        "price_statistics",
        'quartiles of the prices, {"category": "name", "brand": "name or null"}',
        PriceStatistics,
    ),
    Tool("current_facts", 'what is known now, {"subject": "brand"}', CurrentFacts),
    Tool("calculator", 'arithmetic, {"expression": "2 * 9.5"}', Calculator),
)


@dataclass(frozen=True, eq=False)
class ItemView:
    """What tools may see for one item: what was known by ``moment``, and nothing of ``own``."""

    moment: int
    own: Integers


@dataclass(frozen=True)
class ToolResult:
    """What a tool answers; the first ``comparables`` of the lines name one each, the best first.

    ``valid`` is false where the call was not, and the one line says why.
    """

    lines: list[str]
    comparables: int = 0
    valid: bool = True

    @classmethod
    def error(cls, reason: str) -> ToolResult:
        """Of a call that is not valid."""
        return cls([f"error: {reason}"], valid=False)


@dataclass(frozen=True, eq=False)
class PricingTools:
    """The tools over these references and facts."""

    references: References
    history: PriceHistory
    search: WordSearch
    facts: KnownFacts
    currency: Currency

    def call(self, name: str, arguments: str, view: ItemView) -> ToolResult:
        """The result of a call; of one that is not valid, a line that says why.

        Args:
            name: as the model wrote it.
            arguments: JSON as the model wrote it.
            view: what may be seen.
        """
        tool = next((tool for tool in TOOLS if tool.name == name), None)
        if tool is None:
            known = ", ".join(tool.name for tool in TOOLS)
            return ToolResult.error(f"there is no such tool; use {known}")
        try:
            validated = tool.arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            return ToolResult.error(_first_error(error))
        return self._functions[name](validated, view)

    @property
    def _functions(self) -> dict[str, Callable[[Any, ItemView], ToolResult]]:
        return {
            "find_comparables": self._find_comparables,
            "price_statistics": self._price_statistics,
            "current_facts": self._current_facts,
            "calculator": _calculated,
        }

    def _find_comparables(self, asked: FindComparables, view: ItemView) -> ToolResult:
        known = self.history.at(view.moment)
        hidden = np.union1d(np.flatnonzero(~np.isfinite(known.prices)), view.own)
        found = best(self.search.scores(asked.query), asked.count, without=hidden)
        if not len(found):
            return ToolResult(["nothing found"])
        lines = [
            f"{self._title(at)}: {self._written(known.prices[at])}{_age(int(known.age_days[at]))}"
            for at in found
        ]
        return ToolResult(lines, len(lines))

    def _price_statistics(self, asked: PriceStatistics, view: ItemView) -> ToolResult:
        prices = self.history.at(view.moment).prices
        counts = np.isfinite(prices)
        counts[view.own] = False
        counts &= _places(self._by_category, asked.category, len(counts))
        if asked.brand is not None:
            counts &= _places(self._by_brand, asked.brand, len(counts))
        if not counts.any():
            return ToolResult(["nothing found"])
        quartiles = np.quantile(prices[counts], (0.25, 0.5, 0.75))
        lines = [
            f"{name}: {self._written(price)}"
            for name, price in zip(_QUARTILES, quartiles, strict=True)
        ]
        return ToolResult([f"items: {int(counts.sum())}", *lines])

    def _current_facts(self, asked: CurrentFacts, view: ItemView) -> ToolResult:
        known = self.facts.about(asked.subject, _FACTS, view.moment)
        return ToolResult(known or ["nothing is known"])

    @cached_property
    def _by_category(self) -> dict[str, list[int]]:
        return _by_name(self.references.categories)

    @cached_property
    def _by_brand(self) -> dict[str, list[int]]:
        return _by_name(self.references.brands)

    def _title(self, place: int) -> str:
        title = " ".join((self.references.titles[place] or self.references.texts[place]).split())
        return excerpt(title, _TITLE_CHARACTERS)

    def _written(self, price: float) -> str:
        return f"{self.currency.symbol}{whole_price(price)}"


def calculate(expression: str) -> float:
    """The value of an expression of numbers, brackets and + - * /.

    Raises:
        ValueError: when it is none, or has no finite value.
    """
    import ast
    import operator

    from simpleeval import InvalidExpression, SimpleEval

    operations = {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.USub: operator.neg,
        ast.UAdd: operator.pos,
    }
    try:
        value = float(SimpleEval(operators=operations, functions={}, names={}).eval(expression))
    except (InvalidExpression, ArithmeticError, SyntaxError, TypeError, RecursionError) as error:
        raise ValueError("it cannot be calculated") from error
    if not np.isfinite(value):
        raise ValueError("it has no finite value")
    return value


def _calculated(asked: Calculator, _view: ItemView) -> ToolResult:
    try:
        return ToolResult([f"{calculate(asked.expression):.10g}"])
    except ValueError as error:
        return ToolResult.error(str(error))


def _age(days: int) -> str:
    """As it follows a price; nothing where that is of the same day."""
    return f" ({days} day{'' if days == 1 else 's'} old)" if days > 0 else ""


def _by_name(names: list[str | None]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name is not None:
            places.setdefault(name.casefold(), []).append(place)
    return places


def _places(by_name: dict[str, list[int]], name: str, count: int) -> npt.NDArray[np.bool_]:
    """Which of the references have the name, in whatever case."""
    found = np.zeros(count, dtype=bool)
    found[by_name.get(name.casefold(), [])] = True
    return found


def _first_error(error: ValidationError) -> str:
    """The first thing that is wrong with the arguments, without what the model wrote."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
