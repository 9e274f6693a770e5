"""Prices of listings recorded as facts: observations a second, any order, and a refresh's cost."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measurement import Comparison, seconds
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.prices import record_listing_prices
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse

PRODUCTS = 15_000
SNAPSHOTS = 5
CHANGED = 0.4
"""Share of the prices that differ from one snapshot to the next; of a month's, about half do."""

_RULES = FactRules()
_STATE = (
    "SELECT subject, value, source, valid::text, recorded::text"
    " FROM knowledge.fact_versions JOIN knowledge.fact_series USING (series_id)"
    " ORDER BY 1, 2, 4, 5"
)


def compare_price_facts(folder: Path) -> list[Comparison]:
    """Loads all snapshots at once, one more in which 1 % changed, and all again, shuffled."""
    postgres = Postgres.from_settings(Settings(home=folder / "prices"))
    warehouse = Warehouse(folder / "prices" / "warehouse.duckdb")
    try:
        snapshots = _snapshots(SNAPSHOTS, CHANGED)
        full = _load(warehouse, postgres, snapshots)
        in_order = postgres.frame(_STATE)
        later = _next(snapshots[-1], SNAPSHOTS, share=0.01, seed=SNAPSHOTS)
        refresh = _load(warehouse, postgres, [*snapshots, later])
        nothing = _load(warehouse, postgres, [*snapshots, later])
        equal = in_order.equals(_shuffled(warehouse, postgres, snapshots))
    finally:
        postgres.close()
    rate = PRODUCTS * SNAPSHOTS / full
    return [
        Comparison(
            "price facts: full load",
            f"{rate:,.0f} observations/s",
            f"{PRODUCTS * SNAPSHOTS:,} observations",
            rate / 20_000,
            "of 20,000 a second",
            "1",
            rate >= 20_000,
            f"{in_order.height:,} versions, {'the same' if equal else 'OTHERS'} when shuffled",
        ),
        Comparison(
            "price facts: refresh of 1 %",
            f"{refresh:.2f} s",
            f"full load: {full:.2f} s",
            refresh / full,
            "of the time",
            "below 0.05",
            refresh / full < 0.05,
            f"with nothing new {nothing:.2f} s",
        ),
    ]


def _load(warehouse: Warehouse, postgres: Postgres, snapshots: list[pl.DataFrame]) -> float:
    warehouse.replace("curated.listings", pl.concat(snapshots))
    return seconds(lambda: record_listing_prices(warehouse, postgres, _RULES))


def _shuffled(
    warehouse: Warehouse, postgres: Postgres, snapshots: list[pl.DataFrame]
) -> pl.DataFrame:
    with postgres.connection() as connection:
        connection.execute("TRUNCATE knowledge.fact_series CASCADE")
    order = random.Random(1).sample(snapshots, len(snapshots))  # noqa: S311
    for count in range(1, len(order) + 1):
        _load(warehouse, postgres, order[:count])
    return postgres.frame(_STATE)


def _snapshots(count: int, share: float) -> list[pl.DataFrame]:
    """Snapshots a month apart, of the same products."""
    prices = np.random.default_rng(0).lognormal(4, 1, PRODUCTS).round(2) + 1
    first = pl.DataFrame({"item_id": [f"{n:016x}" for n in range(PRODUCTS)], "price": prices})
    constant = {"source": "shop", "currency": "USD"}
    columns = {name: pl.lit(value) for name, value in constant.items()}
    result = [_at(first.with_columns(**columns, listing_id=pl.col("item_id")), 0)]
    for number in range(1, count):
        result.append(_next(result[-1], number, share=share, seed=number))
    return result


def _next(snapshot: pl.DataFrame, number: int, *, share: float, seed: int) -> pl.DataFrame:
    changes = np.random.default_rng(seed).random(snapshot.height) < share
    price = pl.when(pl.Series(changes)).then((pl.col("price") * 1.2).round(2) + 0.01)
    return _at(snapshot.with_columns(price.otherwise(pl.col("price")).alias("price")), number)


def _at(snapshot: pl.DataFrame, number: int) -> pl.DataFrame:
    observed_at = datetime(2024, 1, 1, tzinfo=UTC) + number * timedelta(days=30)
    return snapshot.with_columns(
        observed_at=pl.lit(observed_at), snapshot=pl.lit(observed_at.date().isoformat())
    )
