"""A small catalogue whose prices follow from what the texts say, and the smallest of models."""

import numpy as np

from pricing_platform.language.base_model.configuration import BaseModelConfiguration
from pricing_platform.language.base_model.corpus import TrainingItems
from pricing_platform.language.prompts import Currency

CURRENCY = Currency("USD")
TINY = BaseModelConfiguration(
    vocabulary=2_500,
    hidden=32,
    layers=1,
    heads=2,
    feed_forward=32,
    window=256,
    token_budget=12_000,
    batch_tokens=1_024,
    block_documents=32,
    state_steps=4,
    held_out_items=10,
    most_comparables=3,
)
KINDS = ("lamp", "drill", "sofa", "cable")


def made_items(count: int = 160, seed: int = 0) -> TrainingItems:
    """Items of four kinds and eight brands; each two stand in one family."""
    random = np.random.default_rng(seed)
    kinds = [KINDS[int(at)] for at in random.integers(len(KINDS), size=count)]
    brands = [f"Brand{at}" for at in random.integers(8, size=count)]
    prices = np.array([20.0 + 90 * KINDS.index(kind) for kind in kinds])
    prices += random.integers(20, size=count)
    titles = [f"{b} {k} number {at}" for at, (b, k) in enumerate(zip(brands, kinds, strict=True))]
    families = [f"family{at // 2}" for at in range(count)]
    neighbours = np.full((count, 6), -1, np.int64)
    for row in range(count):
        near = [at for at in range(count) if kinds[at] == kinds[row] and at // 2 != row // 2][:6]
        neighbours[row, : len(near)] = near
    texts = [
        f"{title}\nBrand: {brand}\nCategory: {kind}\nweight: {at % 50}"
        for at, (title, brand, kind) in enumerate(zip(titles, brands, kinds, strict=True))
    ]
    return TrainingItems(texts, titles, list(brands), kinds, prices, list(families), neighbours)
