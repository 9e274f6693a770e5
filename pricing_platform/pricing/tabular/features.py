"""What is known about an item, as numbers: what the techniques that learn from a table share.

Here belongs putting together the text's estimate, the neighbours' prices, the text's main
directions and the structured columns, for training items so that nothing of their own family's
prices gets in. How each part is made belongs to its module; what is made of them to the techniques.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.estimates import Floats, log_prices
from pricing_platform.pricing.fit_memo import remember_last
from pricing_platform.pricing.serialization import read_arrays, read_json, write_arrays, write_json
from pricing_platform.pricing.tabular.neighbours import (
    STATISTICS,
    FamilyCodes,
    Neighbours,
    dense_neighbours,
    price_statistics,
    sparse_neighbours,
)
from pricing_platform.pricing.tabular.structured_features import StructuredFeatures
from pricing_platform.pricing.tabular.text_model import (
    TextModel,
    families_of,
    family_folds,
    fit_text_model,
    sources_of,
    texts_of,
)
from pricing_platform.progress import Progress, silent

NEIGHBOURS = 10
COMPONENTS = 128
ENCODING_FOLDS = 8
TEXT_ESTIMATE = "text estimate"
_SEED = 0

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FeatureTable:
    """Rows of features beside their embeddings.

    ``numbers`` is float32 of shape (items, len(names)) with NaN for what is not known;
    ``components`` float32 of shape (items, up to 128), the text's main directions by tf-idf;
    ``embeddings`` float32 of shape (items, dimensions).
    """

    names: list[str]
    numbers: Singles
    components: Singles
    embeddings: Singles

    def column(self, name: str) -> Floats:
        """The numbers of one name; shape (items,)."""
        return self.numbers[:, self.names.index(name)].astype(np.float64)


@dataclass(frozen=True)
class References:
    """The training items as neighbours of others: vectors, families and prices."""

    by_words: Any
    embeddings: npt.NDArray[np.float16]
    families: FamilyCodes
    log_price: Floats

    def statistics(self, by_words: Any, embeddings: Singles, families: list[str | None]) -> Singles:
        """What the nearest by words and the nearest by embedding cost, without the own family."""
        codes = self.families.of(families), self.families.reference
        found: list[Neighbours] = [
            sparse_neighbours(by_words, self.by_words, NEIGHBOURS, *codes),
            dense_neighbours(embeddings, self.embeddings.astype(np.float32), NEIGHBOURS, *codes),
        ]
        return np.hstack([price_statistics(neighbours, self.log_price) for neighbours in found])


@dataclass(frozen=True)
class ItemFeatures:
    """Everything fitted on the training items that turns other items into a feature table."""

    text: TextModel
    components: Singles
    references: References
    structured: StructuredFeatures

    def transform(self, items: ItemSet) -> FeatureTable:
        """The features of items that are not training items (of their families there are none)."""
        by_words, by_parts = self.text.vectors.transform(texts_of(items))
        embeddings = rounded(items.embeddings)
        neighbours = self.references.statistics(by_words, embeddings, families_of(items))
        return self._table(
            np.column_stack(
                [
                    self.text.log_estimates(by_words, by_parts),
                    self.text.log_estimates_by_source(by_words, by_parts, sources_of(items)),
                ]
            ),
            neighbours,
            self.structured.transform(items.frame),
            project(by_words, self.components),
            embeddings,
        )

    def _table(
        self,
        text_estimates: Floats,
        neighbours: Singles,
        structured: Floats,
        components: Singles,
        embeddings: Singles,
    ) -> FeatureTable:
        names = [
            TEXT_ESTIMATE,
            "text estimate within source",
            *(f"{name} by words" for name in STATISTICS),
            *(f"{name} by embedding" for name in STATISTICS),
            *self.structured.names,
        ]
        numbers = np.column_stack([text_estimates, neighbours, structured]).astype(np.float32)
        return FeatureTable(names, numbers, components, embeddings)

    def save(self, folder: Path) -> None:
        """Writes what :meth:`load` reads."""
        self.text.save(folder)
        words = self.references.by_words
        write_arrays(
            folder / "references.safetensors",
            {
                "components": self.components,
                "embeddings": self.references.embeddings,
                "log_price": self.references.log_price,
                "words_data": words.data,
                "words_indices": words.indices,
                "words_indptr": words.indptr,
                "words_shape": np.array(words.shape, np.int64),
            },
        )
        write_json(folder / "families.json", self.references.families.families)
        write_json(folder / "structured.json", self.structured.as_json())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what :meth:`save` wrote."""
        import scipy.sparse

        stored = read_arrays(folder / "references.safetensors")
        words = scipy.sparse.csr_matrix(
            (stored["words_data"], stored["words_indices"], stored["words_indptr"]),
            shape=tuple(stored["words_shape"].tolist()),
        )
        families = FamilyCodes(read_json(folder / "families.json"))
        return cls(
            TextModel.load(folder),
            stored["components"],
            References(words, stored["embeddings"], families, stored["log_price"]),
            StructuredFeatures.from_json(read_json(folder / "structured.json")),
        )


@dataclass(frozen=True)
class FittedFeatures:
    """Fitted features with the training items' own rows, which no family sees its own prices in."""

    features: ItemFeatures
    table: FeatureTable


@remember_last
def fit_features(train: ItemSet, progress: Progress = silent) -> FittedFeatures:
    """Fits all features on the training items.

    A training item's row is made as a new item's would be: its text's estimate and its groups'
    prices come from other folds, its neighbours from other families.
    """
    target = log_prices(train)
    families = families_of(train)
    text = fit_text_model(train, progress)
    components = main_directions(text.by_words)
    embeddings = rounded(train.embeddings)
    references = References(
        text.by_words, embeddings.astype(np.float16), FamilyCodes(families), target
    )
    structured, rows = StructuredFeatures.fit(
        train.frame, target, family_folds(families, ENCODING_FOLDS)
    )
    progress("features", 1, 2)
    features = ItemFeatures(text.model, components, references, structured)
    neighbours = references.statistics(text.by_words, embeddings, families)
    estimates = np.column_stack([text.out_of_fold, text.out_of_fold_by_source])
    table = features._table(
        estimates, neighbours, rows, project(text.by_words, components), embeddings
    )
    progress("features", 2, 2)
    return FittedFeatures(features, table)


def main_directions(by_words: Any, count: int = COMPONENTS) -> Singles:
    """The leading right singular vectors of the texts; shape (count or fewer, words)."""
    from sklearn.decomposition import TruncatedSVD

    possible = min(count, min(by_words.shape) - 1)
    fitted = TruncatedSVD(max(possible, 1), random_state=_SEED).fit(by_words)
    return np.asarray(fitted.components_, np.float32)


def project(by_words: Any, components: Singles) -> Singles:
    """The texts along the directions; shape (texts, directions)."""
    return np.asarray(by_words @ components.T, np.float32)


def rounded(embeddings: Singles) -> Singles:
    """The embeddings as float16 holds them, so that stored and fresh ones are the same."""
    return embeddings.astype(np.float16).astype(np.float32)
