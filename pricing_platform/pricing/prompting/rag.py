"""Retrieval-augmented generation: the most comparable training items stand in the prompt.

Here belongs which training items are shown for an item, at which price, and in which order. What a
prompt looks like belongs to ``language.prompts``, what is known of the references to
``reference_items``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.language import prompts
from pricing_platform.language.context_packing import FittedPrompt, pack_context
from pricing_platform.language.excerpts import excerpt
from pricing_platform.language.model import Prompt
from pricing_platform.language.prompts import PricedText
from pricing_platform.pricing.estimates import Floats
from pricing_platform.pricing.prompting.language_technique import (
    ANSWER_TOKENS,
    Choosing,
    LanguageContext,
    LanguageTechnique,
)
from pricing_platform.pricing.prompting.prompt_facts import KnownFacts
from pricing_platform.pricing.prompting.reference_items import (
    PriceHistory,
    References,
    observed_at,
    priced_at,
    texts_of,
)
from pricing_platform.pricing.prompting.word_search import WordSearch, best
from pricing_platform.pricing.serialization import read_arrays, write_arrays
from pricing_platform.pricing.tabular.features import rounded
from pricing_platform.pricing.tabular.neighbours import Integers, dense_neighbours
from pricing_platform.pricing.tabular.text_model import families_of

_COUNTS = (3, 5, 8)
_WORD_WEIGHTS = (0.0, 0.3, 0.6)
_EXCERPT_CHARACTERS = 100
"""Of each comparable's text; what stands behind it takes time and tells little more."""

_FACTS = 3
_RANK_CONSTANT = 60
"""Of reciprocal rank fusion, as Cormack et al. (2009) set it."""

_EMBEDDINGS = "embeddings.safetensors"


@dataclass(frozen=True)
class RagOptions:
    """How many comparables, what the word search counts (0 to 1) against the vectors, their order.

    ``nearest_last`` puts the most comparable one right before the product.
    """

    count: int = 5
    word_weight: float = 0.3
    nearest_last: bool = True


