"""A price model is fitted for real, read, saved, and goes on after a kill to equal weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from pricing_platform.finetuning.language import price_model
from pricing_platform.finetuning.language.adapters import (
    ADAPTER_FOLDER,
    adapter_scale,
    load_base,
    with_adapters_of,
)
from pricing_platform.finetuning.language.price_head import HEAD_FOLDER, PriceHead
from pricing_platform.finetuning.language.price_model import (
    FitFolders,
    FittedPriceModel,
    LearntExamples,
    PriceModelBase,
    PriceRecipe,
    fit_price_model,
)
from pricing_platform.resource_use import USE_FILE
from pricing_platform_tests.unit.finetuning.language.conftest import ADAPTERS, TRAINING, Fit
from pricing_platform_tests.unit.finetuning.language.tiny_base import priced_examples

MEDIAN = (0.5,)


def error_of(fit: Fit, scale: float = 1.0) -> float:
    items = priced_examples(80, seed=5)
    found = fit.model.scaled(scale).quantiles(items.examples, items.numbers, MEDIAN)[0]
    return float(np.abs(found - np.log1p(items.prices)).mean())


def test_new_items_are_priced_far_better_than_by_the_median(fitted: Fit) -> None:
    prices = np.log1p(priced_examples(80, seed=5).prices)
    assert error_of(fitted) < 0.6 * np.abs(prices - np.median(prices)).mean()
    assert fitted.metrics["steps"] == 30
    assert fitted.watched == [0.5, 1.0]


def test_the_adapters_matter_and_plain_peft_loads_them(fitted: Fit, tiny_base: Path) -> None:
    import torch

    base = load_base(tiny_base)
    ids = torch.tensor([[21, 40, 50, 5, 6]])
    with torch.inference_mode():
        before = base(input_ids=ids).logits
        adapted = with_adapters_of(base, fitted.model.adapters)
        assert not torch.allclose(before, adapted(input_ids=ids).logits, atol=1e-4)
        with adapter_scale(adapted, 0.0):
            torch.testing.assert_close(adapted(input_ids=ids).logits, before)
    names = set(load_file(fitted.model.adapters / "adapter_model.safetensors"))
    assert all(".layers.4." in name or ".layers.5." in name for name in names)


def test_the_head_is_read_as_it_was_written(fitted: Fit, tmp_path: Path) -> None:

    fitted.model.head.save(tmp_path)
    loaded = replace(fitted.model, head=PriceHead.load(tmp_path))
    items = priced_examples(20, seed=6)
    np.testing.assert_array_equal(
        loaded.quantiles(items.examples, items.numbers, (0.1, 0.9)),
        fitted.model.quantiles(items.examples, items.numbers, (0.1, 0.9)),
    )


_FIT = """
import json
import sys
from pathlib import Path
import torch
from pricing_platform.finetuning.language.price_model import (
    FitFolders, LearntExamples, PriceModelBase, PriceRecipe, fit_price_model
)
from pricing_platform.resource_use import USE_FILE
from pricing_platform_tests.unit.finetuning.language.conftest import ADAPTERS, TRAINING
from pricing_platform_tests.unit.finetuning.language.tiny_base import priced_examples
torch.set_num_threads(1)
base, folder, dies = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
def watch(model, head, share):
    if dies and share >= dies:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
train = priced_examples(160)
_, metrics = fit_price_model(PriceModelBase(base, "tiny"), LearntExamples.all_of(train),
    PriceRecipe(3.0, ADAPTERS, TRAINING, seed=1),
    FitFolders(folder, folder / "work", folder / "pooled"),
    watch=watch, watched_at=(0.2, 0.4, 0.6))
