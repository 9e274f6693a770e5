"""Fine-tuning a language model that is shown comparables: skill in the weights, prices in a store.

Here belongs which comparables stand in an example and which numbers go with them. Finding them
belongs to ``rag``, the training to ``finetuning.language``.

Method: as RAFT (Zhang et al. 2024) a model learns to answer with what is retrieved before it. What
comparables cost is also given as numbers, relative to which the head is trained; so where prices
move, the estimate moves with what is retrieved, and nothing is trained again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.finetuning.language.plan import TrainingPlan, kept_plan
from pricing_platform.finetuning.language.price_model import (
    FitFolders,
    LearntExamples,
    PricedExamples,
    PriceRecipe,
    fit_price_model,
)
from pricing_platform.finetuning.language.token_examples import TokenExample
from pricing_platform.language.prompts import SIMILAR_LABEL, plain_data, whole_price
from pricing_platform.pricing.finetuned.context import FineTuningContext
from pricing_platform.pricing.finetuned.fine_tuned_technique import (
    PLAN_FILE,
    SNAPSHOTS_AT,
    FineTunedTechnique,
    ReadItems,
    Singles,
    drawn,
    family_numbers,
    planned,
    priced_examples,
    require_trainable,
)
from pricing_platform.pricing.finetuned.item_examples import ItemTokens
from pricing_platform.pricing.prompting.reference_items import (
    PriceHistory,
    References,
    observed_at,
    priced_at,
    texts_of,
)
from pricing_platform.pricing.serialization import Arrays, read_arrays, write_arrays
from pricing_platform.pricing.tabular.features import rounded
from pricing_platform.pricing.tabular.neighbours import (
    Neighbours,
    dense_neighbours,
    price_statistics,
)
from pricing_platform.pricing.tabular.text_model import families_of
from pricing_platform.progress import Progress, silent

SHOWN = 4
"""Comparables in an example: more cost time and add little."""

_COUNTED = 16
"""Comparables that the numbers are taken over."""

_TITLE_CHARACTERS = 60
_BUDGET_SHARE = 0.5
"""Of the seconds of one training: its texts are longer, but most was read for another before."""

_EMBEDDINGS = "embeddings.safetensors"


@dataclass(frozen=True, eq=False)
class Retrieved:
    """The comparables of some items: places among the references, nearest first, and their prices.

    ``index`` has shape (items, counted), -1 where there are fewer; ``prices`` are as they were
    known when the item was observed, NaN where there is no comparable.
    """

    index: npt.NDArray[np.int64]
    similarity: Singles
    prices: npt.NDArray[np.float64]

    @cached_property
    def statistics(self) -> Singles:
        """What their prices say of each item, shape (items, any); NaN where nothing is known."""
        there = np.isfinite(self.prices)
        logs = np.log1p(np.where(there, self.prices, 0.0))
        place = np.where(there, np.arange(self.prices.size).reshape(self.prices.shape), -1)
        return price_statistics(Neighbours(place, self.similarity), logs.reshape(-1))

    def usual(self) -> Singles:
        """The mean of each statistic over the items where it is known, 0 where none is."""
        known = np.isfinite(self.statistics)
        total = np.where(known, self.statistics, 0).sum(axis=0)
        count = known.sum(axis=0)
        mean: Singles = np.divide(total, count, out=np.zeros(len(count)), where=count > 0).astype(
            np.float32
        )
        return mean

    def numbers(self, usual: Singles) -> Singles:
        """The statistics with those of the train items in the place of unknown ones."""
        return np.where(np.isfinite(self.statistics), self.statistics, usual).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class RagFinetuned(FineTunedTechnique):
    """A language model that has learnt to price a product beside the comparables it is shown.

    ``usual``: see :meth:`Retrieved.usual`, of the train items; what stands for an unknown statistic
    is thus the same whatever is priced beside it.
    """

    name: ClassVar[str] = "rag_finetuned"
    version: ClassVar[str] = "4"

    references: References
    embeddings: npt.NDArray[np.float16]
    usual: Singles

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        work_folder: Path | None = None,
        progress: Progress = silent,
        fine_tuning: FineTuningContext,
        adapters: AdapterConfiguration | None = None,
        training: AdapterTraining | None = None,
    ) -> Self:
        """See :class:`FineTunedTechnique`."""
        require_trainable(fine_tuning)
        adapters, training = adapters or AdapterConfiguration(), training or AdapterTraining()
        context = replace(fine_tuning, seconds=_BUDGET_SHARE * fine_tuning.seconds)
        base = context.base
        tokens = ItemTokens(base.folder, context.currency)
        work = work_folder or Path(tempfile.mkdtemp())
        references, embeddings = References.of(train), train.embeddings.astype(np.float16)
        shop = _Shop(references, embeddings, PriceHistory(references, context.price_history))
        # The items that language_finetuned reads: what it pooled of their texts is there already.
        alone = priced_examples(train, tokens)
        reading = kept_plan(
            work / "reading.json", lambda: planned(alone.examples, fine_tuning, adapters)
        )
        read = drawn(len(train), reading.items, seed=seed)
        items = train.take(read.tolist())
        found = shop.retrieved(items)
        usual = found.usual()
        shown = _shown_examples(items, shop, found, tokens, items.prices().tolist())
        plan = kept_plan(work / PLAN_FILE, lambda: planned(shown, context, adapters))
        rows = drawn(len(shown), plan.items, seed=seed)
        known = PricedExamples(shown, items.prices(), family_numbers(items), found.numbers(usual))
        fitted, metrics = fit_price_model(
            base.adapted,
            LearntExamples(known, rows, pooled_as=alone.take(read).examples),
            PriceRecipe(plan.epochs, adapters, training, seed),
            FitFolders(work, work, base.pooled_folder),
            snapshots_at=SNAPSHOTS_AT,
            progress=progress,
        )
        fine_tuned = cls(
            model_name=base.name,
            base_weights={base.name: base.content_sha256},
            plan=TrainingPlan(len(rows), plan.epochs),
            configuration_of_adapters=adapters,
            training=training,
            fitted=fitted,
            references=references,
            embeddings=embeddings,
            usual=usual,
            context=fine_tuning,
        )
        return fine_tuned.calibrated(validation, metrics, seed=seed)

    def read(self, items: ItemSet) -> ReadItems:
        """See :class:`FineTunedTechnique`."""
        found = self._shop.retrieved(items)
        return ReadItems(
            _shown_examples(items, self._shop, found, self.tokens, [None] * len(items)),
            found.numbers(self.usual),
            np.isfinite(found.prices[:, :SHOWN]).sum(axis=1),
        )

    def save_parts(self, folder: Path) -> None:
        """Writes the references, their embeddings, and what their prices usually say."""
        self.references.save(folder)
        arrays: Arrays = {"embeddings": self.embeddings, "usual": self.usual}
        write_arrays(folder / _EMBEDDINGS, arrays)

    @classmethod
    def load_parts(cls, folder: Path) -> dict[str, Any]:
        """See :class:`FineTunedTechnique`."""
        return {"references": References.load(folder), **read_arrays(folder / _EMBEDDINGS)}

    @cached_property
    def _shop(self) -> _Shop:
        history = PriceHistory(self.references, self.known_context.price_history)
        return _Shop(self.references, self.embeddings, history)


@dataclass(frozen=True, eq=False)
class _Shop:
    """The training items that may be shown, and what each cost at any time."""

    references: References
    embeddings: npt.NDArray[np.float16]
    history: PriceHistory

    def retrieved(self, items: ItemSet) -> Retrieved:
        """The nearest references of each item with a price at its time, none of its own family."""
        codes = self.references.family_codes()
        near = dense_neighbours(
            rounded(items.embeddings),
            self.embeddings.astype(np.float32),
            4 * _COUNTED,
            codes.of(families_of(items)),
            codes.reference,
            asked_at=priced_at(items),
            known_from=self.history.known_from,
        )
        own = self.references.own(items)
        index = np.full((len(items), _COUNTED), -1, np.int64)
        similarity = np.zeros((len(items), _COUNTED), np.float32)
        prices = np.full((len(items), _COUNTED), np.nan)
        for row, moment in enumerate(observed_at(items)):
            known = self.history.at(int(moment)).prices
            places = near.index[row]
            usable = (places >= 0) & np.isfinite(known[places]) & ~np.isin(places, own[row])
            kept = np.flatnonzero(usable)[:_COUNTED]
            index[row, : len(kept)] = places[kept]
            similarity[row, : len(kept)] = near.similarity[row, kept]
            prices[row, : len(kept)] = known[places[kept]]
        return Retrieved(index, similarity, prices)

    def told(self, found: Retrieved, row: int, symbol: str) -> str:
        """The comparables of an item as text, the nearest last."""
        lines = [
            f"- {_one_line(self.references.titles[place])[:_TITLE_CHARACTERS]}: {symbol}"
            f"{whole_price(price)}"
            for place, price in zip(
                found.index[row, :SHOWN], found.prices[row, :SHOWN], strict=True
            )
            if place >= 0
        ]
        return "\n".join(["", SIMILAR_LABEL, *reversed(lines)]) if lines else ""


def _one_line(title: str) -> str:
    return plain_data(title).replace("\n", " ")


def _shown_examples(
    items: ItemSet,
    shop: _Shop,
    found: Retrieved,
    tokens: ItemTokens,
    prices: Sequence[float | None],
) -> list[TokenExample]:
    symbol = tokens.symbol
    return [
        tokens.example(text, price, context=shop.told(found, row, symbol))
        for row, (text, price) in enumerate(zip(texts_of(items), prices, strict=True))
    ]
