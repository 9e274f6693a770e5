"""Documents as batches of tokens, with the places at which something is to be learnt.

Here belong tokenising, sorting by length and choosing places. The loss at them does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pricing_platform.language.base_model.configuration import BaseModelConfiguration
from pricing_platform.language.base_model.corpus import Corpus
from pricing_platform.language.base_model.tokenizer import PRODUCT_END, PriceTokens

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Batch:
    """Documents padded on the right, and the places in the flattened batch that are learnt at.

    ``ids``: shape (documents, width). The token at ``price_places + 1`` is the price that stands in
    ``prices`` (whole, shape (prices,)); ``texts`` are the tokens that follow ``text_places``.
    """

    ids: Integers
    price_places: Integers
    prices: Integers
    text_places: Integers
    texts: Integers
    tokens: int


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of a corpus, a block of documents at a time; equal blocks, equal batches."""

    corpus: Corpus
    tokenizer: Any
    price_tokens: PriceTokens
    configuration: BaseModelConfiguration

    def block(self, number: int) -> list[Batch]:
        """The batches of one block, in random order."""
        size = self.configuration.block_documents
        texts = [self.corpus.document(number * size + at) for at in range(size)]
        documents = self.tokenised(texts)
        random = np.random.default_rng([self.corpus.seed, 2, number])
        # A little noise in the length: documents of equal length are not always together.
        lengths = np.array([len(document) for document in documents]) * random.uniform(
            0.9, 1.1, size
        )
        rows = _filled(
            [documents[at] for at in np.argsort(lengths)], self.configuration.batch_tokens
        )
        found = [self.batch(documents, random) for documents in rows]
        return [found[at] for at in random.permutation(len(found))]

    def tokenised(self, texts: Sequence[str]) -> list[Integers]:
        """The tokens of documents, the end's included; what does not fit the window is cut left.

        The beginning's token stays where it is.
        """
        encoded = self.tokenizer.backend_tokenizer.encode_batch_fast(list(texts))
        end, window = self.tokenizer.eos_token_id, self.configuration.window
        found = []
        for at in encoded:
            ids = [*at.ids, end]
            found.append(np.array(ids[:1] + ids[1:][-(window - 1) :], np.int64))
        return found

    def batch(self, documents: Sequence[Integers], random: np.random.Generator) -> Batch:
        """One batch: all prices are learnt at, and a sample of the other places.

        What stands behind the product is what the model is to write itself, as a tool's arguments:
        there every place is learnt at.
        """
        width = max(map(len, documents))
        ids = np.full((len(documents), width), self.tokenizer.pad_token_id, np.int64)
        is_price = np.zeros(ids.shape, bool)
        is_own = np.zeros(ids.shape, bool)
        is_there = np.zeros(ids.shape, bool)
        for row, document in enumerate(documents):
            ids[row, : len(document)] = document
            is_there[row, : len(document) - 1] = True
            is_price[row, self.price_tokens.places(document) - 1] = True
            is_own[row, self._own_part(document) : len(document) - 1] = True
        following = np.roll(ids, -1, axis=1).ravel()
        chosen = is_own | (random.random(ids.shape) < self.configuration.text_share)
        price_places = np.flatnonzero(is_price)
        text_places = np.flatnonzero(is_there & ~is_price & chosen)
        return Batch(
            ids=ids,
            price_places=price_places,
            prices=np.searchsorted(self.price_tokens.ids, following[price_places]),
            text_places=text_places,
            texts=following[text_places],
            tokens=int(sum(map(len, documents))),
        )

    def _own_part(self, document: Integers) -> int:
        """Where the last product ends; the document's length where there is none."""
        ends = np.flatnonzero(document == self._product_end)
        return int(ends[-1]) if len(ends) else len(document)

    @cached_property
    def _product_end(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(PRODUCT_END))


def _filled(documents: Sequence[Integers], batch_tokens: int) -> list[list[Integers]]:
    """Documents in the order given, as many a batch as fit with their padding."""
    rows: list[list[Integers]] = []
    width = 0
    for document in documents:
        width = max(width, len(document))
        if not rows or (len(rows[-1]) + 1) * width > batch_tokens:
            rows.append([])
            width = len(document)
        rows[-1].append(document)
    return rows
