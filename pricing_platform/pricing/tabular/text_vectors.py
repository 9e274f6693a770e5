"""Texts as sparse vectors: words, pairs of words and parts of words, weighted by tf-idf.

Here belong the vectors and the ridge regression on them. What else is known about an item belongs
to ``features``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pricing_platform.pricing.serialization import (
    Arrays,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
)

PENALTY = 1.5
_WORD = r"(?u)\b\w[\w.\-]*\b"
"""A word keeps its inner points and hyphens, as model numbers and sizes have them."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TextVectors:
    """Two fitted vocabularies; both vectorise a text by itself, without the training texts."""

    words: Any
    parts: Any

    @classmethod
    def fit(cls, texts: list[str]) -> tuple[Self, Any, Any]:
        """The vocabularies and the texts' own vectors by words and by parts (CSR, float32)."""
        frequent = min(2, max(len(texts) // 50, 1)), min(3, max(len(texts) // 50, 1))
        words = _word_vectoriser(min_df=frequent[0])
        parts = _part_vectoriser(min_df=frequent[1], max_features=150_000)
        by_words, by_parts = words.fit_transform(texts), parts.fit_transform(texts)
        return cls(words, parts), by_words, by_parts

    def transform(self, texts: list[str]) -> tuple[Any, Any]:
        """The texts' vectors by words and by parts (CSR, float32)."""
        return self.words.transform(texts), self.parts.transform(texts)

    def save(self, folder: Path) -> None:
        """Writes both vocabularies and their weights."""
        stored = {"words": self.words, "parts": self.parts}
        terms = {name: v.get_feature_names_out().tolist() for name, v in stored.items()}
        write_json(folder / "vocabularies.json", terms)
        write_arrays(
            folder / "vocabularies.safetensors", {name: v.idf_ for name, v in stored.items()}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what :meth:`save` wrote."""
        terms = read_json(folder / "vocabularies.json")
        weights = read_arrays(folder / "vocabularies.safetensors")
        words = _word_vectoriser(vocabulary=terms["words"])
        parts = _part_vectoriser(vocabulary=terms["parts"])
        words.idf_, parts.idf_ = weights["words"], weights["parts"]
        return cls(words, parts)


@dataclass(frozen=True)
class LinearModel:
    """A fitted ridge regression: ``x @ coefficients + intercept``."""

    coefficients: Floats
    intercept: float

    @classmethod
    def fit(cls, x: Any, y: Floats) -> Self:
        """Least squares with an L2 penalty (Hoerl and Kennard 1970)."""
        from sklearn.linear_model import Ridge

        fitted = Ridge(PENALTY, solver="lsqr").fit(x, y)
        return cls(np.asarray(fitted.coef_, np.float64), float(fitted.intercept_))

    def predict(self, x: Any) -> Floats:
        """One estimate a row of x."""
        return np.asarray(x @ self.coefficients + self.intercept, np.float64)

    def arrays(self) -> Arrays:
        """What :meth:`from_arrays` needs."""
        return {"coefficients": self.coefficients, "intercept": np.array([self.intercept])}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """The model whose arrays these are."""
        return cls(arrays["coefficients"], float(arrays["intercept"][0]))


def side_by_side(by_words: Any, by_parts: Any) -> Any:
    """Both vectors of each text as one (CSR)."""
    import scipy.sparse

    return scipy.sparse.hstack([by_words, by_parts], format="csr")


def _word_vectoriser(**settings: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD, dtype=np.float32, **settings
    )


def _part_vectoriser(**settings: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32, **settings
    )
