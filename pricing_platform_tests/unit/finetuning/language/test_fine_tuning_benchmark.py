"""The benchmark trains both sides for real, and its clock and its ends are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fine_tuning import Ours, Race, Sizes, race
from benchmarks.measurement import Clock
from benchmarks.plain_fine_tuning import (
    Curve,
    Look,
    MeanError,
    PlainTraining,
    plain_network,
    train_plainly,
)
from pricing_platform_tests.unit.finetuning.language.tiny_base import BLOCKS, priced_examples

TRAIN, VALIDATION = priced_examples(160), priced_examples(60, seed=5)
TRAINING = PlainTraining(learning_rate=3e-3, head_learning_rate=3e-3, looked_at_every=10)
SECONDS = 60.0


def error(mean: float) -> MeanError:
    return MeanError(mean, mean - 1, mean + 1)


def raced(peer_error: float) -> Race:
    ours = Ours(1.0, 1.0, 2.0, 5.0, 100, error(20.0))
    looks = [Look(15.0, 40, error(30.0)), Look(30.0, 100, error(peer_error))]
    return Race(ours, Curve(first_step=10.0, looks=looks))


def test_the_peer_adapts_every_block_and_nothing_else_of_the_model(tiny_base: Path) -> None:
    network = plain_network(tiny_base, TRAIN, TRAINING)
    trained = {name for name, at in network.model.named_parameters() if at.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    for block in range(BLOCKS):
        adapted = {name.split(".")[-4] for name in trained if f".layers.{block}." in name}
        assert adapted == {
            "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
        }  # fmt: skip


@pytest.mark.parametrize("is_tuned", [False, True])
def test_the_peer_learns_until_its_epochs_are_done(
    is_tuned: bool, tiny_base: Path, tmp_path: Path
) -> None:
    found = train_plainly(
        tiny_base, TRAIN, VALIDATION, replace(TRAINING, is_tuned=is_tuned),
        until=0.0, seconds_at_most=SECONDS, work_folder=tmp_path,
    )  # fmt: skip
    assert [at.trained for at in found.looks] == [160, 320, 480, 640, 800]
    seconds = [at.seconds for at in found.looks]
    assert seconds == sorted(seconds)
    assert found.first_step < seconds[0]
    prices = np.log1p(VALIDATION.prices)
    by_median = MeanError.of(np.full(len(prices), np.median(np.log1p(TRAIN.prices))), VALIDATION)
    assert found.last.error.mean < 0.7 * by_median.mean
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_peer_ends_at_the_first_look_that_is_as_good(tiny_base: Path, tmp_path: Path) -> None:
    found = train_plainly(
        tiny_base, TRAIN, VALIDATION, TRAINING,
        until=1e6, seconds_at_most=SECONDS, work_folder=tmp_path,
    )  # fmt: skip
    assert [at.trained for at in found.looks] == [160]


def test_the_peer_ends_when_the_time_is_up(tiny_base: Path, tmp_path: Path) -> None:
    found = train_plainly(
        tiny_base, TRAIN, VALIDATION, TRAINING,
        until=0.0, seconds_at_most=0.0, work_folder=tmp_path,
    )  # fmt: skip
    assert [at.trained for at in found.looks] == [16]


def test_both_sides_are_trained_and_told_of(tiny_base: Path, tmp_path: Path) -> None:
    told: list[str] = []
    found = race(
        tiny_base, TRAIN, VALIDATION, Sizes(epochs=2.0, seconds_at_most=SECONDS), TRAINING,
        tmp_path, told=told.append,
    )  # fmt: skip
    ours = found.ours
    parts = ours.reading_seconds + ours.anchor_seconds + ours.adapter_seconds
    assert 0.5 * ours.seconds < parts <= ours.seconds
    assert ours.trained == 320
    assert ours.error.low < ours.error.mean < ours.error.high
    assert len(told) == 1 + len(found.peer.looks)
    assert found.peer_caught_up == (found.peer.last.error.mean <= ours.error.mean)


def test_a_peer_that_caught_up_gives_a_ratio() -> None:
    sooner, trained = raced(19.5).comparisons()
    assert (sooner.ratio, sooner.meaning, sooner.met) == (6.0, "times sooner", True)
    assert "caught up: 30.0 at 15 s, 19.5 at 30 s" in sooner.note
    assert trained.ratio == pytest.approx((100 / 2) / (100 / 20))


def test_a_peer_that_did_not_gives_a_lower_bound() -> None:
    sooner, _ = raced(20.5).comparisons()
    assert (sooner.ratio, sooner.meaning) == (6.0, "times sooner, or more")
    assert "never caught up" in sooner.note


def test_the_clock_stands_while_it_is_stopped() -> None:
    moments = iter([100.0, 103.0, 103.0, 150.0, 152.0])
    clock = Clock(lambda: next(moments))
    assert clock.seconds() == 3.0
    with clock.stopped():
        pass
    assert clock.seconds() == 5.0
