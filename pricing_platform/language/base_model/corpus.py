"""What the platform's own language model reads: the prompts of inference, with their answers.

Here belong which items may be read, and documents made of them. Each document is rendered by
``language.prompts``, as at inference, and ends with the price. Nothing here knows of tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pricing_platform.language import prompts
from pricing_platform.language.base_model.configuration import BaseModelConfiguration
from pricing_platform.language.excerpts import excerpt
from pricing_platform.language.model import Prompt, Tool

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_AGE_LIMIT = 180
_DROPPED = 0.15  # of the nearest, so that not always the same ones stand together
_KNOWLEDGE_CHARACTERS = 1_200
_FACTS = 2
_ATTRIBUTES = 3
_QUERY_WORDS = 5


@dataclass(frozen=True, eq=False)
class TrainingItems:
    """The items of the train split, in order of item id.

    ``prices`` are of shape (items,); ``neighbours`` of shape (items, k): the nearest other items of
    other families, nearest first, -1 where there is none. An item without a family is one alone.
    """

    texts: list[str]
    titles: list[str]
    brands: list[str | None]
    categories: list[str]
    prices: Floats
    families: list[str | None]
    neighbours: Integers

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, eq=False)
class Parts:
    """The items by what they are for, as their places in order; and the families by the same.

    ``learnt``: trained on. ``left_out``: of families that no document holds. ``measured``: those of
    the left-out that perplexity and price error are measured on.
    """

    learnt: Integers
    left_out: Integers
    measured: Integers
    left_out_families: list[str]
    measured_families: list[str]


def divide(items: TrainingItems, configuration: BaseModelConfiguration) -> Parts:
    """Divides the items by a hash of their family; an item without one counts by its text.

    Where that leaves out so many that less than half of what should be learnt remains, as with a
    few large families, nothing is left out.
    """
    names = [f if f is not None else t for f, t in zip(items.families, items.texts, strict=True)]
    place = np.array([_uniform(name) for name in names])
    share = configuration.left_out_share
    if np.mean(place >= share) < (1 - share) / 2:
        share = 0.0
    left_out = place < share
    measured = np.flatnonzero(place < share / 4)[: configuration.held_out_items]

    def families(rows: Integers) -> list[str]:
        return sorted({f for row in rows if (f := items.families[row]) is not None})

    rows = np.flatnonzero(left_out)
    return Parts(np.flatnonzero(~left_out), rows, measured, families(rows), families(measured))


def _uniform(name: str) -> float:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents by number: the same number, the same document; each pass shows each item once."""

    items: TrainingItems
    learnt: Integers
    knowledge: Sequence[str]
    tools: Sequence[Tool]
    currency: prompts.Currency
    configuration: BaseModelConfiguration
    seed: int

    @cached_property
    def _is_learnt(self) -> npt.NDArray[np.bool_]:
        is_learnt = np.zeros(len(self.items), bool)
        is_learnt[self.learnt] = True
        return is_learnt

    @cached_property
    def _kinds(self) -> tuple[list[str], Floats]:
        shares = self.configuration.shares.model_dump()
        if not self.knowledge:
            shares["knowledge"] = 0.0
        if not self.tools:
            shares["tools"] = 0.0
        weights = np.array(list(shares.values()))
        return list(shares), weights / weights.sum()

    @cached_property
    def _by_category(self) -> dict[str, Integers]:
        rows: dict[str, list[int]] = {}
        for row in self.learnt:
            rows.setdefault(self.items.categories[row], []).append(int(row))
        return {category: np.array(found) for category, found in rows.items()}

    @cached_property
    def _family_codes(self) -> Integers:
        """The same number for items of one family, another for every other item."""
        codes: dict[str | int, int] = {}
        keys = [row if f is None else f for row, f in enumerate(self.items.families)]
        return np.array([codes.setdefault(key, len(codes)) for key in keys])

    def document(self, number: int) -> str:
        """The text of a document, without the token that ends it."""
        turn, place = divmod(number, len(self.learnt))
        row = int(self.learnt[self._order(turn)[place]])
        random = np.random.default_rng([self.seed, 1, number])
        names, weights = self._kinds
        kind = names[random.choice(len(names), p=weights)]
        if kind == "knowledge":
            return self._knowledge(random)
        make: dict[str, Callable[[int, np.random.Generator], str]] = {
            "rag": self._rag,
            "multi_shot": self._multi_shot,
            "zero_shot": lambda row, _: self.priced(row, 0),
            "chain": self._chain,
            "tools": self._tools,
        }
        return make[kind](row, random)

    def priced(self, row: int, count: int) -> str:
        """An item behind its nearest comparables, at most so many, answered; 0 is zero-shot."""
        near = [self._priced_text(at) for at in self._near(row)[:count][::-1]]
        if not near:
            return self._answered(prompts.zero_shot(self.items.texts[row], self.currency), row)
        return self._answered(prompts.rag(self.items.texts[row], near, [], self.currency), row)

    def _order(self, turn: int) -> Integers:
        if self._orders.get(turn) is None:
            self._orders.clear()
            order = np.random.default_rng([self.seed, 0, turn]).permutation(len(self.learnt))
            self._orders[turn] = order
        return self._orders[turn]

    @cached_property
    def _orders(self) -> dict[int, Integers]:
        return {}

    def _answered(self, prompt: Prompt, row: int, factor: float = 1.0) -> str:
        price = min(factor * self.items.prices[row], self.configuration.highest_price)
        return f"{prompt.as_text()}{prompts.whole_price(price)}"

    def _near(self, row: int) -> Integers:
        """The nearest items that may be read, nearest first."""
        found: Integers = self.items.neighbours[row]
        there = found[found >= 0]
        readable: Integers = there[self._is_learnt[there]]
        return readable

    def _priced_text(self, row: int, age_days: int = 0, factor: float = 1.0) -> prompts.PricedText:
        price = min(factor * float(self.items.prices[row]), self.configuration.highest_price)
        return prompts.PricedText(excerpt(self.items.texts[row]), price, age_days)

    def _some_near(self, row: int, random: np.random.Generator, count: int) -> Integers:
        near = self._near(row)
        kept = near[random.random(len(near)) >= _DROPPED]
        return kept[:count]

    def _rag(self, row: int, random: np.random.Generator) -> str:
        count = int(random.integers(1, self.configuration.most_comparables + 1))
        near = self._some_near(row, random, count)[::-1]
        factor = self._factor(random) if len(near) else 1.0
        with_age = random.random() < 0.5
        ages = random.integers(_AGE_LIMIT, size=len(near)) if with_age else np.zeros_like(near)
        shown = [
            self._priced_text(int(at), int(age), factor) for at, age in zip(near, ages, strict=True)
        ]
        facts = self._facts(row) if random.random() < 0.1 else []
        prompt = prompts.rag(self.items.texts[row], shown, facts, self.currency)
        return self._answered(prompt, row, factor)

    def _factor(self, random: np.random.Generator) -> float:
        """What all prices of a document are multiplied by.

        What an item costs is soon known by heart, and a model that knows it has no use for the
        prices beside it. Where all are shifted alike, only they tell by how much.
        """
        if random.random() >= self.configuration.shifted_share:
            return 1.0
        return float(np.exp(self.configuration.shift * random.standard_normal()))

    def _multi_shot(self, row: int, random: np.random.Generator) -> str:
        count = int(random.integers(1, self.configuration.most_comparables + 1))
        others = random.choice(self.learnt, size=min(count, len(self.learnt)), replace=False)
        shots = [self._priced_text(int(at)) for at in self._of_others(row, others)]
        prompt = prompts.multi_shot(self.items.texts[row], shots, self.currency)
        return self._answered(prompt, row)

    def _of_others(self, row: int, rows: Integers) -> Integers:
        """Those of the items that are not of this one's family."""
        others: Integers = rows[self._family_codes[rows] != self._family_codes[row]]
        return others

    def _chain(self, row: int, random: np.random.Generator) -> str:
        """Zero-shot where nothing is near: a step that names no price is no answer to learn."""
        near = self._some_near(row, random, 3)
        if not len(near):
            return self.priced(row, 0)
        symbol = self.currency.symbol
        lines = [f"- {self._line(int(at))}" for at in near]
        around = self.items.prices[near]
        low, high = prompts.whole_price(around.min()), prompts.whole_price(around.max())
        lines.append(f"{prompts.RANGE_LABEL} {symbol}{low} to {symbol}{high}")
        attributes = self.items.texts[row].split("\n")[1 : _ATTRIBUTES + 1] or [
            self.items.titles[row]
        ]
        asked = prompts.chain_start(self.items.texts[row], self.currency)
        compared = prompts.chain_comparables(asked, "\n".join(attributes))
        prompt = prompts.chain_price(compared, "\n".join(lines), self.currency)
        return self._answered(prompt, row)

    def _line(self, row: int) -> str:
        price = prompts.whole_price(self.items.prices[row])
        return f"{self.items.titles[row]}: {self.currency.symbol}{price}"

    def _tools(self, row: int, random: np.random.Generator) -> str:
        prompt = prompts.tools_start(self.items.texts[row], self.tools, self.currency)
        for name in self._used_tools(random):
            arguments, lines = self._tool_use(name, row, random)
            action = f"{name} {json.dumps(arguments, ensure_ascii=False)}"
            prompt = prompts.tools_result(prompt, action, lines)
        return self._answered(prompts.tools_price(prompt, self.currency), row)

    def _used_tools(self, random: np.random.Generator) -> list[str]:
        usual = {
            "find_comparables": 0.95,
            "price_statistics": 0.5,
            "current_facts": 0.15,
            "calculator": 0.15,
        }
        offered = {tool.name for tool in self.tools}
        return [n for n, share in usual.items() if n in offered and random.random() < share]

    def _tool_use(
        self, name: str, row: int, random: np.random.Generator
    ) -> tuple[dict[str, object], list[str]]:
        """The arguments of a call and the lines that it finds."""
        near = self._some_near(row, random, 4)
        if name == "find_comparables":
            lines = [self._line(int(at)) for at in near] or ["nothing found"]
            return {"query": _first_words(self.items.titles[row]), "count": 4}, lines
        if name == "price_statistics":
            return {"category": self.items.categories[row]}, self._statistics(row)
        if name == "current_facts":
            subject = self.items.brands[row] or self.items.titles[row]
            return {"subject": subject}, self._facts(row) or ["nothing is known"]
        shown = [prompts.whole_price(self.items.prices[at]) for at in near[:2]] or [1]
        mean = round(sum(shown) / len(shown))
        return {"expression": f"({' + '.join(map(str, shown))}) / {len(shown)}"}, [str(mean)]

    def _statistics(self, row: int) -> list[str]:
        """Lines about the prices of the item's category, its own family left out."""
        category = self.items.categories[row]
        prices = self.items.prices[self._of_others(row, self._by_category[category])]
        if not len(prices):
            return ["nothing found"]
        names = ("lower quartile", "median", "upper quartile")
        quartiles = np.quantile(prices, (0.25, 0.5, 0.75))
        lines = [
            f"{name}: {self.currency.symbol}{prompts.whole_price(price)}"
            for name, price in zip(names, quartiles, strict=True)
        ]
        return [f"items: {len(prices)}", *lines]

    def _facts(self, row: int) -> list[str]:
        """Lines of the knowledge documents that name the item's brand."""
        brand = self.items.brands[row]
        return [] if brand is None else self._brand_lines.get(brand, [])

    @cached_property
    def _brand_lines(self) -> dict[str, list[str]]:
        lines = [line for text in self.knowledge for line in text.splitlines() if line.strip()]
        found: dict[str, list[str]] = {}
        for brand in sorted({self.items.brands[row] or "" for row in self.learnt} - {""}):
            found[brand] = [excerpt(line) for line in lines if brand in line][:_FACTS]
        return found

    def _knowledge(self, random: np.random.Generator) -> str:
        text = self.knowledge[int(random.integers(len(self.knowledge)))]
        start = int(random.integers(max(1, len(text) - _KNOWLEDGE_CHARACTERS + 1)))
        start = text.rfind("\n", 0, start) + 1
        return text[start : start + _KNOWLEDGE_CHARACTERS]


def _first_words(title: str) -> str:
    """What a search is made with: short enough to be copied without a mistake."""
    return " ".join(title.split()[:_QUERY_WORDS]).rstrip(" ,-–")
