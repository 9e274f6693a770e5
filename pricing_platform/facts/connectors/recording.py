"""What connectors have in common that record observations themselves, many series at once.

Here belongs telling what came of it: the values that held before against those that hold now. How
the observations are had belongs to the connectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pricing_platform.facts.refresh import Answer, DueSeries, Outcome
from pricing_platform.stores.postgres import Postgres

Held = Mapping[int, tuple[str, ...]]
"""The current values of series, by their numbers; those of none are left out."""


def held_values(postgres: Postgres, connector: str) -> Held:
    """The current values of all series of a connector."""
    with postgres.connection(read_only=True) as connection:
        rows = connection.execute(
            "SELECT series_id, array_agg(value ORDER BY value) FROM knowledge.current_facts"
            " WHERE connector = %s GROUP BY series_id",
            [connector],
        ).fetchall()
    return {row[0]: tuple(row[1]) for row in rows}


def recorded_answer(
    series: DueSeries, source: str, before: Held, after: Held, seconds: float
) -> Answer:
    """The answer of a connector that has recorded what it found of a series."""
    values = after.get(series.series_id, ())
    outcome: Outcome = "confirmed" if values == before.get(series.series_id, ()) else "changed"
    return Answer(
        series_id=series.series_id,
        source=source,
        values=values,
        observed_at=datetime.now(UTC),
        seconds=seconds,
        recorded=outcome if values else "absent",
    )
