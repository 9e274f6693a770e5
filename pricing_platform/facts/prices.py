"""Prices of listings as facts, recorded in bulk.

A product's price is a series whose only source is its catalogue, told in order. So of the prices
that were seen, those are recorded that differ from the one before: the fold leaves a repetition out
(the CTE ``telling`` of ``knowledge.folded``). That is right whatever comes in what order, because

- it is decided over all that was ever seen, here and in Postgres, at each call anew; and
- a repetition follows an equal price with none between, and so it does in any part of the rows that
  has at least those that differ: they alone make the versions.

When a snapshot is found later that lies between two equal prices, the second of them differs from
what is now before it, and is recorded then, as long as its own snapshot is in the warehouse. A
repetition that is the newest verifies its series.

Here belongs what is recorded of listings; how, belongs to
:mod:`pricing_platform.facts.observations`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import polars as pl
from psycopg import sql

from pricing_platform.currencies import currencies_without_decimals
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import (
    CLOCK_TOLERANCE,
    RecordSummary,
    Row,
    record_rows,
)
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.reconciliation import copy_rows
from pricing_platform.settings import sql_folder
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse

ATTRIBUTE = KIND = "price"
CONNECTOR = "snapshot_folder"

_BATCH = 20_000
_log = logging.getLogger(__name__)
_MANY = 5_000
_ANALYZE = "ANALYZE knowledge.fact_series, knowledge.observations, knowledge.fact_versions"
_SEEN = ["subject", "source", "observed_at", "value"]
_MOMENT = ["source", "observed_at"]
_COPY = sql.SQL("COPY confirmed (subject, value, observed_at) FROM STDIN (FORMAT BINARY)").format()
_CREATE = (
    "CREATE TEMP TABLE confirmed (subject text, value text, observed_at timestamptz) ON COMMIT DROP"
)
_STANDING = """
SELECT s.subject, o.source, o.observed_at, o.stated[1] AS value
FROM unnest(%s::text[], %s::timestamptz[]) AS m (source, observed_at)
JOIN knowledge.observations AS o USING (source, observed_at)
JOIN knowledge.fact_series AS s USING (series_id)
WHERE s.attribute = 'price' AND o.valid_from = o.observed_at AND o.stated <> '{}'
"""


def record_listing_prices(
    warehouse: Warehouse,
    postgres: Postgres,
    rules: FactRules,
    *,
    lives: Mapping[str, timedelta] | None = None,
    progress: Progress = silent,
) -> RecordSummary:
    """Records the prices of ``curated.listings`` that are news, and verifies those that are not.

    A product is a subject by its ``item_id``; its value is as ``12.50 USD`` or ``1980 JPY``, since
    the listing was observed. What stands already is known by a sum over each source and time, so
    that a second call reads little and writes nothing.

    A price is fresh for as long as ``lives`` says of its source, and else as its kind is. What was
    observed in the future is told in the log and waits until its time has come.
    """
    until = datetime.now(UTC) + CLOCK_TOLERANCE
    _tell_of_the_future(warehouse, until)
    seen = _seen(warehouse, until, every=False)
    if seen.is_empty():
        return RecordSummary()
    news = _news(warehouse, postgres, seen, until)
    cardinality, default = rules.cardinality_of(ATTRIBUTE), rules.time_to_live_of(KIND)
    fresh_for = {source: (lives or {}).get(source, default) for source in seen["source"].unique()}
    summary = RecordSummary()
    for start in range(0, news.height, _BATCH):
        with postgres.connection() as connection:
            rows = [
                _row(row, cardinality, fresh_for)
                for row in news[start : start + _BATCH].iter_rows()
            ]
            summary += record_rows(connection, rows)
        progress("Recording prices", min(start + _BATCH, news.height), news.height)
    if summary.versions > _MANY:
        with postgres.connection() as connection:
            connection.execute(_ANALYZE)
    with postgres.connection() as connection:
        declared = {"sources": list(fresh_for), "lives": list(fresh_for.values())}
        connection.execute(_text("price_lives").encode(), {**declared, "connector": CONNECTOR})
    _confirm(postgres, seen)
    return summary


def prices_moved(
    postgres: Postgres, since: datetime, until: datetime, *, share: float = 0.1
) -> pl.DataFrame:
    """Prices that differ by more than the share between two times, the largest moves first.

    Returns:
        ``subject``, ``source``, ``value_before``, ``value`` and ``percent_change``.
    """
    path = sql_folder() / "queries" / "price_moves_between.postgres.sql"
    parameters = {"since": since, "until": until, "share": share}
    return postgres.frame(path.read_text(encoding="utf-8").rstrip().rstrip(";"), parameters)


def _seen(warehouse: Warehouse, until: datetime, *, every: bool) -> pl.DataFrame:
    """What the listings tell; with ``every``, repetitions that are not the newest as well."""
    parameters = {"every": every, "until": until, "whole": currencies_without_decimals()}
    return warehouse.frame(_text("listed_prices"), parameters)


def _news(
    warehouse: Warehouse, postgres: Postgres, seen: pl.DataFrame, until: datetime
) -> pl.DataFrame:
    """The prices to record: those that differ from the one before and do not stand yet."""
    told = seen.filter("told")
    digests = told.group_by(_MOMENT).agg(
        pl.len().cast(pl.Int64).alias("rows"), pl.col("hash").sum()
    )
    standing = _frame(
        postgres,
        _text("price_digests"),
        {"sources": seen["source"].unique().sort().to_list()},
        {"source": pl.String, "observed_at": _TIME, "rows": pl.Int64, "hash": pl.Int64},
    )
    equal = digests.join(standing, on=digests.columns, how="semi")
    changed = standing.join(equal, on=_MOMENT, how="anti")
    known = _frame(
        postgres,
        _STANDING,
        [changed["source"].to_list(), changed["observed_at"].to_list()],
        {"subject": pl.String, "source": pl.String, "observed_at": _TIME, "value": pl.String},
    )
    if known.join(told, on=_SEEN, how="anti").is_empty():
        told = told.join(equal, on=_MOMENT, how="anti")
    else:
        told = _told(_seen(warehouse, until, every=True).select(_SEEN), known)
    return told.select(_SEEN).join(known, on=_SEEN, how="anti").sort("subject", "observed_at")


def _told(seen: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The prices that differ from the one before, also of what is no longer in the warehouse."""
    both = pl.concat([seen, known]).unique().sort("subject", "observed_at", "value")
    same = (pl.col("subject") == pl.col("subject").shift()) & (
        pl.col("value") == pl.col("value").shift()
    )
    return both.filter(~same.fill_null(value=False))


