from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.price_histogram import PriceHistogram
from pricing_platform.pricing.tabular.learned_comparables.learned_comparables import (
    LearnedComparables,
)
from pricing_platform.pricing.tabular.learned_comparables.retrieval_network import (
    NetworkSizes,
    RetrievalNetwork,
)
from pricing_platform.pricing.tabular.learned_comparables.retrieval_training import Schedule
from pricing_platform_tests.unit.pricing.conftest import SHORT, SMALL


@pytest.fixture
def network() -> RetrievalNetwork:
    import torch

    random = np.random.default_rng(0)
    prices = random.lognormal(3, 1, 60)
    network = RetrievalNetwork(
        5, SMALL, PriceHistogram.covering(prices, bins=SMALL.bins), prices, np.arange(60) // 3
    )
    network.remember(torch.from_numpy(random.normal(size=(60, 5)).astype(np.float32)))
    return network


def test_no_item_of_the_own_family_is_looked_up(network: RetrievalNetwork) -> None:
    found = network.nearest(network.keys, network.families)
    assert (found >= 0).all()
    assert (network.families[found] != network.families[:, None]).all()


def test_without_families_an_item_finds_itself(network: RetrievalNetwork) -> None:
    import torch

    found = network.nearest(network.keys, torch.full((60,), -2))
    assert found[:, 0].tolist() == list(range(60))


def test_an_item_whose_only_neighbours_are_its_family_still_has_an_estimate() -> None:
    import torch

    prices = np.array([10.0, 12.0])
    sizes = NetworkSizes(width=8, key_width=4, neighbours=3)
    network = RetrievalNetwork(
        2, sizes, PriceHistogram.covering(prices), prices, np.zeros(2, np.int64)
    )
    network.remember(torch.ones(2, 2))
    estimate = network.log_estimates(np.ones((1, 2), np.float32), np.zeros(1, np.int64))
    assert np.isfinite(estimate).all()


class Interrupted(Exception):
    pass


def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(
    train: ItemSet, validation: ItemSet, test_items: ItemSet, tmp_path: Path
) -> None:
    calls: list[int] = []
    folder = tmp_path / "not" / "there yet"

    def stop_after_two(description: str, done: int, _total: int) -> None:
        if description.startswith("epochs"):
            calls.append(done)
            if done == 2:
                raise Interrupted

    def fit(**options: object) -> LearnedComparables:
        return LearnedComparables.fit(
            train,
            validation,
            seed=5,
            sizes=SMALL,
            schedule=SHORT,
            **options,  # type: ignore[arg-type]
        )

    with pytest.raises(Interrupted):
        fit(work_folder=folder, progress=stop_after_two)
    resumed = fit(
        work_folder=folder, progress=lambda d, n, _t: calls.append(n) if "epo" in d else None
    )
    assert calls == list(range(1, SHORT.most_epochs + 1))
    undisturbed = fit()
    np.testing.assert_array_equal(
        resumed.log_estimates(test_items), undisturbed.log_estimates(test_items)
    )


@pytest.mark.parametrize("found", [b"", b"cut off", "of another training"])
def test_a_state_that_is_not_of_this_training_is_ignored(
    train: ItemSet, validation: ItemSet, tmp_path: Path, found: bytes | str
) -> None:
    state = tmp_path / "training.safetensors"
    if isinstance(found, bytes):
        state.write_bytes(found)
    else:
        LearnedComparables.fit(
            train, validation, seed=6, sizes=SMALL, schedule=SHORT, work_folder=tmp_path
        )
        assert state.is_file()
    epochs: list[int] = []
    LearnedComparables.fit(
        train,
        validation,
        seed=5,
        sizes=SMALL,
        schedule=SHORT,
        work_folder=tmp_path,
        progress=lambda what, done, _: epochs.append(done) if "epochs" in what else None,
    )
    assert epochs == list(range(1, SHORT.most_epochs + 1))


def test_the_best_epoch_is_kept(train: ItemSet, validation: ItemSet) -> None:
    diverging = Schedule(learning_rate=0.5, warm_up=1.0, fewest_epochs=4, most_epochs=4)
    fitted = LearnedComparables.fit(train, validation, seed=1, sizes=SMALL, schedule=diverging)
    by_epoch = [v for k, v in fitted.metrics.items() if k.startswith("validation_mae_epoch")]
    assert len(by_epoch) == 4
    assert by_epoch[-1] > min(by_epoch)
    assert fitted.metrics["validation_mae"] == pytest.approx(min(by_epoch))


def test_the_schedule_rises_then_falls_to_nothing() -> None:
    schedule = Schedule(learning_rate=1.0, warm_up=0.25)
    rates = [schedule.rate(step, 100) for step in range(100)]
    assert np.argmax(rates) in (24, 25)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.01
    assert Schedule().epochs(1_000_000) == Schedule().fewest_epochs
    assert Schedule().epochs(10) == Schedule().most_epochs
