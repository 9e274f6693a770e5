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
    assert summary.by_connector == {"snapshot_folder": {"waiting": 3}}
    assert (summary.checked, summary.failed) == (0, 0)
    assert postgres.frame(query).equals(before)  # seen no later than before

    see(warehouse, 9, a=1.0, b=2.5)
    summary = run(warehouse, postgres)
    assert summary.by_connector == {"snapshot_folder": {"changed": 1, "confirmed": 1, "waiting": 1}}
    assert postgres.frame(query).rows() == [
        ("shop:a", "1.00 USD", FIRST + timedelta(days=9)),
        ("shop:b", "2.50 USD", FIRST + timedelta(days=9)),
        ("shop:c", "3.00 USD", FIRST),
    ]
    told = postgres.frame("SELECT count(*) FROM knowledge.fact_series WHERE failures > 0")
    assert told.item() == 0
    assert (
        postgres.frame("SELECT count(*) FROM knowledge.checks WHERE outcome = 'failed'").item() == 0
    )


def test_an_old_snapshot_is_stale_and_nobody_is_asked(
    warehouse: Warehouse, postgres: Postgres
) -> None:
    see(warehouse, 0, a=1.0, b=2.0, c=3.0)
    record_listing_prices(warehouse, postgres, RULES, lives={"shop": timedelta(days=7)})
    query = "SELECT DISTINCT freshness FROM knowledge.current_facts"
    assert postgres.frame(query).item() == "expired"
    connector = SnapshotFolderConnector(warehouse, postgres, RULES)
    summary = refresh(postgres, {connector.name: connector}, RULES)
    assert summary.by_connector == {}
    assert postgres.frame("SELECT count(*) FROM knowledge.checks").item() == 0

    # The same prices a week later, and just now: asked for again when that gets old.
    see(warehouse, 7, a=1.0)
    see(warehouse, (datetime.now(UTC) - FIRST).days, b=2.0)
    record_listing_prices(warehouse, postgres, RULES, lives={"shop": timedelta(days=7)})
    due = postgres.frame(
        "SELECT subject FROM knowledge.fact_series WHERE next_check_at > now() ORDER BY subject"
    )
    assert due["subject"].to_list() == ["shop:b"]


def test_prices_live_as_long_as_their_source_says(warehouse: Warehouse, postgres: Postgres) -> None:
    see(warehouse, (datetime.now(UTC) - FIRST).days - 3, a=1.0)
    query = "SELECT ttl, freshness FROM knowledge.current_facts"
    for days, freshness in ((7, "fresh"), (2, "stale"), (1, "expired"), (10, "fresh")):
        record_listing_prices(warehouse, postgres, RULES, lives={"shop": timedelta(days=days)})
        assert postgres.frame(query).rows() == [(timedelta(days=days), freshness)]
    record_listing_prices(warehouse, postgres, RULES, lives={"other": timedelta(days=30)})
    assert postgres.frame(query)["ttl"].item() == RULES.time_to_live_of("price")
