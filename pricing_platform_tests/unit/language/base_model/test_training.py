import hashlib
import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pricing_platform.language.base_model.configuration import BaseModelConfiguration
from pricing_platform.language.base_model.corpus import TrainingItems
from pricing_platform.language.base_model.trained_model import TrainedBaseModel
from pricing_platform.language.base_model.training import train_base_model
from pricing_platform.progress import Progress, silent
from pricing_platform_tests.unit.language.base_model.made_items import CURRENCY, TINY, made_items
from pricing_platform_tests.unit.language.base_model.test_corpus import TOOLS

KNOWLEDGE = ["# Brand1\n**Warranty:** Brand1 gives two years.\n"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def train(
    work_folder: Path,
    *,
    progress: Progress = silent,
    configuration: BaseModelConfiguration = TINY,
    seed: int = 1,
    items: TrainingItems | None = None,
) -> TrainedBaseModel:
    return train_base_model(
        items or made_items(),
        KNOWLEDGE,
        tools=TOOLS,
        currency=CURRENCY,
        configuration=configuration,
        seed=seed,
        work_folder=work_folder,
        progress=progress,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedBaseModel:
    return train(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def folder(trained: TrainedBaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    trained.save(folder)
    return folder


def weights_of(trained: TrainedBaseModel) -> dict[str, Any]:
    return {name: at.detach().numpy() for name, at in trained.network.named_parameters()}


def same(one: TrainedBaseModel, other: TrainedBaseModel) -> bool:
    pairs = zip(weights_of(one).values(), weights_of(other).values(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


class Stopped(Exception):
    pass


def test_the_same_seed_gives_the_same_weights_and_another_others(
    trained: TrainedBaseModel, tmp_path: Path
) -> None:
    assert same(trained, train(tmp_path / "a"))
    assert not same(trained, train(tmp_path / "b", seed=2))


def _train_until_killed(work_folder: Path) -> None:
    import torch

    torch.set_num_threads(1)

    def kill(description: str, done: int, total: int) -> None:
        if description == "training the base model" and done > total / 2:
            os.kill(os.getpid(), signal.SIGKILL)

    train(work_folder, progress=kill)


def test_a_training_that_was_killed_ends_in_the_weights_of_an_undisturbed_one(
    trained: TrainedBaseModel, tmp_path: Path
) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_train_until_killed, args=(tmp_path,)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    done: list[int] = []

    def watch(description: str, at: int, _total: int) -> None:
        if description == "training the base model":
            done.append(at)

    again = train(tmp_path, progress=watch)
    assert done[0] > TINY.token_budget / 4
    assert same(trained, again)
    assert [at["price_loss"] for at in again.loss_curve] == [
        at["price_loss"] for at in trained.loss_curve
    ]


def test_a_state_of_another_training_is_not_gone_on_with(tmp_path: Path) -> None:
    def stop(description: str, done: int, total: int) -> None:
        if description == "training the base model" and done > total / 2:
            raise Stopped

    with pytest.raises(Stopped):
        train(tmp_path, progress=stop, seed=2)
    first: list[int] = []

    def watch(description: str, done: int, _total: int) -> None:
        if description == "training the base model":
            first.append(done)
            raise Stopped

    with pytest.raises(Stopped):
        train(tmp_path, progress=watch, seed=3)
    assert first[0] < TINY.token_budget / 8


def test_transformers_reads_the_folder_and_the_marks_are_right(
    trained: TrainedBaseModel, folder: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True
    )
    marks = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    for at in (model.config, model.generation_config):
        assert (at.bos_token_id, at.eos_token_id, at.pad_token_id) == marks
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.max_position_embeddings == TINY.window == tokenizer.model_max_length
    ids = torch.tensor([tokenizer("a lamp\nPrice: $").input_ids])
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, trained.network.eval().cpu()(ids).logits)
    assert not list(folder.glob("*.bin"))


def test_what_was_left_out_is_written_down(trained: TrainedBaseModel, folder: Path) -> None:
    written = json.loads((folder / "held_out_families.json").read_text())
    assert written["left_out"] == trained.reading.left_out_families
    assert set(written["measured"]) < set(written["left_out"])
    card = (folder / "README.md").read_text()
    for said in ("validation", trained.fingerprint, "held_out_families.json", "seed 1"):
        assert said in card
    assert f"{trained.reading.items} items" in card
    curve = json.loads((folder / "loss_curve.json").read_text())
    assert curve[-1]["tokens"] >= TINY.token_budget


def test_it_learns_and_what_it_learnt_is_measured_on_what_it_did_not_read(tmp_path: Path) -> None:
    rates = {"learning_rate": 1e-2, "matrix_learning_rate": 2e-2}
    longer = TINY.model_copy(update={"token_budget": 120_000, **rates})
    found = train(tmp_path, configuration=longer)
    assert found.loss_curve[-1]["price_loss"] < found.loss_curve[0]["price_loss"] - 0.75
    prices = made_items().prices
    guessed = float(np.abs(prices - np.median(prices)).mean())
    assert found.metrics["held_out_price_mae_5_comparables"] < 0.6 * guessed
    assert 1 < found.metrics["held_out_perplexity"] < 50


def test_nothing_is_measured_where_nothing_is_held_out(tmp_path: Path) -> None:
    everything = TINY.model_copy(update={"left_out_share": 0.0, "token_budget": 2_000})
    found = train(tmp_path, configuration=everything)
    assert found.reading.left_out_families == []
    assert not any(name.startswith("held_out") for name in found.metrics)


def test_sizes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="heads"):
        BaseModelConfiguration(hidden=30, heads=4)


def test_of_one_family_that_would_be_left_out_everything_is_learnt(tmp_path: Path) -> None:
    items = replace(made_items(), families=["1"] * 160)
    place = int(hashlib.sha256(b"1").hexdigest()[:8], 16) / 2**32
    leaving_out = TINY.model_copy(update={"left_out_share": (1 + place) / 2, "token_budget": 2_000})
    found = train(tmp_path, configuration=leaving_out, items=items)
    assert (found.reading.items, found.reading.left_out_items) == (160, 0)
    assert "no family of the training split was left out" in found.model_card()


def test_the_card_says_what_of_time_the_model_may_know(trained: TrainedBaseModel) -> None:
    card = " ".join(trained.model_card().split())
    assert "may so know of a time after that of the item asked about" in card
