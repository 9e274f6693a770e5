"""The price that a fine-tuned language model would write, read off the probabilities of its digits.

Here belongs asking a fitted model as any other language model is asked. Its other read-out, a
histogram over its states, belongs to ``finetuning.language``; which of both is kept is decided by
``fine_tuned_technique``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pricing_platform.finetuning.language.price_model import FittedPriceModel
from pricing_platform.finetuning.language.token_examples import TokenExample
from pricing_platform.language.local.local_model import LocalLanguageModel
from pricing_platform.pricing.finetuned.context import FineTuningContext
from pricing_platform.pricing.finetuned.forgetting.forgetting_gate import network_of
from pricing_platform.pricing.finetuned.item_examples import ItemTokens

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WrittenPrices:
    """What was read for some items.

    ``logs``: log prices at each level, shape (levels, items), NaN where there is a failure;
    ``latency_ms``: shape (items,); ``failures``: why an item has no price, None where it has one.
    """

    logs: Floats
    latency_ms: Floats
    failures: list[str | None]


def adapted_language_model(
    fitted: FittedPriceModel, context: FineTuningContext
) -> LocalLanguageModel:
    """The fitted model as one that is asked for prices; its head plays no part."""
    return LocalLanguageModel.of_network(
        context.base.name,
        context.base.folder,
        network_of(fitted.language_model),
        highest_price=context.highest_price,
    )


def written_prices(
    model: LocalLanguageModel,
    tokens: ItemTokens,
    examples: Sequence[TokenExample],
    levels: Sequence[float],
) -> WrittenPrices:
    """Prices at some levels of the distribution over the numbers that may follow each example.

    Args:
        model: see :func:`adapted_language_model`.
        tokens: by which the examples were written.
        examples: read up to their ``start``.
        levels: of the distribution, within 0 and 1.
    """
    logs = np.full((len(levels), len(examples)), np.nan)
    latency = np.zeros(len(examples))
    failures: list[str | None] = [None] * len(examples)
    for place, answer in model.read_prices([tokens.prompt_of(at) for at in examples]):
        latency[place] = answer.usage.latency_ms
        if answer.distribution is None:
            failures[place] = f"{answer.outcome}: {answer.reason or 'no reason was given'}"
            continue
        found = [answer.distribution.quantile(level) for level in levels]
        logs[:, place] = np.log1p(found)
    return WrittenPrices(logs, latency, failures)
