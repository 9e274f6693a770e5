from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pricing_platform.progress import silent
from pricing_platform.resource_use import (
    USE_FILE,
    KeptMeter,
    Meter,
    folder_bytes,
    peak_device_memory_bytes,
    peak_memory_bytes,
    reset_peak_memory,
)

RANGE = 262_143_000_000


def set_energy(folder: Path, **microjoules: int) -> None:
    """Meters as Linux shows them: ``package_part`` stands for ``intel-rapl:package:part``."""
    for name, energy in microjoules.items():
        meter = folder / f"intel-rapl:{name.removeprefix('p').replace('_', ':')}"
        meter.mkdir(exist_ok=True)
        (meter / "energy_uj").write_text(f"{energy}\n")
        (meter / "max_energy_range_uj").write_text(f"{RANGE}\n")


def test_a_computation_takes_time_of_the_clock_and_of_cores() -> None:
    meter = Meter.start()
    matrix = np.random.default_rng(0).normal(size=(300, 300))
    while meter.used().core_seconds < 0.02:
        matrix = matrix @ matrix / np.abs(matrix).max()

    used = meter.used()

    assert used.seconds > 0
    assert used.core_seconds >= 0.02


def test_energy_is_that_of_all_packages_and_of_no_part_of_one(tmp_path: Path) -> None:
    set_energy(tmp_path, p0=1_000_000, p1=5_000_000, p0_0=900_000)
    meter = Meter.start(tmp_path)
    set_energy(tmp_path, p0=4_000_000, p1=5_500_000, p0_0=2_900_000)

    assert meter.used().joules == pytest.approx(3.5)


def test_a_meter_that_was_full_went_on_from_0(tmp_path: Path) -> None:
    set_energy(tmp_path, p0=RANGE - 1_000_000)
    meter = Meter.start(tmp_path)
    set_energy(tmp_path, p0=2_000_000)

    assert meter.used().joules == pytest.approx(3)


@pytest.mark.parametrize("broken", [None, "no number"])
def test_without_a_meter_that_can_be_read_energy_is_not_known(
    broken: str | None, tmp_path: Path
) -> None:
    assert Meter.start(tmp_path / "nowhere").used().joules is None
    assert Meter.start(tmp_path).used().joules is None
    set_energy(tmp_path, p0=1, p1=1)
    meter = Meter.start(tmp_path)
    if broken is None:
        (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    else:
        (tmp_path / "intel-rapl:1" / "energy_uj").write_text(broken)
    assert meter.used().joules is None
    assert Meter.start(tmp_path).used().joules is None


def test_the_peak_of_memory_rises_and_can_begin_anew() -> None:
    if not reset_peak_memory():
        pytest.skip("the system can't reset the peak")
    before = peak_memory_bytes()
    held = np.ones(30_000_000)
    peak = peak_memory_bytes()
    assert peak > before + 200_000_000
    del held
    assert peak_memory_bytes() == pytest.approx(peak, rel=0.01)
    reset_peak_memory()
    assert peak_memory_bytes() < peak - 200_000_000


def test_without_a_gpu_there_is_no_memory_of_one() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert peak_device_memory_bytes() is None


def test_files_count_once_however_often_they_are_reached(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    (one / "weights").write_bytes(b"12345")
    (one / "also").symlink_to(one / "weights")
    (other / "again").symlink_to(one / "weights")
    (other / "own").write_bytes(b"123")

    assert folder_bytes(one, other) == 8


_KILLED = """
import os, signal, sys
from pathlib import Path
from pricing_platform.progress import silent
from pricing_platform.resource_use import KeptMeter
folder = Path(sys.argv[1])
meter = KeptMeter.start(folder)
while meter.used().seconds < 1.2:
    meter.noting(silent)("computing", 1, 2)
(folder / "state").touch()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_runs_took_counts_where_they_left_something(tmp_path: Path) -> None:
    def run() -> float:
        command = [sys.executable, "-c", _KILLED, str(tmp_path)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        return KeptMeter.start(tmp_path).used().seconds

    assert not KeptMeter.start(tmp_path).is_resumed
    assert 0.5 <= run() < 2
    resumed = KeptMeter.start(tmp_path)
    assert resumed.is_resumed
    assert resumed.used().core_seconds > 0.3
    assert run() >= 1.0
    (tmp_path / "state").unlink()  # nothing to go on from: it begins anew
    assert KeptMeter.start(tmp_path).used().seconds < 0.4


def test_energy_of_all_runs_is_known_where_that_of_each_is(tmp_path: Path) -> None:
    meters, folder = tmp_path / "meters", tmp_path / "folder"
    meters.mkdir()
    folder.mkdir()
    set_energy(meters, p0=1_000_000)
    first = KeptMeter.start(folder, meters)
    set_energy(meters, p0=3_000_000)
    first.note()
    (folder / "state").touch()
    second = KeptMeter.start(folder, meters)
    set_energy(meters, p0=8_000_000)
    assert second.used().joules == pytest.approx(7)
    assert KeptMeter.start(folder, tmp_path / "nowhere").used().joules is None


def test_a_note_that_cannot_be_read_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / USE_FILE).write_text('{"seconds": 5')
    (tmp_path / "state").touch()
    meter = KeptMeter.start(tmp_path)
    assert meter.used().seconds < 1
    meter.noting(silent)("computing", 1, 2)
    meter.note()
    assert KeptMeter.start(tmp_path).used().seconds >= 0
