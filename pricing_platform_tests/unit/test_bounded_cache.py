"""A cache keeps within its size what was used last, and all that was used since a time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pricing_platform.assets import reporting
from pricing_platform.assets.reporting import pictures
from pricing_platform.bounded_cache import DAY_SECONDS, mark_used, prune_cache

NOW = 1_800_000_000.0


def entry(folder: Path, name: str, size: int, days_ago: float, *, is_folder: bool = False) -> Path:
    path = folder / name
    if is_folder:
        (path / "within").mkdir(parents=True)
        (path / "within" / "file").write_bytes(bytes(size))
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    os.utime(path, (NOW, NOW - days_ago * DAY_SECONDS))
    return path


def test_what_was_used_longest_ago_goes_first_until_the_rest_fits(tmp_path: Path) -> None:
    oldest = entry(tmp_path, "z", 40, 9)
    older = entry(tmp_path, "folder", 40, 8, is_folder=True)
    newer = entry(tmp_path, "a", 40, 7)
    assert prune_cache(tmp_path, 120, used_since=NOW) == []
    assert prune_cache(tmp_path, 79, used_since=NOW) == [oldest, older]
    assert list(tmp_path.iterdir()) == [newer]
    assert prune_cache(tmp_path, 0, used_since=NOW) == [newer]


def test_what_was_used_since_then_stays_whatever_it_takes(tmp_path: Path) -> None:
    old, used = entry(tmp_path, "old", 10, 3), entry(tmp_path, "used", 1_000, 1)
    assert prune_cache(tmp_path, 100, used_since=NOW - 2 * DAY_SECONDS) == [old]
    assert used.exists()
    mark_used(used)
    assert abs(used.stat().st_mtime - time.time()) < 60


def test_locks_and_what_is_being_written_are_left_alone(tmp_path: Path) -> None:
    lock, partial = entry(tmp_path, ".lock", 50, 9), entry(tmp_path, ".partial-a", 50, 9)
    half = entry(tmp_path, ".going-b", 50, 9, is_folder=True)  # of one that was killed
    assert prune_cache(tmp_path, 0, used_since=NOW) == []
    assert lock.exists()
    assert partial.exists()
    assert not half.exists()


def test_a_cache_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert prune_cache(tmp_path / "nowhere", 0, used_since=NOW) == []
    mark_used(tmp_path / "nowhere")


def test_pictures_of_earlier_versions_go_when_they_take_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = entry(tmp_path, "old", 5_000, 30_000, is_folder=True)
    monkeypatch.setattr(reporting, "_PICTURES_BYTES", 4_000)
    shown = pictures(tmp_path, "new", lambda: {"one": b"png"})
    assert set(shown) == {"one"}
    assert not old.exists()
    assert pictures(tmp_path, "new", lambda: pytest.fail("drawn again")) == shown
