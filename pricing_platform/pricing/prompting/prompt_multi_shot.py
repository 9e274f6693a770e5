"""Prompting with examples: the same products and prices before every product that is asked about.

Here belongs which training items the examples are. They come first and are the same for all items
of one time, so that a model computes them once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.language import prompts
from pricing_platform.language.context_packing import FittedPrompt, pack_context
from pricing_platform.language.excerpts import EXCERPT_CHARACTERS, excerpt
from pricing_platform.language.model import PriceAnswer, Prompt
from pricing_platform.language.prompts import PricedText
from pricing_platform.pricing.estimates import Floats
from pricing_platform.pricing.prompting.language_calls import LanguageCalls
from pricing_platform.pricing.prompting.language_technique import (
    ANSWER_TOKENS,
    Choosing,
    LanguageContext,
    LanguageTechnique,
)
from pricing_platform.pricing.prompting.reference_items import (
    PriceHistory,
    References,
    observed_at,
    texts_of,
)
from pricing_platform.pricing.tabular.neighbours import Integers
from pricing_platform.pricing.tabular.text_model import families_of

DEFAULT_COUNT = 6
_COUNTS = (3, 6, 12)


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptMultiShot(LanguageTechnique):
    """A language model that is shown k fixed examples over all prices and categories.

    Each has the price that was known when the item that is asked about was observed.
    """

    name: ClassVar[str] = "prompt_multi_shot"
    version: ClassVar[str] = "5"

    shots: References
    by_count: dict[int, References]
    """The shots that may be chosen; kept only until they are."""

    @classmethod
    def prepared(
        cls, train: ItemSet, *, seed: int, language: LanguageContext, count: int | None = None
    ) -> Self:
        """See :class:`LanguageTechnique`; ``count`` shots, or the default number of them."""
        wanted = DEFAULT_COUNT if count is None else count
        counts = {wanted, *(_COUNTS if count is None else ())}
        by_count = {at: choose_shots(train, at, seed=seed) for at in sorted(counts)}
        return cls(
            **cls.bound_fields(language),
            shots=by_count[wanted],
            by_count=by_count,
        )

    def chosen(self, choosing: Choosing) -> tuple[Self, dict[str, float]]:
        """As many shots as have the lowest MAE on a sample."""
        candidates: dict[int, Self] = {}
        errors: dict[int, Floats] = {}
        for shots in self.by_count.values():
            candidate = replace(self, shots=shots, by_count={})
            candidates[len(shots)], errors[len(shots)] = choosing.sharpened(candidate)
        best = min(errors, key=lambda count: float(errors[count].mean()))
        found = {f"tried_mae_{count}_shots": float(at.mean()) for count, at in errors.items()}
        return candidates[best], found

    @property
    def settings(self) -> dict[str, JsonValue]:
        """How many shots, and how long each is at most."""
        return {"shots": len(self.shots), "characters": EXCERPT_CHARACTERS}

    def prompts(self, items: ItemSet) -> list[FittedPrompt]:
        """See :class:`LanguageTechnique`; shots of an item's own family are not shown."""
        texts, ids = texts_of(items), items.frame["item_id"].to_list()
        own = self.shots.own(items)
        shown = [
            self._shown(int(moment), without=own[place])
            for place, moment in enumerate(observed_at(items))
        ]
        currency = self.context.currency

        def asked(place: int, count: int) -> Prompt:
            kept = shown[place][:count]
            return prompts.multi_shot(
                texts[place], kept, currency, item_id=ids[place], form=self.form
            )

        return pack_context(
            self.context.model, asked, [len(at) for at in shown], answer_tokens=ANSWER_TOKENS
        )

    def answers(
        self, items: ItemSet, asked: dict[int, FittedPrompt], calls: LanguageCalls
    ) -> tuple[dict[int, PriceAnswer], dict[int, FittedPrompt]]:
        """See :class:`LanguageTechnique`; those that begin alike come together, to share that."""
        alike = sorted(asked.items(), key=lambda at: at[1].prompt.as_text())
        return super().answers(items, dict(alike), calls)

    def _shown(self, moment: int, *, without: Integers) -> list[PricedText]:
        """The shots that had a price by then, as a prompt takes them."""
        prices = self._history.at(moment).prices
        return [
            PricedText(text, float(price))
            for at, (text, price) in enumerate(zip(self._excerpts, prices, strict=True))
            if np.isfinite(price) and at not in without
        ]

    @cached_property
    def _excerpts(self) -> list[str]:
        return [excerpt(text) for text in self.shots.texts]

    @cached_property
    def _history(self) -> PriceHistory:
        return PriceHistory(self.shots, self.context.price_history)

    def save_parts(self, folder: Path) -> None:
        """Writes the shots."""
        self.shots.save(folder)

    @classmethod
    def load_parts(cls, folder: Path, settings: dict[str, JsonValue]) -> dict[str, Any]:  # noqa: ARG003
        """See :class:`LanguageTechnique`."""
        return {"shots": References.load(folder), "by_count": {}}


def choose_shots(train: ItemSet, count: int, *, seed: int) -> References:
    """So many items that cover the prices evenly and, within that, the categories.

    The items, in order of price, are parted into ``count`` strata of equal size. From each stratum
    comes an item of the category that has the fewest shots so far for its share of the items; which
    one of them is drawn. The order is that in which every beginning of the list covers the prices
    as evenly as it can, so that what is cut for want of room leaves no range of prices bare.
    """
    count = min(count, len(train))
    if count == 0:
        return References.of(train.take([]))
    random = np.random.default_rng(seed)
    strata = np.array_split(np.argsort(train.prices(), kind="stable"), count)
    categories = train.frame["category"].fill_null("").to_list()
    sizes = Counter(categories)
    taken: Counter[str] = Counter()
    families: set[str | None] = set()
    family_of = families_of(train)
    shots: list[int] = []
    for stratum in _evenly(count):
        places = strata[stratum][random.permutation(len(strata[stratum]))]
        free = [at for at in places if family_of[at] is None or family_of[at] not in families]
        place = min(
            free or places,
            key=lambda at: (taken[categories[at]] + 1) / sizes[categories[at]],
        )
        taken[categories[place]] += 1
        families.add(family_of[place])
        shots.append(int(place))
    return References.of(train.take(shots))


def _evenly(count: int) -> list[int]:
    """0 to count - 1 so that each next number lies farthest from those before."""
    order = [count // 2]
    left = [at for at in range(count) if at != order[0]]
    while left:
        farthest = max(left, key=lambda at: min(abs(at - taken) for taken in order))
        order.append(farthest)
        left.remove(farthest)
    return order
