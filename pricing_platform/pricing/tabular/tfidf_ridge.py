"""The technique that is a ridge regression on the words of a text and on their parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.estimates import Floats, Stopwatch
from pricing_platform.pricing.tabular.log_price_technique import LogPriceTechnique, Measured
from pricing_platform.pricing.tabular.text_model import FOLDS, TextModel, fit_text_model, texts_of
from pricing_platform.pricing.tabular.text_vectors import PENALTY
from pricing_platform.progress import Progress, silent


@dataclass(frozen=True)
class TfidfRidge(LogPriceTechnique):
    """Ridge regression of ``log(1 + price)`` on tf-idf of words, word pairs and word parts."""

    name: ClassVar[str] = "tfidf_ridge"
    version: ClassVar[str] = "1"

    text: TextModel

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,  # noqa: ARG003
        work_folder: Path | None = None,  # noqa: ARG003
        progress: Progress = silent,
    ) -> Self:
        """Learns vocabularies and coefficients; see :class:`Technique`."""
        watch = Stopwatch()
        fitted = cls(text=fit_text_model(train, progress).model)
        coefficients = float(len(fitted.text.ridge.coefficients))
        estimate = fitted.log_estimates(validation)
        return fitted.measured_on(validation, estimate, watch, coefficients=coefficients)

    @property
    def model(self) -> str:
        """See :class:`Technique`."""
        return "tf-idf, ridge regression"

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """See :class:`Technique`."""
        return {"penalty": PENALTY, "folds": FOLDS}

    def log_estimates(self, items: ItemSet) -> Floats:
        """``log(1 + price)`` of each item."""
        return self.text.log_estimates(*self.text.vectors.transform(texts_of(items)))

    def save(self, folder: Path) -> None:
        """See :class:`Technique`."""
        self.text.save(folder)
        self.measured.write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`."""
        return cls(text=TextModel.load(folder), measured=Measured.read(folder))
