"""Prices of listings, from the newest snapshot that the warehouse has read.

Reading snapshots into the warehouse belongs to the ingestion, which has a schedule of its own. A
listing that no newer snapshot holds is as old as before and waits for one: nothing has failed, and
to ask again would tell no more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
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


class SnapshotFolderConnector:
    """Looks at the warehouse once, at the first series that it is asked for.

    So each refresh has one of its own.
    """

    name = CONNECTOR

    def __init__(
        self,
        warehouse: Warehouse,
        postgres: Postgres,
        rules: FactRules,
        lives: Mapping[str, timedelta] | None = None,
    ) -> None:
        self._warehouse = warehouse
        self._postgres = postgres
        self._rules = rules
        self._lives = lives or {}
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
                answer = replace(answer, recorded="waiting")
            yield answer

    def _look(self) -> tuple[Held, Held]:
        before = held_values(self._postgres, self.name)
        record_listing_prices(self._warehouse, self._postgres, self._rules, lives=self._lives)
        self._looked = before, held_values(self._postgres, self.name)
        return self._looked