(folder / "metrics.json").write_text(json.dumps(metrics))
"""


def test_killed_anywhere_it_goes_on_to_the_same_weights(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    def run(folder: Path, dies: float) -> int:
        command = [sys.executable, "-c", _FIT, str(tiny_base), str(folder), str(dies)]
        return subprocess.run(command, env=os.environ, capture_output=True).returncode

    assert run(tmp_path / "whole", 0) == 0
    for dies in (0.4, 0.6):
        assert run(tmp_path / "killed", dies) == -signal.SIGKILL
        assert not (tmp_path / "killed" / ADAPTER_FOLDER).exists()
    for phase in ("reading", "training"):
        took = tmp_path / "killed" / "work" / phase / USE_FILE
        took.write_text('{"seconds": 1000, "core_seconds": 1, "joules": null}')
    assert run(tmp_path / "killed", 0) == 0
    told = json.loads((tmp_path / "killed" / "metrics.json").read_text())
    assert 1000 < told["reading_seconds"] < 1100
    assert 1000 < told["adapter_seconds"] < 1100
    for file in (f"{ADAPTER_FOLDER}/adapter_model.safetensors", f"{HEAD_FOLDER}/head.safetensors"):
        whole, killed = load_file(tmp_path / "whole" / file), load_file(tmp_path / "killed" / file)
        assert whole.keys() == killed.keys()
        assert all(torch.equal(whole[name], killed[name]) for name in whole)


@pytest.mark.parametrize("what", ["other prices", "other order", "fewer epochs"])
def test_the_state_of_another_training_is_thrown_away(
    what: str, tiny_base: Path, tmp_path: Path
) -> None:
    """As after a kill, where settings, prices or the speed of the machine have changed since."""
    train = priced_examples(160)

    def fit(folder: Path, killed_at: float = 2.0, **other: Any) -> FittedPriceModel:
        def watch(_model: object, _head: object, share: float) -> None:
            if share >= killed_at:
                raise KeyboardInterrupt

        options = {"prices": train.prices, "seed": 1, "epochs": 3.0} | other
        model, metrics = fit_price_model(
            PriceModelBase(tiny_base, "tiny"),
            LearntExamples.all_of(replace(train, prices=options["prices"])),
            PriceRecipe(options["epochs"], ADAPTERS, TRAINING, options["seed"]),
            FitFolders(folder, folder / "work", folder / "pooled"),
            watch=watch,
            watched_at=(0.2, 0.6),
            snapshots_at=(0.2,),
        )
        assert metrics["adapter_seconds"] < 500
        return model

    other: dict[str, Any] = {
        "other prices": {"prices": 3 * train.prices[::-1]},
        "other order": {"seed": 2},
        "fewer epochs": {"epochs": 2.0},
    }[what]
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "killed", killed_at=0.6)
    left = tmp_path / "killed" / "work" / "training"
    assert list(left.glob("checkpoint-*"))
    # Nor does the time count that the other one took.
    (left / USE_FILE).write_text('{"seconds": 1000, "core_seconds": 1, "joules": null}')

    resumed, whole = fit(tmp_path / "killed", **other), fit(tmp_path / "whole", **other)

    for one, two in ((resumed, whole), (resumed.at(0.2), whole.at(0.2))):
        file = "adapter_model.safetensors"
        found, expected = load_file(one.adapters / file), load_file(two.adapters / file)
        assert all(torch_equal(found[name], expected[name]) for name in expected)


def torch_equal(one: Any, two: Any) -> bool:
    import torch

    return torch.equal(one, two)


def test_pooled_states_of_other_fits_go_when_all_take_too_much(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_model, "POOLED_BYTES", 0)
    pooled = tmp_path / "pooled"

    def fit(count: int) -> set[str]:
        for path in pooled.glob("*"):
            os.utime(path, (0, 0))
        train = priced_examples(count)
        fit_price_model(
            PriceModelBase(tiny_base, "tiny"),
            LearntExamples.all_of(train),
            PriceRecipe(0.2, ADAPTERS, TRAINING, seed=1),
            FitFolders(tmp_path / str(count), tmp_path / str(count) / "work", pooled),
        )
        return {path.name for path in pooled.iterdir()}

    first = fit(40)
    assert first
    assert fit(60).isdisjoint(first)  # its own stay though they take more than nothing
    monkeypatch.setattr(price_model, "POOLED_BYTES", 10**9)
    assert fit(40) > first
