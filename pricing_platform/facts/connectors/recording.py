"""What connectors have in common that record observations themselves, many series at once.

Here belongs telling what came of it: the values that held before against those that hold now, and
whether anybody stated them anew. How the observations are had belongs to the connectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pricing_platform.facts.refresh import Answer, DueSeries, Outcome
from pricing_platform.stores.postgres import Postgres


@dataclass(frozen=True)
class HeldValues:
    """The current values of a series, and when they were last verified."""

    values: tuple[str, ...]
    verified_at: datetime | None


Held = Mapping[int, HeldValues]
"""What series hold, by their numbers; those without a value are left out."""

_NOTHING = HeldValues((), None)


def held_values(postgres: Postgres, connector: str) -> Held:
    """The current values of all series of a connector."""
    with postgres.connection(read_only=True) as connection:
        rows = connection.execute(
            "SELECT series_id, array_agg(f.value ORDER BY f.value), s.verified_at"
            " FROM knowledge.current_facts AS f JOIN knowledge.fact_series AS s USING (series_id)"
            " WHERE s.connector = %s GROUP BY series_id, s.verified_at",
            [connector],
        ).fetchall()
    return {row[0]: HeldValues(tuple(row[1]), row[2]) for row in rows}


def recorded_answer(
    series: DueSeries, source: str, before: Held, after: Held, seconds: float
) -> Answer:
    """The answer of a connector that has recorded what it found of a series."""
    values = after.get(series.series_id, _NOTHING).values
    same = values == before.get(series.series_id, _NOTHING).values
    outcome: Outcome = "confirmed" if same else "changed"
    return Answer(
        series_id=series.series_id,
        source=source,
        values=values,
        observed_at=datetime.now(UTC),
        seconds=seconds,
        recorded=outcome if values else "absent",
    )


def is_verified_anew(series: DueSeries, before: Held, after: Held) -> bool:
    """Whether what the series holds was stated later than what it held before."""
    held = after.get(series.series_id)
    return held is None or held != before.get(series.series_id)
