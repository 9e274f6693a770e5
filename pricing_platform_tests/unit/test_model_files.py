"""What a measurement on this machine follows from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricing_platform import model_files
from pricing_platform.finetuning.language import speed
from pricing_platform.finetuning.language.speed import tokens_per_second
from pricing_platform.model_files import accelerator, machine, measured_once, processor
from pricing_platform_tests.unit.finetuning.language.tiny_base import write_tiny_base


@pytest.fixture(autouse=True)
def found_anew() -> Iterator[None]:
    accelerator.cache_clear()
    yield
    accelerator.cache_clear()


def with_gpu(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str | None) -> None:
    """As torch tells of a GPU where there is a driver; without a name it finds none."""
    import torch

    driver = folder / "driver"
    driver.touch()
    monkeypatch.setattr(model_files, "_GPU_DRIVERS", (str(driver),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: name is not None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    accelerator.cache_clear()


def test_a_gpu_is_named_where_torch_finds_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_gpu(monkeypatch, tmp_path, "NVIDIA H100")
    assert machine() == (processor()[0], "NVIDIA H100")
    with_gpu(monkeypatch, tmp_path, None)
    assert machine() == (processor()[0],)
    monkeypatch.setattr(model_files, "_GPU_DRIVERS", (str(tmp_path / "nowhere"),))
    accelerator.cache_clear()
    assert accelerator() is None


def test_this_machine_is_named_as_torch_knows_it() -> None:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    assert accelerator() == gpu


def test_what_is_measured_once_is_measured_anew_on_another_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    for gpu in ("one", "another"):
        with_gpu(monkeypatch, tmp_path, gpu)
        for _ in range(2):
            assert measured_once(cache, "speed", "model", lambda gpu=gpu: {"of": gpu})["of"] == gpu
    assert len(list(cache.glob("speed-*.json"))) == 2


def test_a_speed_is_remembered_for_one_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base, cache = write_tiny_base(tmp_path / "base"), tmp_path / "cache"
    here = tokens_per_second(base, "content", cache)
    assert tokens_per_second(base, "content", cache) == here
    monkeypatch.setattr(speed, "machine", lambda: (processor()[0], "a GPU"))
    monkeypatch.setattr(speed, "_measured", lambda *_: 2 * here)
    assert tokens_per_second(base, "content", cache) == 2 * here
    kept = [json.loads(path.read_text()) for path in (cache / "speeds").glob("*.json")]
    assert sorted(at["tokens_per_second"] for at in kept) == [here, 2 * here]
