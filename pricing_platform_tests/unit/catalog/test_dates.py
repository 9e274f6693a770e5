"""Times as files have them: read, or refused with the column named, in the right century."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.sources import Source, date_in_name
from pricing_platform.errors import PlatformError
from pricing_platform.price_reading import prepare_price_reading
from pricing_platform.stores.warehouse import Warehouse

CASES = Path(__file__).parents[3] / "../shared/cases/12-observed-at-dates"
FORMATS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S+0000", "%Y%m%d", "%Y%m%dT%H%M%S", "%d.%m.%Y %H:%M:%S",
    "%a, %d %b %Y %H:%M:%S +0000", "%a, %d %b %Y %H:%M:%S GMT", "%d %B %Y", "%B %d, %Y", "%d-%b-%Y",
    "%Y/%m/%d",
)  # fmt: skip


@pytest.fixture(scope="module")
def reader() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    prepare_price_reading(connection)
    return connection


def read(reader: duckdb.DuckDBPyConnection, text: str) -> datetime | None:
    ((found,),) = reader.execute("SELECT epoch_us(point_in_time(?))", [text]).fetchall()
    return None if found is None else datetime.fromtimestamp(found / 1e6, UTC)


@settings(max_examples=300, deadline=None)
@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)).map(
        lambda at: at.replace(microsecond=0, tzinfo=UTC)
    ),
    st.sampled_from(FORMATS),
)
def test_a_time_is_read_back_however_it_is_written(
    reader: duckdb.DuckDBPyConnection, moment: datetime, pattern: str
) -> None:
    expected = moment if "H" in pattern else moment.replace(hour=0, minute=0, second=0)
    assert read(reader, moment.strftime(pattern)) == expected


@settings(max_examples=200, deadline=None)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)))
def test_a_number_is_seconds_milliseconds_or_days_of_excel(
    reader: duckdb.DuckDBPyConnection, moment: datetime
) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    seconds = int(moment.timestamp())
    assert read(reader, str(seconds)) == moment
    assert read(reader, str(1000 * seconds)) == moment
    days = (moment - datetime(1899, 12, 30, tzinfo=UTC)) / timedelta(days=1)
    assert read(reader, f"{days:.8f}") == moment


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 19_999) | st.integers(80_000, 10**8 - 1))
def test_other_numbers_are_no_time_but_a_compact_date(
    reader: duckdb.DuckDBPyConnection, number: int
) -> None:
    found = read(reader, str(number))
    assert found is None or f"{found:%Y%m%d}" == str(number)


@pytest.mark.parametrize(
    "text",
    ["2024", "", "n/a", "31.02.2026", "12.99", "03/04/2024", "01.04.26", "20241301", "27-Mar-26",
     "Fri, 27 Mar 26 10:15:00 GMT", "27 March 26", "epoch", "infinity", "-infinity",
     "0026-03-27", "2126-03-27"],
)  # fmt: skip
def test_what_is_no_time_or_may_be_two_is_none(
    reader: duckdb.DuckDBPyConnection, text: str
) -> None:
    assert read(reader, text) is None


def ingested(folder: Path, dates: list[str], **declared: str) -> list[datetime | None]:
    rows = "".join(f'{number},x,"{date}"\n' for number, date in enumerate(dates))
    (folder / "a.csv").write_text(f"sku,name,seen\n{rows}", encoding="utf-8")
    source = Source(
        name="shop",
        path=(str(folder / "a.csv"),),
        format="generic",
        columns={"listing_id": "sku", "title": "name"},
        observed_at="column",
        observed_at_column="seen",
        **declared,
    )
    warehouse = Warehouse(folder / "warehouse.duckdb")
    ingest_source(warehouse, source, fingerprint="")
    frame = warehouse.frame("SELECT observed_at FROM raw.listings ORDER BY row_number")
    return [None if at is None else at.astimezone(UTC) for at in frame["observed_at"]]


def test_the_column_tells_whether_days_come_first(tmp_path: Path) -> None:
    april = datetime(2026, 4, 1, tzinfo=UTC)
    assert ingested(tmp_path, ["01/04/2026", "13/04/2026"])[0] == april
    assert ingested(tmp_path, ["04/01/2026", "4-13-2026"])[0] == april
    for dates, told in (
        (["01/04/2026", "02/04/2026"], "that may be read with the day first"),
        (["13/04/2026", "04/13/2026"], "both with the day first"),
    ):
        with pytest.raises(PlatformError, match=f"the column 'seen' has dates {told}"):
            ingested(tmp_path, dates)
        assert ingested(tmp_path, dates, date_format="%d/%m/%Y")[0] in (
            april,
            datetime(2026, 4, 13, tzinfo=UTC),
        )


def test_a_column_without_any_time_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="the column 'seen' holds no point in time, as '2024'"):
        ingested(tmp_path, ["2024", "2025"])
    found = ingested(tmp_path, ["2024", "2025-01-01"])
    assert found == [None, datetime(2025, 1, 1, tzinfo=UTC)], "one odd value is one row"


def test_times_without_a_zone_are_in_the_sources(tmp_path: Path) -> None:
    dates = ["2026-07-01 12:00", "2026-01-01", "2026-01-01T00:00:00Z", "1767225600"]
    berlin = ZoneInfo("Europe/Berlin")
    assert ingested(tmp_path, dates, time_zone="Europe/Berlin") == [
        datetime(2026, 7, 1, 12, tzinfo=berlin),
        datetime(2026, 1, 1, tzinfo=berlin),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC),
    ]
    assert date_in_name(Path("a-2026-07-01.csv"), "Europe/Berlin") == datetime(
        2026, 7, 1, tzinfo=berlin
    )
    with pytest.raises(ValueError, match="is no time zone"):
        ingested(tmp_path, dates, time_zone="Mars/Base")


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not there")
@pytest.mark.parametrize("file", sorted(CASES.glob("*.csv")), ids=lambda file: file.name)
def test_columns_as_shops_export_them(file: Path, tmp_path: Path) -> None:
    source = Source(
        name="dated",
        path=(str(file),),
        format="generic",
        columns={"listing_id": "sku", "title": "name", "price": "price"},
        observed_at="column",
        observed_at_column="checked_on",
    )
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    ingest_source(warehouse, source, fingerprint="")
    seen = warehouse.frame("SELECT observed_at FROM raw.listings")["observed_at"]
    assert seen.null_count() == 0
    assert seen.min().date().isoformat() == "2026-04-01"
    assert seen.max().year == 2026
