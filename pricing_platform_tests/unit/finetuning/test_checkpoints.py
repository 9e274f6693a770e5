"""Checkpoints: whole or absent, verified, found by fingerprint, pruned."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.base_models import weights_sha256
from pricing_platform.finetuning.checkpoints import (
    MANIFEST,
    Manifest,
    data_hash,
    find_checkpoint,
    list_checkpoints,
    open_checkpoint,
    prune_checkpoints,
    unfinished_folder,
    write_checkpoint,
)
from pricing_platform.pricing.serialization import write_arrays
from pricing_platform.retrieval.encoder import EMBEDDED_MODEL
from pricing_platform.stores.warehouse import fingerprint

NAME = "tfidf_ridge"


def manifest(inputs: str = "some data", **changes: object) -> Manifest:
    return Manifest.model_validate(
        {
            "fingerprint": fingerprint(inputs),
            "data_hash": fingerprint("items"),
            "seed": 1,
            **changes,
        }
    )


def write_files(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"\x01" * 100)
    (folder / "adapter").mkdir()
    (folder / "adapter" / "configuration.json").write_text("{}")


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_written_checkpoint_is_found_opens_and_names_every_file(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, NAME, write_files, manifest(metrics={"mae": 3.5}))
    assert path == tmp_path / NAME / fingerprint("some data")[:16]
    assert find_checkpoint(tmp_path, NAME, fingerprint("some data")) == path
    assert find_checkpoint(tmp_path, NAME, fingerprint("other data")) is None
    opened = open_checkpoint(path).manifest
    assert set(opened.files) == {"weights.bin", "adapter/configuration.json"}
    assert opened.metrics == {"mae": 3.5}
    assert {"python", "torch", "peft", "safetensors"} <= opened.library_versions.keys()
    assert datetime.now(UTC) - opened.created_at < timedelta(minutes=1)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_metric_that_could_not_be_read_again_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        manifest(metrics={"mae": number})


def test_a_fingerprint_that_only_begins_alike_is_not_found(tmp_path: Path) -> None:
    known = fingerprint("some data")
    write_checkpoint(tmp_path, NAME, write_files, manifest())
    assert find_checkpoint(tmp_path, NAME, known[:16] + known[:48]) is None


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda p: (p / "weights.bin").write_bytes(b"\x02" * 100), "weights.bin is not what was"),
        (lambda p: (p / "weights.bin").unlink(), "weights.bin is missing"),
        (lambda p: (p / "more.bin").touch(), "more.bin does not belong"),
        (lambda p: (p / MANIFEST).unlink(), "manifest.json is missing"),
        (lambda p: (p / MANIFEST).write_text("{}"), "manifest.json cannot be read"),
        (lambda p: (p / MANIFEST).write_text("not JSON"), "manifest.json cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, harm: object, told: str) -> None:
    path = write_checkpoint(tmp_path, NAME, write_files, manifest())
    harm(path)  # type: ignore[operator]
    with pytest.raises(PlatformError, match=told) as error:
        open_checkpoint(path)
    assert str(path) in error.value.remedy


def test_other_base_weights_are_refused(tmp_path: Path) -> None:
    def write(inputs: str, sha256: str) -> Path:
        weights = manifest(inputs, base_weights={EMBEDDED_MODEL: sha256})
        return write_checkpoint(tmp_path, NAME, write_files, weights)

    open_checkpoint(write("true", weights_sha256(EMBEDDED_MODEL)))
    with pytest.raises(PlatformError, match="not the one that this checkpoint was trained on"):
        open_checkpoint(write("false", "0" * 64))


def test_a_failing_writer_leaves_nothing_and_the_earlier_checkpoint_stands(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, NAME, write_files, manifest())
    before = tree(tmp_path)

    def fail(folder: Path) -> None:
        write_files(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(PlatformError, match="is full; no checkpoint was written"):
        write_checkpoint(tmp_path, NAME, fail, manifest())
    assert tree(tmp_path) == before
    open_checkpoint(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_told_and_the_earlier_checkpoint_stands(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        path = write_checkpoint(small, NAME, write_files, manifest())
        before = tree(small)

        def write_too_much(folder: Path) -> None:
            write_arrays(folder / "arrays.safetensors", {"weights": np.zeros(1_000_000)})

        with pytest.raises(PlatformError, match="is full; no checkpoint was written"):
            write_checkpoint(small, NAME, write_too_much, manifest("other data"))
        assert tree(small) == before
        open_checkpoint(path)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_an_equal_checkpoint_is_replaced_whole(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, NAME, write_files, manifest())
    write_checkpoint(tmp_path, NAME, lambda p: (p / "other.bin").touch(), manifest())
    assert tree(path) == {"other.bin", MANIFEST}
    assert set(open_checkpoint(path).manifest.files) == {"other.bin"}


def _write_until_killed(folder: Path) -> None:
    def write(partial: Path) -> None:
        write_files(partial)
        (folder / "writing").touch()
        time.sleep(60)

    write_checkpoint(folder, NAME, write, manifest())


def test_a_killed_writer_leaves_no_checkpoint_and_the_next_one_clears_up(tmp_path: Path) -> None:
    writer = multiprocessing.get_context("spawn").Process(
        target=_write_until_killed, args=(tmp_path,)
    )
    writer.start()
    while not (tmp_path / "writing").exists():
        assert writer.is_alive()
        time.sleep(0.01)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()

    assert find_checkpoint(tmp_path, NAME, fingerprint("some data")) is None
    assert list_checkpoints(tmp_path, NAME) == []
    assert any((tmp_path / NAME).glob(".partial-*"))
    open_checkpoint(write_checkpoint(tmp_path, NAME, write_files, manifest()))
    assert not any((tmp_path / NAME).glob(".partial-*"))


def test_pruning_keeps_the_newest_and_what_is_to_be_resumed(tmp_path: Path) -> None:
    written = [
        write_checkpoint(
            tmp_path, NAME, write_files,
            manifest(f"month {month}", created_at=datetime(2024, month, 1, tzinfo=UTC)),
        )
        for month in (3, 1, 2)
    ]  # fmt: skip
    work = unfinished_folder(tmp_path, NAME, fingerprint("month 4"))
    work.mkdir()
    assert [c.path for c in list_checkpoints(tmp_path, NAME)] == [written[i] for i in (0, 2, 1)]
    assert prune_checkpoints(tmp_path, NAME, keep=2) == [written[1]]
    assert not written[1].exists()
    assert work.exists()
    assert prune_checkpoints(tmp_path, NAME, keep=2) == []
    assert prune_checkpoints(tmp_path, "never_fitted", keep=2) == []


def test_of_trainings_that_were_killed_the_newest_alone_can_be_gone_on_with(
    tmp_path: Path,
) -> None:
    write_checkpoint(tmp_path, NAME, write_files, manifest())
    works = [unfinished_folder(tmp_path, NAME, fingerprint(f"month {at}")) for at in range(3)]
    for age, work in zip((3, 1, 2), works, strict=True):
        work.mkdir()
        (work / "states").touch()
        os.utime(work, (0, time.time() - age))
    assert prune_checkpoints(tmp_path, NAME, keep=1) == [works[0], works[2]]
    assert [work.exists() for work in works] == [False, True, False]
    assert len(list_checkpoints(tmp_path, NAME)) == 1


def test_writing_a_checkpoint_ends_its_training(tmp_path: Path) -> None:
    work = unfinished_folder(tmp_path, NAME, fingerprint("some data"))
    work.mkdir(parents=True)
    assert find_checkpoint(tmp_path, NAME, fingerprint("some data")) is None
    write_checkpoint(tmp_path, NAME, write_files, manifest())
    assert not work.exists()


def test_the_data_hash_follows_content_and_side_but_not_order() -> None:
    items = pl.DataFrame(
        {"item_id": ["a", "b", "c"], "content_hash": ["1", "2", "3"], "category": ["x", "x", None],
         "price": [1.0, 2.5, 3.0], "text": ["ä", "b", "c"]}
    )  # fmt: skip
    train, validation = items[:2], items[2:]
    known = data_hash(train, validation)
    assert data_hash(train.reverse(), validation) == known
    assert data_hash(items[:1], items[1:]) != known
    assert data_hash(train.with_columns(price=pl.Series([1.0, 2.51])), validation) != known
    assert data_hash(train.with_columns(content_hash=pl.Series(["1", "9"])), validation) != known
