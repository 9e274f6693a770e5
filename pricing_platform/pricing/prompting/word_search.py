"""Search by words among texts: BM25 (Robertson et al. 1994), as the package ``bm25s`` scores it.

Here belongs the score of every text for a query. Which texts may be found belongs to the callers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from pricing_platform.pricing.tabular.neighbours import Integers, Singles

_TOKEN = re.compile(r"[^\W_]+(?:[.,]\d+)*", re.UNICODE)


class WordSearch:
    """An index over texts, made once: a second for 30,000 listings."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._count = len(texts)
        self._words: dict[str, int] = {}
        tokens = [[self._known(word) for word in words(text)] for text in texts]
        self._index = _indexed(tokens, self._words) if any(tokens) else None

    def scores(self, query: str) -> Singles:
        """How well each text answers the query; shape (texts,), 0 where they share no word."""
        asked = sorted({self._words[word] for word in words(query) if word in self._words})
        if self._index is None or not asked:
            return np.zeros(self._count, np.float32)
        return np.asarray(self._index.get_scores_from_ids(asked), np.float32)

    def _known(self, word: str) -> int:
        return self._words.setdefault(word, len(self._words))


def words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case."""
    return _TOKEN.findall(text.lower())


def best(scores: Singles, count: int, *, without: Integers) -> Integers:
    """The places of the ``count`` best positive scores, best first, none of ``without``."""
    left = scores.copy()
    left[without] = 0.0
    found = np.flatnonzero(left > 0)
    if len(found) > count:
        found = found[np.argpartition(-left[found], count - 1)[:count]]
    return found[np.lexsort((found, -left[found]))]


def _indexed(tokens: list[list[int]], vocabulary: dict[str, int]):  # type: ignore[no-untyped-def]
    import bm25s

    index = bm25s.BM25()
    index.index((tokens, vocabulary), create_empty_token=False, show_progress=False)
    return index
