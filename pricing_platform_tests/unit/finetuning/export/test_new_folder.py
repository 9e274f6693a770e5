"""A folder is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.export.new_folder import new_folder


def filled(target: Path, fill: Callable[[Path], None]) -> None:
    with new_folder(target) as partial:
        fill(partial)


@pytest.mark.parametrize("is_there", [False, True])
def test_it_is_there_when_all_is_written(tmp_path: Path, is_there: bool) -> None:
    target = tmp_path / "a" / "it"
    if is_there:
        target.mkdir(parents=True)
    with new_folder(target) as partial:
        (partial / "file").write_text("whole")
        assert not (target / "file").exists()
    assert [path.name for path in target.parent.iterdir()] == ["it"]
    assert (target / "file").read_text() == "whole"


@pytest.mark.parametrize("error", [PlatformError("no"), KeyboardInterrupt(), ValueError("no")])
def test_nothing_is_left_after_an_error(tmp_path: Path, error: BaseException) -> None:
    def fill(partial: Path) -> None:
        (partial / "file").write_text("half")
        raise error

    with pytest.raises(type(error)):
        filled(tmp_path / "it", fill)
    assert not any(tmp_path.iterdir())


def test_what_a_killed_process_left_is_not_part_of_it(tmp_path: Path) -> None:
    leftover = tmp_path / ".it.partial" / "folder"
    leftover.mkdir(parents=True)
    (leftover / "file").write_text("half")
    (leftover.parent / "file").write_text("half")
    with new_folder(tmp_path / "it") as partial:
        (partial / "other").write_text("whole")
    assert [path.name for path in (tmp_path / "it").iterdir()] == ["other"]


def test_two_do_not_write_one_folder(tmp_path: Path) -> None:
    partial = tmp_path / ".it.partial"
    partial.mkdir()
    (partial / "file").write_text("of the other")
    descriptor = os.open(partial, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(PlatformError, match="Another process is writing"):
        filled(tmp_path / "it", lambda _partial: None)
    os.close(descriptor)
    assert (partial / "file").read_text() == "of the other"


def test_what_came_there_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    def fill(_partial: Path) -> None:
        (tmp_path / "it").mkdir()
        (tmp_path / "it" / "mine").touch()

    with pytest.raises(PlatformError, match="not empty"):
        filled(tmp_path / "it", fill)
    assert [path.name for path in tmp_path.rglob("*")] == ["it", "mine"]


@pytest.mark.parametrize("target", ["file", "file/it", "link"])
def test_a_place_that_can_be_no_folder_is_told(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PlatformError, match=r"is no folder|can't be written"):
        filled(tmp_path / target, lambda _partial: None)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may be larger than 4 kB, as where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["text", "safetensors"])
def test_a_disk_that_takes_no_more_is_told(tmp_path: Path, small_files: None, kind: str) -> None:
    def fill(partial: Path) -> None:
        if kind == "text":
            (partial / "file").write_text("." * 10_000)
        else:
            save_file({"weights": np.zeros(10_000, np.float32)}, partial / "file")

    with pytest.raises(PlatformError, match=r"it can't be written: .*too large"):
        filled(tmp_path / "it", fill)
    assert not any(tmp_path.iterdir())


def test_what_can_not_be_read_elsewhere_is_told_as_that(tmp_path: Path) -> None:
    gone = tmp_path / "adapter.safetensors"
    with pytest.raises(PlatformError, match=r"adapter\.safetensors.* can't be read: No such file"):
        filled(tmp_path / "it", lambda partial: shutil.copy(gone, partial / "file") and None)
    with pytest.raises(PlatformError, match="it can't be written: No such file"):
        filled(tmp_path / "it", lambda partial: (partial / "no" / "file").touch())
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError("by a peer"), OSError("no number"), SafetensorError("header too large")],
)
def test_an_error_of_another_kind_is_not_told_as_a_folder_that_can_not_be_written(
    tmp_path: Path, error: Exception
) -> None:
    def fill(_partial: Path) -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        filled(tmp_path / "it", fill)
    assert not any(tmp_path.iterdir())
