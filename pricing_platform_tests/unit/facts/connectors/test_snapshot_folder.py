"""Prices are confirmed or changed by the newest observation of their listing in the warehouse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pricing_platform.facts.connectors.snapshot_folder import SnapshotFolderConnector
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.prices import record_listing_prices
from pricing_platform.facts.refresh import RefreshSummary, refresh
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse

RULES = FactRules()
FIRST = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    found = Warehouse(tmp_path / "warehouse.duckdb")
    found.create_schema()
    return found


def see(warehouse: Warehouse, day: int, **prices: float) -> None:
    with warehouse.write() as connection:
        connection.executemany(
            "INSERT INTO curated.listings (item_id, source, listing_id, observed_at, price,"
            " currency) VALUES (?, 'shop', ?, ?, ?, 'USD')",
            [[f"shop:{n}", n, FIRST + timedelta(days=day), p] for n, p in prices.items()],
        )


def run(warehouse: Warehouse, postgres: Postgres) -> RefreshSummary:
    connector = SnapshotFolderConnector(warehouse, postgres, RULES)
    return refresh(postgres, {connector.name: connector}, RULES, everything=True, batch=2)


def test_a_newer_snapshot_changes_and_confirms(warehouse: Warehouse, postgres: Postgres) -> None:
    see(warehouse, 0, a=1.0, b=2.0, c=3.0)
    record_listing_prices(warehouse, postgres, RULES)
    query = "SELECT subject, value, verified_at FROM knowledge.current_facts ORDER BY subject"
    before = postgres.frame(query)

    summary = run(warehouse, postgres)
    assert summary.by_connector == {"snapshot_folder": {"failed": 3}}
    assert postgres.frame(query).equals(before)  # seen no later than before

    see(warehouse, 9, a=1.0, b=2.5)
    summary = run(warehouse, postgres)
    assert summary.by_connector == {"snapshot_folder": {"changed": 1, "confirmed": 1, "failed": 1}}
    assert postgres.frame(query).rows() == [
        ("shop:a", "1.00 USD", FIRST + timedelta(days=9)),
        ("shop:b", "2.50 USD", FIRST + timedelta(days=9)),
        ("shop:c", "3.00 USD", FIRST),
    ]
    told = postgres.frame(
        "SELECT subject, last_failure, next_check_at > checked_at + interval '5 hours' AS waits"
        " FROM knowledge.fact_series WHERE failures > 0"
    )
    assert told.rows() == [("shop:c", "No newer snapshot holds it.", True)]