@dataclass(frozen=True)
class Comparable:
    """A training item as it is shown for an item: its price as then known, and that price's age."""

    item_id: str
    title: str
    text: str
    price: float
    age_days: int

    @property
    def shown(self) -> PricedText:
        """As a prompt takes it."""
        return PricedText(excerpt(self.text, _EXCERPT_CHARACTERS), self.price, self.age_days)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rag(LanguageTechnique):
    """A language model that is shown the k most comparable training items and what they cost.

    They are found by vector and by BM25 and fused by reciprocal rank (Cormack et al. 2009). None is
    of the item's own family, and each has the price that was known when the item was observed.
    """

    name: ClassVar[str] = "rag"
    version: ClassVar[str] = "7"

    references: References
    embeddings: npt.NDArray[np.float16]
    options: RagOptions

    @classmethod
    def prepared(
        cls,
        train: ItemSet,
        *,
        seed: int,  # noqa: ARG003
        language: LanguageContext,
        count: int | None = None,
    ) -> Self:
        """See :class:`LanguageTechnique`; ``count`` comparables, or the default number of them."""
        return cls(
            **cls.bound_fields(language),
            references=References.of(train),
            embeddings=train.embeddings.astype(np.float16),
            options=RagOptions() if count is None else RagOptions(count=count),
        )

    def with_best_form(self, choosing: Choosing) -> tuple[Self, dict[str, float]]:
        """See :class:`LanguageTechnique`; before it, what the word search counts is chosen.

        That is what finds the most telling comparables: those whose median price is nearest. No
        model is asked for it.
        """
        self._words  # noqa: B018  # made here once, for all that are tried
        weights = {
            weight: self.with_options(replace(self.options, word_weight=weight))
            for weight in _WORD_WEIGHTS
        }
        found = {
            weight: float(technique.comparables_errors(choosing).mean())
            for weight, technique in weights.items()
        }
        best = min(found, key=lambda at: found[at])
        formed, tried = super(Rag, weights[best]).with_best_form(choosing)
        return formed, tried | {f"median_mae_{at:g}_words": mae for at, mae in found.items()}

    def comparables_errors(self, choosing: Choosing) -> Floats:
        """Absolute errors of the median price of the comparables, on all validation items."""
        prices = [[at.price for at in found] for found in self.comparables(choosing.validation)]
        medians = [float(np.median(at)) if at else choosing.otherwise for at in prices]
        errors: Floats = np.abs(np.array(medians) - choosing.validation.prices())
        return errors

    def chosen(self, choosing: Choosing) -> tuple[Self, dict[str, float]]:
        """The number of comparables with the lowest MAE.

        What fewer comparables would save and cost is what the context sweep tells.
        """
        tried = [
            choosing.sharpened(self.with_options(replace(self.options, count=count)))
            for count in _COUNTS
        ]
        best, _ = min(tried, key=lambda at: float(at[1].mean()))
        metrics = {
            f"tried_mae_{at.options.count}_comparables": float(errors.mean())
            for at, errors in tried
        }
        return best, metrics

    def with_options(self, options: RagOptions) -> Self:
        """The same references, shown in another way."""
        return self.changed(options=options)

    @property
    def settings(self) -> dict[str, JsonValue]:
        """The options, and how long a comparable is at most."""
        return {**asdict(self.options), "characters": _EXCERPT_CHARACTERS}

    def prompts(self, items: ItemSet) -> list[FittedPrompt]:
        """See :class:`LanguageTechnique`; facts about the brand are left out before comparables."""
        return self._fitted(items, self.comparables(items))

    def shown_comparables(self, items: ItemSet) -> list[list[Comparable]]:
        """For each item those that stand in its prompt, the most comparable first."""
        found = self.comparables(items)
        fitted = self._fitted(items, found)
        return [at[: prompt.shown] for at, prompt in zip(found, fitted, strict=True)]

    def _fitted(self, items: ItemSet, found: list[list[Comparable]]) -> list[FittedPrompt]:
        currency = self.context.currency
        texts, ids = texts_of(items), items.frame["item_id"].to_list()
        facts = [
            self._facts.about(brand, _FACTS, int(moment))
            for brand, moment in zip(items.frame["brand"], observed_at(items), strict=True)
        ]

        def asked(place: int, count: int) -> Prompt:
            shown = [at.shown for at in found[place][:count]]
            if self.options.nearest_last:
                shown.reverse()
            told = facts[place][: max(count - len(found[place]), 0)]
            return prompts.rag(
                texts[place], shown, told, currency, item_id=ids[place], form=self.form
            )

        pieces = [len(at) + len(told) for at, told in zip(found, facts, strict=True)]
        fitted = pack_context(self.context.model, asked, pieces, answer_tokens=ANSWER_TOKENS)
        return [
            replace(at, shown=min(at.shown, len(shown)))
            for at, shown in zip(fitted, found, strict=True)
        ]

    def comparables(self, items: ItemSet) -> list[list[Comparable]]:
        """For each item what may be shown where there is room, the most comparable first."""
        own, texts = self.references.own(items), texts_of(items)
        nearest = self._nearest(items)
        found = []
        for place, moment in enumerate(observed_at(items)):
            known = self._history.at(int(moment))
            hidden = np.union1d(np.flatnonzero(~np.isfinite(known.prices)), own[place])
            by_vector = nearest[place][~np.isin(nearest[place], hidden)]
            by_words = self._by_words(texts[place], hidden)
            ranked = _fused(by_vector, by_words, self.options.word_weight)
            found.append(
                [
                    self._comparable(at, known.prices[at], int(known.age_days[at]))
                    for at in ranked[: self.options.count]
                ]
            )
        return found

    def make_ready(self) -> None:
        """Makes the index of words, where it is used, and the history of prices."""
        if self.options.word_weight > 0:
            self._words  # noqa: B018
        self._history, self._facts  # noqa: B018

    def save_parts(self, folder: Path) -> None:
        """Writes the references and their embeddings; the index of words is made anew."""
        self.references.save(folder)
        write_arrays(folder / _EMBEDDINGS, {"embeddings": self.embeddings})

    @classmethod
    def load_parts(cls, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
        """See :class:`LanguageTechnique`."""
        names = RagOptions.__dataclass_fields__
        return {
            "references": References.load(folder),
            "embeddings": read_arrays(folder / _EMBEDDINGS)["embeddings"],
            "options": RagOptions(**{name: settings[name] for name in names}),
        }

    def _nearest(self, items: ItemSet) -> list[Integers]:
        """The nearest references by embedding of which a price was known at the item's time."""
        if self.options.count == 0 or self.options.word_weight >= 1 or len(items) == 0:
            return [np.empty(0, np.int64)] * len(items)
        codes = self.references.family_codes()
        found = dense_neighbours(
            rounded(items.embeddings),
            self.embeddings.astype(np.float32),
            self._pool,
            codes.of(families_of(items)),
            codes.reference,
            asked_at=priced_at(items),
            known_from=self._history.known_from,
        )
        return [row[row >= 0] for row in found.index]

    def _by_words(self, text: str, hidden: Integers) -> Integers:
        if self.options.count == 0 or self.options.word_weight <= 0:
            return np.empty(0, np.int64)
        return best(self._words.scores(text), self._pool, without=hidden)

    @property
    def _pool(self) -> int:
        return max(64, 4 * self.options.count)

    @cached_property
    def _words(self) -> WordSearch:
        return WordSearch(self.references.texts)

    @cached_property
    def _history(self) -> PriceHistory:
        return PriceHistory(self.references, self.context.price_history)

    @cached_property
    def _facts(self) -> KnownFacts:
        return KnownFacts(self.context.brand_facts)

    def _comparable(self, place: int, price: float, age_days: int) -> Comparable:
        known = self.references
        return Comparable(
            known.item_ids[place], known.titles[place], known.texts[place], float(price), age_days
        )


def _fused(by_vector: Integers, by_words: Integers, word_weight: float) -> list[int]:
    """Both rankings as one by reciprocal rank, best first."""
    scores: dict[int, float] = {}
    for ranking, weight in ((by_vector, 1 - word_weight), (by_words, word_weight)):
        for rank, place in enumerate(ranking.tolist(), 1):
            scores[place] = scores.get(place, 0.0) + weight / (_RANK_CONSTANT + rank)
    return sorted(scores, key=lambda place: (-scores[place], place))
