"""Tells a house's replies from a model's by how they are spelled: n-grams of characters.

Here belongs the classifier. Which replies it is shown, and what its verdicts add up to, belongs to
``measuring``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

_NGRAMS = (2, 4)
_SEEN_AT_LEAST = 2
_INVERSE_PENALTY = 10.0


@dataclass(frozen=True)
class StyleClassifier:
    """Logistic regression on tf-idf of character n-grams within words, both sides weighed alike."""

    _pipeline: Any

    @classmethod
    def fit(cls, house: Sequence[str], others: Sequence[str], *, seed: int) -> Self:
        """From replies of the house and of others, at least two of each."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        pipeline = make_pipeline(
            TfidfVectorizer(
                analyzer="char_wb", ngram_range=_NGRAMS, min_df=_SEEN_AT_LEAST, sublinear_tf=True
            ),
            LogisticRegression(
                C=_INVERSE_PENALTY, class_weight="balanced", max_iter=1000, random_state=seed
            ),
        )
        pipeline.fit([*house, *others], [True] * len(house) + [False] * len(others))
        return cls(pipeline)

    def house_probability(self, replies: Sequence[str]) -> npt.NDArray[np.float64]:
        """How sure it is that each reply is the house's, shape (replies,)."""
        if not replies:
            return np.empty(0)
        found = self._pipeline.predict_proba(list(replies))
        return np.asarray(found[:, 1], dtype=np.float64)
