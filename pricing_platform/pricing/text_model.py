"""Ridge regression on the texts, and what it says of the items it was trained on.

Here belongs the fitted pair of vocabularies and regression, shared by the technique that is nothing
else and by those that take it for one feature among many.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pricing_platform.pricing.estimates import Floats, log_prices
from pricing_platform.pricing.memo import remember_last
from pricing_platform.pricing.stored import read_arrays, write_arrays
from pricing_platform.pricing.technique import ItemSet, Progress, silent
from pricing_platform.pricing.text_vectors import LinearModel, TextVectors, side_by_side

FOLDS = 4


@dataclass(frozen=True)
class TextModel:
    """Vocabularies, and the regression of ``log(1 + price)`` on the vectors they give."""

    vectors: TextVectors
    ridge: LinearModel

    def log_estimates(self, by_words: Any, by_parts: Any) -> Floats:
        """``log(1 + price)`` of the texts whose vectors these are."""
        return self.ridge.predict(side_by_side(by_words, by_parts))

    def save(self, folder: Path) -> None:
        """Writes what :meth:`load` reads."""
        self.vectors.save(folder)
        write_arrays(folder / "ridge.safetensors", self.ridge.arrays())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what :meth:`save` wrote."""
        ridge = LinearModel.from_arrays(read_arrays(folder / "ridge.safetensors"))
        return cls(TextVectors.load(folder), ridge)


@dataclass(frozen=True)
class FittedTextModel:
    """A text model with what only its own training items have.

    ``out_of_fold`` are estimates of the training items by regressions that saw none of their
    family; ``by_words`` the training items' vectors by words (CSR).
    """

    model: TextModel
    out_of_fold: Floats
    by_words: Any


def texts_of(items: ItemSet) -> list[str]:
    """The items' texts; an item without one has the empty text."""
    return [text or "" for text in items.frame["text"].to_list()]


def families_of(items: ItemSet) -> list[str | None]:
    """The items' families; null for what belongs to none, such as a text that is to be priced."""
    return items.frame["family_id"].to_list()


def family_folds(families: list[str | None], folds: int = FOLDS) -> npt.NDArray[np.int64]:
    """The fold of each item by a hash of its family: no family stands in two folds."""
    digests = (hashlib.sha256(f"fold {family}".encode()).digest() for family in families)
    return np.array([int.from_bytes(d[:8], "big") % folds for d in digests], np.int64)


@remember_last
def fit_text_model(train: ItemSet, progress: Progress = silent) -> FittedTextModel:
    """Vocabularies and regression of the training items, with their out-of-fold estimates.

    The vocabularies are fitted once on all training texts (they hold no price); the regressions
    behind the out-of-fold estimates are fitted without the fold.
    """
    target = log_prices(train)
    vectors, by_words, by_parts = TextVectors.fit(texts_of(train))
    x = side_by_side(by_words, by_parts)
    folds = family_folds(families_of(train))
    out_of_fold = np.full(len(train), target.mean())
    for fold in range(FOLDS):
        inside = folds == fold
        if inside.any() and not inside.all():
            out_of_fold[inside] = LinearModel.fit(x[~inside], target[~inside]).predict(x[inside])
        progress("ridge regressions", fold + 1, FOLDS + 1)
    model = TextModel(vectors, LinearModel.fit(x, target))
    progress("ridge regressions", FOLDS + 1, FOLDS + 1)
    return FittedTextModel(model, out_of_fold, by_words)
