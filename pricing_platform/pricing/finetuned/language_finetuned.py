"""Fine-tuning a language model: it reads the product alone, and its states say what it costs.

Here belongs the technique. The training belongs to ``finetuning.language``.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.finetuning.language.plan import kept_plan
from pricing_platform.finetuning.language.price_model import (
    FitFolders,
    LearntExamples,
    PriceRecipe,
    fit_price_model,
)
from pricing_platform.pricing.finetuned.context import FineTuningContext
from pricing_platform.pricing.finetuned.fine_tuned_technique import (
    PLAN_FILE,
    SNAPSHOTS_AT,
    FineTunedTechnique,
    ReadItems,
    ReadOut,
    drawn,
    planned,
    priced_examples,
    require_trainable,
)
from pricing_platform.pricing.finetuned.item_examples import ItemTokens
from pricing_platform.pricing.prompting.reference_items import texts_of
from pricing_platform.progress import Progress, silent


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageFinetuned(FineTunedTechnique):
    """A language model that has read the training items and learnt what they cost."""

    name: ClassVar[str] = "language_finetuned"
    version: ClassVar[str] = "3"
    read_outs: ClassVar[tuple[ReadOut, ...]] = ("histogram", "digits")

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
        base = fine_tuning.base
        tokens = ItemTokens(base.folder, fine_tuning.currency)
        work = work_folder or Path(tempfile.mkdtemp())
        known = priced_examples(train, tokens)
        plan = kept_plan(work / PLAN_FILE, lambda: planned(known.examples, fine_tuning, adapters))
        known = known.take(drawn(len(known), plan.items, seed=seed))
        fitted, metrics = fit_price_model(
            base.adapted,
            LearntExamples.all_of(known),
            PriceRecipe(plan.epochs, adapters, training, seed),
            FitFolders(work, work, base.pooled_folder),
            snapshots_at=SNAPSHOTS_AT,
            progress=progress,
        )
        found = cls(
            model_name=base.name,
            base_weights={base.name: base.content_sha256},
            plan=plan,
            configuration_of_adapters=adapters,
            training=training,
            fitted=fitted,
            context=fine_tuning,
        )
        return found.calibrated(validation, metrics, seed=seed)

    def read(self, items: ItemSet) -> ReadItems:
        """See :class:`FineTunedTechnique`."""
        return ReadItems(
            [self.tokens.example(text) for text in texts_of(items)],
            np.zeros((len(items), 0), np.float32),
            np.zeros(len(items), np.int64),
        )
