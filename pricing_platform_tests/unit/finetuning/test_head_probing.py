"""Training the head alone: it learns what the vectors say, within its budget, by its seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pricing_platform.finetuning.head_probing import ProbingConfiguration, probe
from pricing_platform.finetuning.price_histogram import PriceHistogram

ITEMS, WIDTH, BINS = 400, 8, 32
RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(ITEMS, WIDTH)).astype(np.float32)
PRICES = np.exp(3 + VECTORS[:, 0] + 0.5 * VECTORS[:, 1]).astype(np.float64)
HISTOGRAM = PriceHistogram.covering(PRICES, bins=BINS)


def probed(configuration: ProbingConfiguration, *, seed: int = 1) -> Any:
    import torch

    torch.manual_seed(0)
    head = torch.nn.Sequential(
        torch.nn.Linear(WIDTH, 64),
        torch.nn.GELU(),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(64, BINS),
    )
    probe(head, VECTORS, PRICES, HISTOGRAM, configuration, seed=seed)
    return head


def estimates(head: Any) -> np.ndarray:
    import torch

    head.train(False)
    with torch.inference_mode():
        return HISTOGRAM.quantile(head(torch.from_numpy(VECTORS)).softmax(-1).numpy(), 0.5)


def test_it_learns() -> None:
    configuration = ProbingConfiguration(batch_items=32, learning_rate=0.01)
    error = np.abs(np.log(estimates(probed(configuration)) / PRICES)).mean()
    assert error < 0.2 * np.abs(np.log(np.median(PRICES) / PRICES)).mean()


def test_equal_seeds_give_equal_heads_and_leave_the_global_seed_alone() -> None:
    import torch

    configuration = ProbingConfiguration(max_epochs=2)
    one, same, other = (probed(configuration, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one[0].weight, same[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    probe(probed(configuration), VECTORS, PRICES, HISTOGRAM, configuration, seed=1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("budget", "epochs", "steps"),
    [(0, 20, 0), (100, 20, 2), (800, 20, 8), (1_000_000, 3, 12)],
)
def test_the_budget_bounds_the_steps(budget: int, epochs: int, steps: int) -> None:
    import torch

    seen: list[tuple[int, int]] = []
    head = torch.nn.Linear(WIDTH, BINS)
    configuration = ProbingConfiguration(item_budget=budget, max_epochs=epochs, batch_items=100)
    if budget == 100:
        configuration = configuration.model_copy(update={"batch_items": 50})
    probe(
        head, VECTORS, PRICES, HISTOGRAM, configuration, seed=1,
        progress=lambda _description, done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(step + 1, steps) for step in range(steps)]
