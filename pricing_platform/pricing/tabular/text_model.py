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

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.estimates import Floats, log_prices
from pricing_platform.pricing.fit_memo import remember_last
from pricing_platform.pricing.serialization import read_arrays, read_json, write_arrays, write_json
from pricing_platform.pricing.tabular.text_vectors import LinearModel, TextVectors, side_by_side
from pricing_platform.progress import Progress, silent

FOLDS = 4
SMALLEST_SOURCE = 150
"""Fewer training items make no regression of their own."""

Sources = npt.NDArray[np.object_]


@dataclass(frozen=True)
class TextModel:
    """Vocabularies, and regressions of ``log(1 + price)`` on the vectors they give.

    ``ridge`` is over all items, ``by_source`` over those of each source that has enough of them:
    the same word may be worth something else there.
    """

    vectors: TextVectors
    ridge: LinearModel
    by_source: dict[str, LinearModel]

    def log_estimates(self, by_words: Any, by_parts: Any) -> Floats:
        """``log(1 + price)`` of the texts whose vectors these are."""
        return self.ridge.predict(side_by_side(by_words, by_parts))

    def log_estimates_by_source(self, by_words: Any, by_parts: Any, sources: Sources) -> Floats:
        """As :meth:`log_estimates`, from each text's source alone; NaN where that is too small."""
        x = side_by_side(by_words, by_parts)
        found = np.full(x.shape[0], np.nan)
        for source, ridge in self.by_source.items():
            rows = np.flatnonzero(sources == source)
            found[rows] = ridge.predict(x[rows])
        return found

    def save(self, folder: Path) -> None:
        """Writes what :meth:`load` reads."""
        self.vectors.save(folder)
        write_arrays(folder / "ridge.safetensors", self.ridge.arrays())
        write_json(folder / "sources.json", list(self.by_source))
        for number, ridge in enumerate(self.by_source.values()):
            write_arrays(folder / f"ridge_{number}.safetensors", ridge.arrays())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what :meth:`save` wrote."""

        def ridge(file: str) -> LinearModel:
            return LinearModel.from_arrays(read_arrays(folder / file))

        sources = read_json(folder / "sources.json")
        by_source = {s: ridge(f"ridge_{n}.safetensors") for n, s in enumerate(sources)}
        return cls(TextVectors.load(folder), ridge("ridge.safetensors"), by_source)


@dataclass(frozen=True)
class FittedTextModel:
    """A text model with what only its own training items have.

    ``out_of_fold`` are estimates of the training items by regressions that saw none of their
    family, ``out_of_fold_by_source`` likewise by regressions on their source alone (NaN where that
    is too small), ``by_words`` the training items' vectors by words (CSR).
    """

    model: TextModel
    out_of_fold: Floats
    out_of_fold_by_source: Floats
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


def sources_of(items: ItemSet) -> Sources:
    """The items' sources; the empty string for what comes from none."""
    return items.frame["source"].fill_null("").to_numpy()


@remember_last
def fit_text_model(train: ItemSet, progress: Progress = silent) -> FittedTextModel:
    """Vocabularies and regressions of the training items, with their out-of-fold estimates.

    The vocabularies are fitted once on all training texts (they hold no price); the regressions
    behind the out-of-fold estimates are fitted without the fold.
    """
    target, sources = log_prices(train), sources_of(train)
    vectors, by_words, by_parts = TextVectors.fit(texts_of(train))
    x = side_by_side(by_words, by_parts)
    folds = family_folds(families_of(train))
    ridge, out_of_fold = _out_of_fold(x, target, folds)
    progress("regressions on the text", 1, 2)
    by_source: dict[str, LinearModel] = {}
    out_of_fold_by_source = np.full(len(train), np.nan)
    names, counts = np.unique(sources, return_counts=True)
    for source in names[counts >= SMALLEST_SOURCE] if len(names) > 1 else []:
        rows = np.flatnonzero(sources == source)
        fitted = _out_of_fold(x[rows], target[rows], folds[rows])
        by_source[str(source)], out_of_fold_by_source[rows] = fitted
    progress("regressions on the text", 2, 2)
    model = TextModel(vectors, ridge, by_source)
    return FittedTextModel(model, out_of_fold, out_of_fold_by_source, by_words)


def _out_of_fold(
    x: Any, target: Floats, folds: npt.NDArray[np.int64]
) -> tuple[LinearModel, Floats]:
    """The regression on all items, and each item's estimate by the one without its fold."""
    estimates = np.full(len(target), np.nan)
    for fold in np.unique(folds):
        inside = folds == fold
        if not inside.all():
            estimates[inside] = LinearModel.fit(x[~inside], target[~inside]).predict(x[inside])
    return LinearModel.fit(x, target), estimates
