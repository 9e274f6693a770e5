"""What the trained model makes of families that it has not read.

Here belong perplexity and price error on the held-out items. How techniques do with the model is
the business of the evaluation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pricing_platform.language.base_model.batches import Batches
from pricing_platform.language.price_distribution import PriceDistribution
from pricing_platform.progress import Progress

Integers = npt.NDArray[np.int64]

_COMPARABLES = 5
_BATCH = 16


def measure(network: Any, batches: Batches, rows: Integers, progress: Progress) -> dict[str, float]:
    """Held-out perplexity a token, and mean absolute error of prices without and with comparables.

    The instructions do not count, which are the same for all items. Empty where none is held out.
    """
    if not len(rows):
        return {}
    network.eval()
    progress("measuring the base model", 0, 2)
    losses, alone = _read(network, batches, rows, 0)
    progress("measuring the base model", 1, 2)
    _, behind = _read(network, batches, rows, _COMPARABLES)
    prices = batches.corpus.items.prices[rows]
    return {
        "held_out_perplexity": float(np.exp(losses.mean())),
        "held_out_price_mae_zero_shot": float(np.abs(alone - prices).mean()),
        f"held_out_price_mae_{_COMPARABLES}_comparables": float(np.abs(behind - prices).mean()),
    }


def _read(
    network: Any, batches: Batches, rows: Integers, comparables: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The loss of every token, and the median price of every item."""
    import torch

    documents = batches.tokenised([batches.corpus.priced(int(r), comparables) for r in rows])
    known = _common_start(documents)
    losses, medians = [], np.empty(len(rows))
    order = np.argsort([len(document) for document in documents])
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            found, prices = _forward(network, batches, [documents[at] for at in chosen], known)
            losses.append(found)
            medians[chosen] = prices
    return np.concatenate(losses), medians


def _forward(
    network: Any, batches: Batches, documents: list[Integers], known: int
) -> tuple[npt.NDArray[np.float64], list[float]]:
    import torch

    width = max(map(len, documents))
    ids = torch.zeros((len(documents), width), dtype=torch.int64)
    for row, document in enumerate(documents):
        ids[row, : len(document)] = torch.from_numpy(document)
    logits = network(input_ids=ids.to(network.device), use_cache=False).logits.float()
    told = logits.log_softmax(-1)
    losses, medians = [], []
    tokens = batches.price_tokens.ids[1:]
    values = np.arange(1, len(tokens) + 1, dtype=np.float64)
    for row, document in enumerate(documents):
        following = torch.from_numpy(document[1:, None]).to(told.device)
        at = told[row, : len(document) - 1].gather(1, following)
        losses.append(-at[known - 1 :, 0].double().cpu().numpy())
        # The last two tokens are the price and the end; the place before them tells the price.
        probabilities = told[row, len(document) - 3, tokens].softmax(-1).cpu().numpy()
        medians.append(PriceDistribution(values, probabilities).quantile(0.5))
    return np.concatenate(losses), medians


def _common_start(documents: list[Integers]) -> int:
    """How many tokens all documents begin with alike; one alone has its first in common."""
    if len(documents) == 1:
        return 1
    shortest = min(map(len, documents))
    differs = np.ptp([document[:shortest] for document in documents], axis=0) > 0
    return int(np.argmax(differs)) if differs.any() else 1
