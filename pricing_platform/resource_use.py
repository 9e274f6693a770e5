"""What a computation takes: seconds, core-seconds, joules, memory.

Here belongs reading the meters of the process and the machine. What is computed belongs to the
caller.
"""

from __future__ import annotations

import re
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from pricing_platform.progress import Progress

POWER_METERS = Path("/sys/class/powercap")
"""Where Linux shows the energy that processors have used (running average power limit, RAPL)."""

USE_FILE = "use.json"
"""In the folder of a computation that can be gone on with: what it has taken so far."""

_NOTED_EVERY = 0.5
"""Seconds: what of a killed run is not counted at most, between two calls that tell how far it is.
"""

_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"
_PACKAGE = re.compile(r"intel-rapl:\d+")


@dataclass(frozen=True)
class Use:
    """Wall-clock seconds, seconds of all cores together, and joules where they can be read.

    Core-seconds are of this process and all of its threads; joules are of the processors, so also
    of what runs beside it. A GPU is in neither.
    """

    seconds: float
    core_seconds: float
    joules: float | None

    def __add__(self, other: Use) -> Use:
        known = self.joules is not None and other.joules is not None
        return Use(
            self.seconds + other.seconds,
            self.core_seconds + other.core_seconds,
            (self.joules or 0.0) + (other.joules or 0.0) if known else None,
        )


@dataclass(frozen=True)
class Meter:
    """The meters when it was started."""

    _seconds: float
    _core_seconds: float
    _energy: dict[Path, float]

    @classmethod
    def start(cls, power_meters: Path = POWER_METERS) -> Self:
        """Reads the meters; those of power are optional."""
        return cls(time.perf_counter(), time.process_time(), _energy(power_meters))

    def used(self) -> Use:
        """What was taken since."""
        seconds = time.perf_counter() - self._seconds
        core_seconds = time.process_time() - self._core_seconds
        joules = [self._joules(package, before) for package, before in self._energy.items()]
        known = [at for at in joules if at is not None]
        complete = bool(known) and len(known) == len(joules)
        return Use(seconds, core_seconds, sum(known) if complete else None)

    @staticmethod
    def _joules(package: Path, before: float) -> float | None:
        """Of one processor package, whose meter starts again at 0 when it is full."""
        try:
            after = float((package / "energy_uj").read_text())
            full = float((package / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            return None
        return (after - before + (full if after < before else 0.0)) / 1e6


@dataclass
class KeptMeter:
    """The meters of a computation that goes on after a kill: what all of its runs took together.

    ``is_resumed``: whether an earlier run left something to go on from.
    """

    is_resumed: bool
    _path: Path
    _before: Use
    _meter: Meter
    _noted_at: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, folder: Path, power_meters: Path = POWER_METERS) -> Self:
        """The meters now; what killed runs took counts if they left something to go on from.

        Args:
            folder: of this computation alone; there is such a folder.
            power_meters: see :meth:`Meter.start`.
        """
        path = folder / USE_FILE
        nothing = Use(0.0, 0.0, 0.0)
        is_resumed = any(at != path for at in folder.iterdir())
        before = _noted(path) if is_resumed else None
        return cls(is_resumed, path, before or nothing, Meter.start(power_meters))

    def used(self) -> Use:
        """What was taken by all runs until now."""
        return self._before + self._meter.used()

    def note(self) -> None:
        """Writes down what was taken, for a run after this one."""
        self._noted_at = time.monotonic()
        partial = self._path.with_suffix(".partial")
        partial.write_bytes(_USE.dump_json(self.used()))
        partial.replace(self._path)

    def noting(self, progress: Progress) -> Progress:
        """The progress, noting now and then what was taken."""

        def told(description: str, done: int, total: int) -> None:
            if time.monotonic() - self._noted_at >= _NOTED_EVERY:
                self.note()
            progress(description, done, total)

        return told


_USE: TypeAdapter[Use] = TypeAdapter(Use)


def _noted(path: Path) -> Use | None:
    try:
        return _USE.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _energy(power_meters: Path) -> dict[Path, float]:
    """The reading of every processor package, in microjoules; empty where one can't be read."""
    try:
        return {
            package: float((package / "energy_uj").read_text())
            for package in power_meters.iterdir()
            if _PACKAGE.fullmatch(package.name)
        }
    except (OSError, ValueError):
        return {}


def reset_peak_memory() -> bool:
    """Lets the peaks of memory begin anew; whether the system can do that for the process."""
    if (torch := _torch_with_gpu()) is not None:
        torch.cuda.reset_peak_memory_stats()
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def peak_memory_bytes() -> int:
    """The most memory that this process held, since the peak was reset or since it began."""
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
        if found:
            return 1024 * int(found[1])
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else 1024 * largest


def peak_device_memory_bytes() -> int | None:
    """The most memory of a GPU that tensors held, since it was reset; None without one."""
    torch = _torch_with_gpu()
    return None if torch is None else int(torch.cuda.max_memory_allocated())


def _torch_with_gpu() -> Any:
    """The library, where it is in use and there is a GPU; it is not imported for this."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None


def folder_bytes(*folders: Path) -> int:
    """The bytes of all files in folders, each file counted once."""
    files = {at.resolve() for folder in folders for at in folder.rglob("*") if at.is_file()}
    return sum(at.stat().st_size for at in files)
