"""Training the head alone, on what the base encoder already makes of the texts.

The first half of "linear probing, then fine-tuning" (Kumar et al. 2022): adapters that start behind
a random head are first trained to serve a head that knows nothing, and a short training never makes
up for it. Vectors that stay the same cost the encoder nothing, so this takes seconds. Here belongs
that half; the second is the training loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from pricing_platform.finetuning.learning_rate import cosine_with_warm_up
from pricing_platform.finetuning.price_histogram import Floats, PriceHistogram
from pricing_platform.progress import Progress, silent

if TYPE_CHECKING:
    import torch


class ProbingConfiguration(BaseModel):
    """How the head is trained before the adapters are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    batch_items: int = Field(128, ge=1)
    item_budget: int = Field(300_000, ge=0, description="Items over all epochs; 0 for no probing.")
    max_epochs: int = Field(20, ge=1)


def probe(
    head: torch.nn.Module,
    vectors: npt.NDArray[np.float32],
    prices: Floats,
    histogram: PriceHistogram,
    configuration: ProbingConfiguration,
    *,
    seed: int,
    progress: Progress = silent,
) -> None:
    """Trains the head in place.

    Args:
        head: from (items, width) to (items, bins).
        vectors: the base encoder's vectors, shape (items, width).
        prices: shape (items,).
        histogram: makes the targets.
        configuration: how long and how fast.
        seed: decides the order and the dropped units.
        progress: is told how far it is.
    """
    import torch

    device = next(head.parameters()).device
    optimizer = torch.optim.AdamW(
        head.parameters(),
        lr=configuration.learning_rate,
        weight_decay=configuration.weight_decay,
        fused=True,
    )
    steps = _batches(len(vectors), configuration, seed)
    head.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step, indices in enumerate(steps):
            factor = cosine_with_warm_up(step, len(steps), 0.1)
            optimizer.param_groups[0]["lr"] = configuration.learning_rate * factor
            answers = head(torch.from_numpy(vectors[indices]).to(device))
            targets = torch.from_numpy(histogram.targets(prices[indices])).to(device)
            loss = torch.nn.functional.cross_entropy(answers, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            progress("training the head", step + 1, len(steps))


def _batches(
    count: int, configuration: ProbingConfiguration, seed: int
) -> list[npt.NDArray[np.int64]]:
    """Every epoch's batches; of more items than the budget, so many drawn at random."""
    random = np.random.default_rng(seed)
    drawn = min(count, configuration.item_budget)
    epochs = min(configuration.max_epochs, configuration.item_budget // max(drawn, 1))
    batches: list[npt.NDArray[np.int64]] = []
    for _ in range(epochs):
        order = random.permutation(count)[:drawn]
        batches += np.split(
            order, range(configuration.batch_items, drawn, configuration.batch_items)
        )
    return batches
