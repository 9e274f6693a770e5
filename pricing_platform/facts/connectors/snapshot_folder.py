"""Prices of listings, from the newest snapshot that the warehouse has read.

Reading snapshots into the warehouse belongs to the ingestion, which has a schedule of its own. A
listing that no newer snapshot holds is as old as before: that is a failure to verify it, which
retires nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from pricing_platform.facts.connectors.recording import (
    Held,
    held_values,
    is_verified_anew,
    recorded_answer,
)
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.prices import CONNECTOR, record_listing_prices
from pricing_platform.facts.refresh import Answer, DueSeries
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse

_UNVERIFIED = "No newer snapshot holds it."
_NEXT_SNAPSHOT = timedelta(hours=6)  # a newer one is recorded when it is read, whatever this says


class SnapshotFolderConnector:
    """Looks at the warehouse once, at the first series that it is asked for.

    So each refresh has one of its own.
    """

    name = CONNECTOR

    def __init__(self, warehouse: Warehouse, postgres: Postgres, rules: FactRules) -> None:
        self._warehouse = warehouse
        self._postgres = postgres
        self._rules = rules
        self._looked: tuple[Held, Held] | None = None

    def ask(self, due: Sequence[DueSeries]) -> Iterator[Answer]:
        """One answer a series.

        Raises:
            PlatformError: when the warehouse can't be read.
        """
        started = time.perf_counter()
        before, after = self._looked or self._look()
        seconds = (time.perf_counter() - started) / len(due)
        for series in due:
            source = series.sources[0] if series.sources else self.name
            answer = recorded_answer(series, source, before, after, seconds)
            if not is_verified_anew(series, before, after):
                answer = replace(
                    answer, failure=_UNVERIFIED, recorded=None, retry_after=_NEXT_SNAPSHOT
                )
            yield answer

    def _look(self) -> tuple[Held, Held]:
        before = held_values(self._postgres, self.name)
        record_listing_prices(self._warehouse, self._postgres, self._rules)
        self._looked = before, held_values(self._postgres, self.name)
        return self._looked
