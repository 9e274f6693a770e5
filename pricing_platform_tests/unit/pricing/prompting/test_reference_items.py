"""What a reference cost by a time: never a price that was observed later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.prompting.reference_items import (
    UNKNOWN_TIME,
    PriceHistory,
    References,
    observed_at,
)
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import first, observed

DAY = 86_400_000_000
_SCHEMA = {"item_id": pl.String, "price": pl.Float64, "observed_at": pl.Datetime("us", "UTC")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def references(days: list[int], prices: list[float]) -> References:
    count = len(days)
    return References(
        item_ids=[f"item-{n}" for n in range(count)],
        titles=[""] * count,
        texts=[""] * count,
        brands=[None] * count,
        categories=[None] * count,
        families=[None] * count,
        prices=np.array(prices),
        observed=np.array(days, np.int64) * DAY,
    )


def history(rows: list[tuple[str, float, int]]) -> pl.DataFrame:
    timed = [(item_id, price, _EPOCH + timedelta(days=day)) for item_id, price, day in rows]
    return pl.DataFrame(timed, schema=_SCHEMA, orient="row")


def test_tells_the_newest_observation_that_is_not_later() -> None:
    known = references([30, 30, 30], [3.0, 33.0, 333.0])
    seen = history([("item-0", 1.0, 10), ("item-0", 2.0, 20), ("item-1", 11.0, 25), ("x", 9.0, 1)])
    prices = PriceHistory(known, seen)
    at_22 = prices.at(22 * DAY)
    assert np.array_equal(at_22.prices, [2.0, np.nan, np.nan], equal_nan=True)
    assert at_22.age_days[0] == 2
    assert at_22.known.tolist() == [0]
    assert prices.at(25 * DAY).prices[1] == 11.0
    assert prices.at(30 * DAY).prices.tolist() == [3.0, 33.0, 333.0]
    assert not len(prices.at(9 * DAY).known)


def test_an_unknown_time_of_an_item_stands_for_now_and_of_a_reference_for_any_time() -> None:
    known = references([30, 0], [3.0, 4.0])
    known.observed[1] = UNKNOWN_TIME
    prices = PriceHistory(known, history([]))
    now = prices.at(UNKNOWN_TIME)
    assert now.prices.tolist() == [3.0, 4.0]
    assert now.age_days[0] == (datetime.now(UTC) - _EPOCH).days - 30
    assert prices.at(1).prices[1] == 4.0
    assert prices.at(1).age_days[1] == 0


_rows = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 99), st.integers(0, 20)), max_size=12)


@given(own=st.lists(st.integers(0, 20), min_size=4, max_size=4), rows=_rows, day=st.integers(0, 22))
def test_agrees_with_looking_at_every_observation(
    own: list[int], rows: list[tuple[int, int, int]], day: int
) -> None:
    known = references(own, [100.0 + n for n in range(4)])
    seen = history([(f"item-{n}", float(price), at) for n, price, at in rows])
    found = PriceHistory(known, seen).at(day * DAY)
    for place in range(4):
        told = [
            (at, order, float(price)) for order, (n, price, at) in enumerate(rows) if n == place
        ]
        told = [(at, order, price) for at, order, price in told if at <= day]
        if own[place] <= day:
            told.append((own[place], len(rows), 100.0 + place))
        assert np.isfinite(found.prices[place]) == bool(told)
        if told:
            assert found.prices[place] == max(told)[2]
            assert found.age_days[place] == day - max(told)[0]


def test_knows_the_item_itself_and_its_family_as_its_own() -> None:
    items = generated_items(families=3)
    own = References.of(items).own(items)
    for place, family in enumerate(items.frame["family_id"]):
        same = [at for at, other in enumerate(items.frame["family_id"]) if other == family]
        assert own[place].tolist() == same
    alone = ItemSet(items.frame.with_columns(family_id=pl.lit(None, pl.String)), items.embeddings)
    assert [at.tolist() for at in References.of(alone).own(alone)] == [[n] for n in range(6)]


def test_reads_times_where_there_are_some() -> None:
    items = first(generated_items(families=2), 2)
    assert observed_at(items).tolist() == [UNKNOWN_TIME] * 2
    times = observed_at(observed(items))
    assert times.tolist() == [1743422400000000] * 2
