"""Timing two sides in turn, so that a machine that slows down slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """One figure: how ours stands to the peer's, and what was aimed at.

    ``ratio`` is read as ``meaning`` says; ``aim`` is the bound, ``met`` whether it was kept.
    """

    subject: str
    ours: str
    peer: str
    ratio: float
    meaning: str
    aim: str
    met: bool
    note: str = ""


class Clock:
    """Seconds since it was made, but for those in which it was stopped."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._started, self._lost = now(), 0.0

    def seconds(self) -> float:
        """How long it ran; not to be asked while it is stopped."""
        return self._now() - self._started - self._lost

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """For as long as this is open no time passes."""
        before = self._now()
        try:
            yield
        finally:
            self._lost += self._now() - before


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(
    ours: Callable[[], object], peer: Callable[[], object], *, rounds: int
) -> tuple[float, float]:
    """The median seconds of each side, after one uncounted call of both."""
    ours(), peer()
    timed = [(seconds(ours), seconds(peer)) for _ in range(rounds)]
    return statistics.median(t[0] for t in timed), statistics.median(t[1] for t in timed)