def _confirm(postgres: Postgres, seen: pl.DataFrame) -> None:
    """Verifies the series whose newest price is what is current."""
    newest = seen.filter("newest")
    digests = newest.group_by("observed_at").agg(
        pl.len().cast(pl.Int64).alias("rows"), pl.col("subject_hash").sum()
    )
    standing = _frame(
        postgres,
        _text("price_verifications"),
        {"connector": CONNECTOR},
        {"observed_at": _TIME, "rows": pl.Int64, "subject_hash": pl.Int64},
    )
    verified = digests.join(standing, on=digests.columns, how="semi")
    unverified = newest.join(verified, on="observed_at", how="anti")
    if unverified.is_empty():
        return
    with postgres.connection() as connection:
        connection.execute(_CREATE)
        rows = unverified.select("subject", "value", "observed_at").iter_rows()
        copy_rows(connection, _COPY, ["text", "text", "timestamptz"], rows)
        connection.execute("ANALYZE confirmed")
        connection.execute(_text("price_confirmations").encode())


def _row(seen: tuple[Any, ...], cardinality: str, fresh_for: Mapping[str, timedelta | None]) -> Row:
    subject, source, observed_at, value = seen
    names = (subject, ATTRIBUTE, KIND, cardinality, fresh_for[source], CONNECTOR, source)
    return (*names, observed_at, observed_at, [value], None, None, None)


def _tell_of_the_future(warehouse: Warehouse, until: datetime) -> None:
    late = warehouse.frame(
        "SELECT source, count(*) AS rows, max(observed_at) AS newest FROM curated.listings"
        " WHERE observed_at > $until GROUP BY source ORDER BY source",
        {"until": until},
    )
    for source, rows, newest in late.iter_rows():
        _log.warning(
            "%s: %s prices were observed in the future, up to %s, and are not facts yet: look at"
            " the clock of this machine, the file's time or the date in its name.",
            source,
            f"{rows:,}",
            newest.isoformat(),
        )


_TIME = pl.Datetime("us", "UTC")


def _frame(
    postgres: Postgres,
    query: str,
    parameters: dict[str, Any] | Sequence[Any],
    schema: dict[str, Any],
) -> pl.DataFrame:
    with postgres.connection() as connection:
        rows = connection.execute(query.encode(), parameters).fetchall()
    return pl.DataFrame(rows, schema=schema, orient="row")


@cache
def _text(name: str) -> str:
    return (sql_folder() / "facts" / f"{name}.sql").read_text(encoding="utf-8")
