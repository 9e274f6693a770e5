"""How long work tells how far it is: in Dagster's log, or on the terminal of the one who waits."""

from __future__ import annotations

import time
from typing import Protocol

import dagster as dg

from pricing_platform.progress import Progress

_SECONDS_BETWEEN_LINES = 10.0


class WatchedProgress(Protocol):
    """Gives an asset the progress to report to."""

    def of(self, context: dg.AssetExecutionContext) -> Progress:
        """The progress of this asset's work."""
        ...


class LoggedProgress(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Progress as a line in the run's log every ten seconds."""

    def of(self, context: dg.AssetExecutionContext) -> Progress:
        """Logs the progress of this asset's work."""
        last = time.monotonic()

        def report(description: str, done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _SECONDS_BETWEEN_LINES or done == total:
                last = time.monotonic()
                context.log.info(f"{description}: {done:,} of {total:,}")

        return report
