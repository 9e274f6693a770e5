"""Training: it learns, keeps its best epoch, and goes on after a kill to the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.base_models import base_model_folder
from pricing_platform.finetuning.price_histogram import PriceHistogram
from pricing_platform.finetuning.price_network import NetworkConfiguration, PriceNetwork
from pricing_platform.finetuning.text_batches import TextTokeniser
from pricing_platform.finetuning.training_loop import (
    PricedTexts,
    Training,
    TrainingConfiguration,
    train_price_network,
)
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.encoder import EMBEDDED_MODEL

NETWORK = NetworkConfiguration(max_tokens=16, rank=4, bins=32)
CONFIGURATION = TrainingConfiguration(max_epochs=3, batch_items=16)
STEPS = 6  # of an epoch over 96 items


class Killed(BaseException):
    """What stands for a kill: no part of the platform catches it."""


def kill_after(steps: int) -> Progress:
    def progress(description: str, done: int, _total: int) -> None:
        if "epoch" in description and done > steps:
            raise Killed

    return progress


def recording(steps: list[tuple[int, int]]) -> Progress:
    def progress(description: str, done: int, total: int) -> None:
        if "epoch" in description:
            steps.append((done, total))

    return progress


def priced(items: ItemSet) -> PricedTexts:
    tokenise = TextTokeniser(base_model_folder(EMBEDDED_MODEL), NETWORK.max_tokens)
    return PricedTexts(tokenise(items.frame["text"].to_list()), items.prices())


def train(
    train_items: ItemSet,
    validation_items: ItemSet,
    *,
    configuration: TrainingConfiguration = CONFIGURATION,
    work_folder: Path | None = None,
    progress: Progress = silent,
    seed: int = 1,
) -> Training:
    histogram = PriceHistogram.covering(train_items.prices(), bins=NETWORK.bins)
    network = PriceNetwork.to_train(NETWORK, histogram.prior(train_items.prices()), seed=seed)
    return train_price_network(
        network,
        histogram,
        priced(train_items),
        priced(validation_items),
        configuration,
        seed=seed,
        work_folder=work_folder,
        progress=progress,
    )


def assert_equal_weights(one: Training, other: Training) -> None:
    import torch

    for a, b in ((one.adapter, other.adapter), (one.head, other.head)):
        assert a.keys() == b.keys()
        for name in a:
            assert torch.equal(a[name], b[name]), name


@pytest.fixture(scope="module")
def undisturbed(train_items: ItemSet, validation_items: ItemSet) -> Training:
    return train(train_items, validation_items)


def test_it_learns_and_measures_every_epoch(
    undisturbed: Training, train_items: ItemSet, validation_items: ItemSet
) -> None:
    maes = [undisturbed.metrics[f"validation_mae_epoch_{epoch}"] for epoch in (0, 1, 2, 3)]
    guess = np.median(train_items.prices())
    assert min(maes) < 0.5 * np.abs(validation_items.prices() - guess).mean()
    assert undisturbed.metrics["best_epoch"] == int(np.argmin(maes))
    losses = [undisturbed.metrics[f"training_loss_epoch_{epoch}"] for epoch in (1, 2, 3)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("killed_after", [3, 8, 15])
def test_a_killed_training_goes_on_to_the_same_weights(
    undisturbed: Training,
    train_items: ItemSet,
    validation_items: ItemSet,
    tmp_path: Path,
    killed_after: int,
) -> None:
    with pytest.raises(Killed):
        train(
            train_items, validation_items, work_folder=tmp_path, progress=kill_after(killed_after)
        )
    steps: list[tuple[int, int]] = []
    resumed = train(
        train_items,
        validation_items,
        work_folder=tmp_path,
        progress=recording(steps),
    )
    assert steps[0][0] == killed_after // STEPS * STEPS + 1
    assert_equal_weights(undisturbed, resumed)
    assert undisturbed.metrics.keys() == resumed.metrics.keys()


def test_a_finished_training_is_not_repeated(
    undisturbed: Training, train_items: ItemSet, validation_items: ItemSet, tmp_path: Path
) -> None:
    train(train_items, validation_items, work_folder=tmp_path)
    again = train(train_items, validation_items, work_folder=tmp_path, progress=kill_after(0))
    assert_equal_weights(undisturbed, again)
    assert len(list((tmp_path / "training").iterdir())) == 2  # one state and the lock


def test_the_state_of_another_training_or_a_damaged_one_is_not_gone_on_from(
    train_items: ItemSet, validation_items: ItemSet, tmp_path: Path
) -> None:
    short = CONFIGURATION.model_copy(update={"max_epochs": 1})

    def first_step(seed: int) -> int:
        steps: list[tuple[int, int]] = []
        train(
            train_items,
            validation_items,
            configuration=short,
            work_folder=tmp_path,
            seed=seed,
            progress=recording(steps),
        )
        return steps[0][0] if steps else 0

    assert first_step(seed=1) == 1
    assert first_step(seed=1) == 0
    assert first_step(seed=2) == 1
    state = next((tmp_path / "training").rglob("optimizer.safetensors"))
    state.write_bytes(state.read_bytes()[:-1])
    assert first_step(seed=2) == 1


def test_the_budget_decides_epochs_and_items(
    train_items: ItemSet, validation_items: ItemSet
) -> None:
    tokens = int(priced(train_items).texts.lengths.sum())
    limits = TrainingConfiguration(
        min_epochs=2, max_epochs=5, token_goal=3 * tokens, token_budget=10 * tokens
    )
    assert [limits.epochs(share * tokens // 4) for share in (1, 4, 8, 20, 40, 400)] == [
        5, 3, 2, 2, 1, 1,
    ]  # fmt: skip
    steps: list[tuple[int, int]] = []
    half = CONFIGURATION.model_copy(update={"token_budget": tokens // 2, "batch_items": 1})
    train(
        train_items,
        validation_items,
        configuration=half,
        progress=recording(steps),
    )
    assert steps[-1] == (len(steps), len(steps))
    assert len(steps) == pytest.approx(len(train_items) / 2, rel=0.1)


def test_without_validation_the_last_epoch_counts(train_items: ItemSet) -> None:
    nothing = train_items.where(train_items.frame["price"] < 0)
    trained = train(
        train_items, nothing, configuration=CONFIGURATION.model_copy(update={"max_epochs": 2})
    )
    assert trained.metrics["best_epoch"] == 2
    assert not any(name.startswith("validation_mae") for name in trained.metrics)
