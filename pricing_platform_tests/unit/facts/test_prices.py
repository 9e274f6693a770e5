"""Prices of listings as facts: in any order of snapshots, again, and as cheaply as they change."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricing_platform.catalog.curation import curate_listings
from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.items import LAST_OBSERVED
from pricing_platform.catalog.sources import load_sources
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import Observation, RecordSummary, record
from pricing_platform.facts.prices import prices_moved, record_listing_prices
from pricing_platform.settings import sql_folder
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse

CHECKOUT = Path(__file__).parents[3]
DATA = CHECKOUT / "../shared/data"
RULES = FactRules()
START = datetime(2024, 1, 1, tzinfo=UTC)

_COLUMNS = [
    "item_id",
    "source",
    "snapshot",
    "listing_id",
    "observed_at",
    "price",
    "currency",
    "title",
]

Price = tuple[str, int, float]
"""A product, the day on which it was seen, and its price."""


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    found = Warehouse(tmp_path / "warehouse.duckdb")
    found.create_schema()
    return found


def _day(number: int) -> datetime:
    return START + timedelta(days=number)


def _put(warehouse: Warehouse, prices: Iterable[Price], currency: str = "USD") -> None:
    rows = pl.DataFrame(
        [
            (item, "shop", str(day), item, _day(day), price, currency, item)
            for item, day, price in prices
        ],
        schema=_COLUMNS,
        orient="row",
    )
    warehouse.replace("curated.listings", rows)


def test_of_two_observations_at_one_instant_the_later_row_counts(
    postgres: Postgres, warehouse: Warehouse
) -> None:
    """And not the one whose digits come later in the alphabet, as those of 9.5 after 10."""
    rows = pl.DataFrame(
        [
            ("kettle", "shop", "1", "kettle", _day(1), price, "USD", "kettle", number)
            for number, price in enumerate([9.5, 10.0])
        ],
        schema=[*_COLUMNS, "row_number"],
        orient="row",
    )
    warehouse.replace("curated.listings", rows)
    record_listing_prices(warehouse, postgres, rules=RULES)
    told = postgres.frame("SELECT value FROM knowledge.fact_versions")
    assert told["value"].to_list() == ["10.00 USD"]
    assert warehouse.frame(LAST_OBSERVED)["price"].to_list() == [10.0]
    observed = warehouse.frame("SELECT price, row_number FROM curated.price_observations")
    assert observed.rows() == [(10.0, 1)]


def _state(postgres: Postgres) -> list[tuple[object, ...]]:
    return postgres.frame(
        "SELECT subject, value, source, valid::text, recorded::text, kind, connector, verified_at"
        " FROM knowledge.fact_versions JOIN knowledge.fact_series USING (series_id)"
        " ORDER BY 1, 2, 4, 5"
    ).rows()


def _forget(postgres: Postgres) -> None:
    with postgres.connection() as connection:
        connection.execute(
            "TRUNCATE knowledge.fact_series, knowledge.observations, knowledge.fact_versions"
            " CASCADE"
        )


def _as_single_observations(postgres: Postgres, prices: Iterable[Price]) -> None:
    """The same prices by the way of all other observations, repetitions and all."""
    record(
        postgres,
        [
            Observation(
                item, "price", "shop", (f"{price:.2f} USD",), _day(day), connector="snapshot_folder"
            )
            for item, day, price in prices
        ],
        RULES,
    )


def test_a_price_holds_since_it_was_seen(postgres: Postgres, warehouse: Warehouse) -> None:
    _put(warehouse, [("a", 0, 12.5), ("a", 1, 12.5), ("a", 2, 13.25), ("b", 1, 0.125)])
    assert record_listing_prices(warehouse, postgres, RULES) == RecordSummary(3, 2, 4)
    found = postgres.frame(
        "SELECT subject, value, kind, source, connector, valid_since, verified_at"
        " FROM knowledge.current_facts ORDER BY subject"
    ).rows()
    assert found == [
        ("a", "13.25 USD", "price", "shop", "snapshot_folder", _day(2), _day(2)),
        ("b", "0.125 USD", "price", "shop", "snapshot_folder", _day(1), _day(1)),
    ]


def test_yen_have_no_decimals_also_where_they_were_kept_with_them(
    postgres: Postgres, warehouse: Warehouse
) -> None:
    kept = [
        Observation(item, "price", "shop", (value,), _day(0), connector="snapshot_folder")
        for item, value in (("a", "1980.00 JPY"), ("c", "7.00 USD"))
    ]
    record(postgres, kept, RULES)
    migration = sql_folder() / "migrations" / "0005_prices_without_decimals.sql"
    with postgres.connection() as connection:
        connection.execute(migration.read_bytes())
    _put(warehouse, [("a", 0, 1980.0), ("a", 1, 1980.0), ("b", 0, 1980.5)], "JPY")
    record_listing_prices(warehouse, postgres, RULES)
    found = postgres.frame(
        "SELECT subject, value, verified_at FROM knowledge.current_facts ORDER BY subject"
    )
    assert found.rows() == [
        ("a", "1980 JPY", _day(1)),
        ("b", "1980.50 JPY", _day(0)),
        ("c", "7.00 USD", _day(0)),
    ]
    assert record_listing_prices(warehouse, postgres, RULES) == RecordSummary()


def test_a_second_call_writes_nothing(postgres: Postgres, warehouse: Warehouse) -> None:
    _put(warehouse, [("a", 0, 1.0), ("a", 1, 2.0), ("b", 0, 3.0), ("b", 1, 3.0)])
    record_listing_prices(warehouse, postgres, RULES)
    written = "SELECT xmin::text, ctid::text FROM knowledge.fact_series ORDER BY 1, 2"
    before = postgres.frame(written).rows()
    assert record_listing_prices(warehouse, postgres, RULES) == RecordSummary(0, 0, 0)
    assert postgres.frame(written).rows() == before


def test_no_listings_are_no_facts(postgres: Postgres, warehouse: Warehouse) -> None:
    assert record_listing_prices(warehouse, postgres, RULES) == RecordSummary(0, 0, 0)


def test_a_price_that_is_seen_again_is_verified_and_not_recorded(
    postgres: Postgres, warehouse: Warehouse
) -> None:
    rules = FactRules(time_to_live={"price": timedelta(days=10_000)})
    _put(warehouse, [("a", 0, 1.0), ("b", 0, 1.0)])
    record_listing_prices(warehouse, postgres, rules)
    _put(warehouse, [("a", 0, 1.0), ("b", 0, 1.0), ("a", 1, 1.0), ("b", 1, 2.0)])
    assert record_listing_prices(warehouse, postgres, rules).observations == 1
    found = postgres.frame(
        "SELECT subject, value, verified_at, next_check_at FROM knowledge.current_facts"
        " ORDER BY subject"
    )
    assert found["value"].to_list() == ["1.00 USD", "2.00 USD"]
    assert found["verified_at"].to_list() == [_day(1), _day(1)]
    for time in found["next_check_at"]:
        assert _day(8_001) <= time <= _day(10_001)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seen=st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.integers(0, 4)),
        st.sampled_from([1.0, 2.0]),
        min_size=1,
    ),
    random_=st.randoms(use_true_random=False),
)
def test_snapshots_in_any_order_give_what_all_observations_would(
    postgres: Postgres,
    warehouse: Warehouse,
    seen: dict[tuple[str, int], float],
    random_: random.Random,
) -> None:
    prices = [(item, day, price) for (item, day), price in seen.items()]
    _forget(postgres)
    _as_single_observations(postgres, prices)
    expected = _state(postgres)
    _forget(postgres)
    days = sorted({day for _, day, _ in prices})
    random_.shuffle(days)
    for count in range(1, len(days) + 1):
        _put(warehouse, [price for price in prices if price[1] in days[:count]])
        record_listing_prices(warehouse, postgres, RULES)
    assert _state(postgres) == expected


def test_what_left_the_warehouse_still_tells_prices_apart(
    postgres: Postgres, warehouse: Warehouse
) -> None:
    prices = [("a", 0, 1.0), ("a", 1, 2.0), ("a", 2, 1.0), ("a", 3, 1.0)]
    _as_single_observations(postgres, prices)
    expected = _state(postgres)
    _forget(postgres)
    for part in (prices[1:2], [prices[0], *prices[2:]]):
        _put(warehouse, part)
        record_listing_prices(warehouse, postgres, RULES)
    assert _state(postgres) == expected


def test_another_source_of_the_same_price_stays(postgres: Postgres, warehouse: Warehouse) -> None:
    _put(warehouse, [("a", 0, 1.0)])
    record_listing_prices(warehouse, postgres, RULES)
    record(postgres, [Observation("a", "price", "http:a", ("9.00 USD",), _day(1))], RULES)
    _put(warehouse, [("a", 0, 1.0), ("a", 2, 1.0)])
    record_listing_prices(warehouse, postgres, RULES)
    found = postgres.frame("SELECT value, verified_at FROM knowledge.current_facts").row(0)
    assert found == ("9.00 USD", _day(1))


def test_a_price_from_the_future_waits_and_is_told(
    postgres: Postgres, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    _put(warehouse, [("a", 0, 1.0), ("a", 1, 1.0), ("a", 365_000, 2.0), ("b", 365_000, 1.0)])
    record_listing_prices(warehouse, postgres, RULES)
    assert "shop: 2 prices were observed in the future, up to 3023" in caplog.text
    found = postgres.frame("SELECT subject, value, verified_at FROM knowledge.current_facts")
    assert found.rows() == [("a", "1.00 USD", _day(1))]


def test_prices_that_moved(postgres: Postgres, warehouse: Warehouse) -> None:
    _put(
        warehouse,
        [
            *[("a", 0, 10.0), ("a", 1, 10.9), ("b", 0, 10.0), ("b", 1, 8.5), ("c", 1, 5.0)],
            *[("d", 0, 10.0), ("d", 1, 30.0), ("d", 2, 10.0)],
        ],
    )
    record_listing_prices(warehouse, postgres, RULES)
    assert prices_moved(postgres, _day(0), _day(1)).rows() == [
        ("d", "shop", "10.00 USD", "30.00 USD", 200.0),
        ("b", "shop", "10.00 USD", "8.50 USD", -15.0),
    ]
    assert prices_moved(postgres, _day(0), _day(2))["subject"].to_list() == ["b"]
    assert prices_moved(postgres, _day(0), _day(2), share=0.05).height == 2


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")
def test_real_snapshots_in_order_and_shuffled(
    postgres: Postgres, warehouse: Warehouse, tmp_path: Path
) -> None:
    sources = load_sources(CHECKOUT / "examples/real_data/sources.toml", data=DATA)
    (source,) = [source for source in sources if source.name == "pc_parts"]
    ingest_source(warehouse, source, fingerprint="")
    curate_listings(warehouse, price_minimum=0.5, price_maximum=999.49, fingerprint="")
    summary = record_listing_prices(warehouse, postgres, RULES)
    assert (summary.series, summary.observations) == (18_324, 50_704)
    in_order = _state(postgres)
    assert len(in_order) == 83_084
    listings = warehouse.frame("SELECT * FROM curated.listings")
    snapshots = listings["snapshot"].unique().sort().to_list()
    moved = prices_moved(
        postgres,
        listings["observed_at"].min(),
        listings["observed_at"].max(),  # type: ignore[arg-type]
    )
    assert moved.height == 5_541
    random.Random(5).shuffle(snapshots)
    _forget(postgres)
    for count in range(1, len(snapshots) + 1):
        part = tmp_path / "part.parquet"
        listings.filter(pl.col("snapshot").is_in(snapshots[:count])).write_parquet(part)
        warehouse.replace("curated.listings", part)
        record_listing_prices(warehouse, postgres, RULES)
    assert _state(postgres) == in_order
