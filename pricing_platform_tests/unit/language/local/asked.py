"""Prompts for the tests of the model on this machine, and the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pricing_platform.language import prompts
from pricing_platform.language.local import LocalLanguageModel
from pricing_platform.language.model import Prompt
from pricing_platform.language.prompts import Currency, PricedText

USD = Currency("USD")
HIGHEST = 300
TEXTS = [
    "steel drill 12 inch",
    "oak chair",
    "café lamp, silver, 4 pack, cordless kitchen",
    "USB-C router 1,299 x 7",
    "cotton",
]


def zero_shot(text: str = TEXTS[0]) -> Prompt:
    return prompts.zero_shot(text, USD)


def two_shots(text: str) -> Prompt:
    shots = [PricedText("oak lamp 3 inch", 120.0), PricedText("steel cable", 7.0)]
    return prompts.multi_shot(text, shots, USD)


def opened(folder: Path, **options: Any) -> LocalLanguageModel:
    """In float32, so that two ways of computing the same can be compared; it never refuses."""
    settings: dict[str, Any] = {
        "highest_price": HIGHEST,
        "precision": "float32",
        "device": "cpu",
        "least_share": 0.0,
    }
    return LocalLanguageModel.open("tiny", folder, **(settings | options))


def distributions(model: LocalLanguageModel, asked: list[Prompt]) -> np.ndarray[Any, Any]:
    """Shape (prompts, prices), in the order of the prompts."""
    found = dict(model.read_prices(asked))
    assert sorted(found) == list(range(len(asked)))
    rows = [found[i].distribution for i in range(len(asked))]
    assert all(row is not None for row in rows)
    return np.stack([row.probabilities for row in rows if row is not None])
