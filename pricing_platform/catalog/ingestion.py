"""From the files of a source to ``raw.snapshots`` and ``raw.listings``, every row of them.

Here belongs the way from records through the source's format into the listing schema. How rows
come out of files belongs to :mod:`pricing_platform.catalog.records`; what makes a listing usable
belongs to :mod:`pricing_platform.catalog.curation`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl

from pricing_platform.catalog.file_layout import file_layout
from pricing_platform.catalog.file_text import FileLayout
from pricing_platform.catalog.records import STAGED_AS, count_rows, stage_records
from pricing_platform.catalog.row_places import plain
from pricing_platform.catalog.sources import (
    Source,
    date_in_name,
    shard,
    snapshot_names,
    top_column,
)
from pricing_platform.currencies import price_decimals
from pricing_platform.errors import PlatformError
from pricing_platform.price_reading import prepare_price_reading, reading_macros
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform.stores.warehouse import fingerprint as fingerprint_of

INGESTION_VERSION = "4"
"""Part of every source's fingerprint: raise it when the same files would be read differently."""

RAW_ROW_LIMIT = 2_000
"""Characters that are kept of a row that could not be read."""

_BLANKS = " \t\r\n\xa0\u2007\u200b\u202f\u3000\ufeff"
"""What is no part of an identifier at its ends."""

_PASSED_COLUMNS = ("snapshot", "row_number", "observed_at")
_REQUIRED_COLUMNS = (*_PASSED_COLUMNS, "title", "price")
_TYPES = {
    "listing_id": "VARCHAR",
    "title": "VARCHAR",
    "description": "VARCHAR",
    "brand": "VARCHAR",
    "category": "VARCHAR",
    "attributes": "MAP(VARCHAR, VARCHAR)",
    "currency": "VARCHAR",
    "url": "VARCHAR",
    "unreadable": "VARCHAR",
    "raw_row": "VARCHAR",
}
"""The columns that a format makes, all but the price; those that it leaves out are null."""

# A format reads records through these views, whatever the file was.
_RECORDS = """
CREATE TEMP VIEW staged_records AS
SELECT snapshot, row_number, observed_at, record, fault, line
FROM read_parquet(getvariable('staged_files'), filename = true)
JOIN staged_snapshots USING (filename);
CREATE TEMP VIEW records AS
SELECT
    snapshot,
    row_number,
    coalesce(observed_at, point_in_time(record ->> getvariable('observed_at_column')))
        AS observed_at,
    record
FROM staged_records
WHERE fault IS NULL
"""


# Which rows a format left out is told by their numbers, so that the records of all others, which
# are nearly all, are not read once more.
_REST = """
CREATE TEMP VIEW rest AS
SELECT
    snapshot, row_number, observed_at, NULL AS title, NULL AS price, fault AS unreadable,
    line AS raw_row
FROM staged_records
WHERE fault IS NOT NULL
UNION ALL
SELECT
    snapshot, row_number, observed_at, NULL, NULL, 'left out by the format', record::VARCHAR
FROM staged_records
SEMI JOIN (
    SELECT snapshot, row_number
    FROM staged_records
    ANTI JOIN read_parquet(getvariable('readable')) USING (snapshot, row_number)
    WHERE fault IS NULL
) AS left_out
    USING (snapshot, row_number)
"""
_DECIMALS_WRITTEN = r"""
SELECT
    count(*) FILTER (regexp_matches(price_text, '^\D*\d{1,3}(?:\.?\d{3})*,\d{1,2}\D*$')),
    count(*) FILTER (
        regexp_matches(price_text, '^\D*\d{1,3}(?:,?\d{3})*\.(?:\d{1,2}|\d{4,})\D*$')
    ),
    count(*) FILTER (may_part_thousands(price_text))
FROM read_parquet(?)
"""
"""How many prices have their decimals after a comma, how many after a full stop, and how many have
a full stop before exactly three digits."""

_WRITTEN_AS_TEXT = """
SELECT count(*) > 0
FROM read_parquet(?) AS listings
JOIN records USING (snapshot, row_number)
WHERE may_part_thousands(price_text)
    AND contains(CAST(record AS VARCHAR), '"' || price_text || '"')
"""
"""Whether one of the latter is a text of the record, and not a number of JSON or Parquet."""

_WHOLE = 0
_THOUSANDTHS = 3
"""Decimals of a currency."""


# What a row observed; one that observed nothing is what it says.
_OBSERVED = """
    CASE
        WHEN {0}.observed_at IS NOT NULL AND coalesce({0}.listing_id, '') <> ''
            THEN concat_ws(chr(31), {0}.listing_id, epoch_us({0}.observed_at))
        ELSE to_json([
            {0}.listing_id, {0}.observed_at::VARCHAR, {0}.title, {0}.price_text, {0}.unreadable,
            {0}.raw_row
        ])::VARCHAR
    END
"""
_SAID_NO_MORE = f"""
    AND NOT EXISTS (
        FROM read_parquet($read::VARCHAR[]) AS read
        WHERE read.snapshot = map($overwritten::VARCHAR[], $by::VARCHAR[])[earlier.snapshot]
            AND {_OBSERVED.format("read")} = {_OBSERVED.format("earlier")}
    )
"""
"""Leaves out the rows of an overwritten file that the file in its place has too."""


DEFAULT_TIME_ZONE = "UTC"

_DAY_OR_MONTH_FIRST = r"""
SELECT
    count(*) FILTER (TRY_CAST(parts['first'] AS INTEGER) > 12),
    count(*) FILTER (TRY_CAST(parts['second'] AS INTEGER) > 12),
    min(told) FILTER (parts['first'] <> '')
FROM (
    SELECT
        record ->> getvariable('observed_at_column') AS told,
        regexp_extract(
            told, '^\s*(\d{1,2})[/-](\d{1,2})[/-]\d{4}', ['first', 'second']
        ) AS parts
    FROM records
)
"""
_TIMES_READ = """
SELECT count(observed_at), min(record ->> getvariable('observed_at_column')) FROM records
"""


@dataclass(frozen=True)
class Snapshot:
    """One file of a source, and the rows counted in it."""

    source: str
    snapshot: str
    path: str
    observed_at: datetime | None
    file_bytes: int
    file_sha256: str
    row_count: int
    file_present: bool = True
    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    sheet: str | None = None
    decimal: str | None = None
    rows_at: str | None = None

    def supersedes(self, earlier: Snapshot) -> bool:
        """Whether this file, read now, is what the earlier one was.

        It is where both are one shard and were true at one time, or hold the same bytes.
        """
        if self.file_sha256 == earlier.file_sha256:
            return True
        if self.observed_at is None or earlier.observed_at is None:
            return False
        at_one_time = self.observed_at == earlier.observed_at
        return at_one_time and shard(Path(self.path)) == shard(Path(earlier.path))

    def overwrote(self, earlier: Snapshot) -> bool:
        """Whether this file took the earlier one's place, and each row says when it was true.

        Then this file's rows are what the earlier ones were where listing and time are the same,
        and the others are history.
        """
        by_row = self.observed_at is None or earlier.observed_at is None
        return by_row and self.path == earlier.path


def source_fingerprint(source: Source) -> str:
    """The sha256 of all that the source's rows in ``raw`` follow from.

    The bytes of its files (streamed), its declaration, its format's SQL and the reader's version.

    Raises:
        PlatformError: when no file matches a path of the source, or one cannot be read.
    """
    parts: list[object] = [INGESTION_VERSION, source.model_dump_json(), reading_macros()]
    parts.append(source.format_file.read_text(encoding="utf-8"))
    for file, snapshot in snapshot_names(source.files()).items():
        parts += [snapshot, _sha256(file), _observed_at(source, file)]
    return fingerprint_of(*parts)


def ingest_source(
    warehouse: Warehouse,
    source: Source,
    *,
    fingerprint: str,
    required: Set[str] | None = None,
) -> None:
    """Brings the source's rows in ``raw.snapshots`` and ``raw.listings`` up to its files.

    Every row of the files comes out; one that could not be read has ``unreadable`` (why) and
    ``raw_row``. A snapshot whose file is gone, or was overwritten by what was true at another
    time, stays as it was read, with ``file_present`` false: history is kept, and what is to be
    forgotten leaves with its source. Where a column says when rows were true, those of an
    overwritten file stay that the new one doesn't have. Memory stays at the warehouse's limit plus
    a batch of lines.

    Args:
        warehouse: where the rows go, in one transaction.
        source: what is read.
        fingerprint: of the inputs, from :func:`source_fingerprint`.
        required: the fields whose column some row has to have; where None, all that are mapped.

    Raises:
        PlatformError: when a file is not what its name says, or the format's SQL fails. The rows
            of an earlier ingestion then stand unchanged.
    """
    names = snapshot_names(source.files())
    layouts = {file: file_layout(file, source, source.columns_read) for file in names}
    snapshots = tuple(_snapshot(source, file, name, layouts[file]) for file, name in names.items())
    with warehouse.staging_folder() as staging:
        with warehouse.scratch() as connection:
            prepare_price_reading(connection)
            _stage(connection, source, list(zip(snapshots, layouts.values(), strict=True)), staging)
            _check_columns(connection, source, required)
            readable = staging / "listings-readable.parquet"
            decimal = _apply_format(connection, source, readable)
            snapshots = tuple(replace(at, decimal=decimal) for at in snapshots)
            _keep_the_rest(connection, source, readable, staging / "listings-rest.parquet")
        history = _keep_history(warehouse, source, snapshots, staging)
        warehouse.replace_all(
            {
                "raw.snapshots": _snapshot_frame([*snapshots, *history]),
                "raw.listings": staging / "listings-*.parquet",
            },
            partition=("source", source.name),
            fingerprint=fingerprint,
        )


def _keep_history(
    warehouse: Warehouse, source: Source, present: Sequence[Snapshot], staging: Path
) -> list[Snapshot]:
    """Writes the listings of the earlier snapshots that no present file supersedes.

    Returns:
        Those of which something is kept, with the number of rows that is.
    """
    warehouse.create_schema()
    listings = staging / "listings-history.parquet"
    with warehouse.read() as connection:
        columns = [field.name for field in fields(Snapshot)]
        found = connection.execute(
            f"SELECT {', '.join(columns)} FROM raw.snapshots WHERE source = ? ORDER BY snapshot",
            [source.name],
        ).fetchall()
        earlier = [Snapshot(*row) for row in found]
        history = _as_history(
            [at for at in earlier if not any(read.supersedes(at) for read in present)],
            {snapshot.snapshot for snapshot in present},
        )
        overwritten = {
            name: read.snapshot
            for name, snapshot in history.items()
            for read in present
            if read.overwrote(snapshot)
        }
        connection.execute(
            "COPY (SELECT * REPLACE ("
            "  map($before::VARCHAR[], $now::VARCHAR[])[snapshot] AS snapshot)"
            " FROM raw.listings AS earlier"
            " WHERE source = $source AND snapshot IN $before::VARCHAR[]"
            f"{_SAID_NO_MORE if overwritten else ''}) TO $file ({STAGED_AS})",
            {
                "before": list(history),
                "now": [snapshot.snapshot for snapshot in history.values()],
                "source": source.name,
                "file": str(listings),
            }
            | (
                {
                    "overwritten": list(overwritten),
                    "by": list(overwritten.values()),
                    "read": [str(file) for file in staging.glob("listings-r*.parquet")],
                }
                if overwritten
                else {}
            ),
        )
        left = dict(
            connection.execute(
                "SELECT snapshot, count(*) FROM read_parquet(?) GROUP BY ALL", [str(listings)]
            ).fetchall()
        )
    for name in overwritten:
        history[name] = replace(history[name], row_count=left.get(history[name].snapshot, 0))
    return [snapshot for snapshot in history.values() if snapshot.row_count]


def _as_history(snapshots: Sequence[Snapshot], present: Set[str]) -> dict[str, Snapshot]:
    """By its name, each snapshot without its file, renamed where a present file has the name."""
    names = {*present, *(snapshot.snapshot for snapshot in snapshots)}
    history = {}
    for snapshot in snapshots:
        name = snapshot.snapshot
        if name in present:
            sha256 = snapshot.file_sha256[:12]
            name += f" of {snapshot.observed_at.isoformat() if snapshot.observed_at else sha256}"
            name += f" {sha256}" if name in names else ""
            names.add(name)
        history[snapshot.snapshot] = replace(snapshot, snapshot=name, file_present=False)
    return history


def _snapshot_frame(snapshots: Sequence[Snapshot]) -> pl.DataFrame:
    rows = [asdict(snapshot) for snapshot in snapshots]
    return pl.DataFrame(rows, infer_schema_length=None).cast(
        {"observed_at": pl.Datetime("us", "UTC")}
    )


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise PlatformError(
            f"{file} cannot be read: {error.strerror}.", "Check its permissions."
        ) from None


def _snapshot(source: Source, file: Path, name: str, layout: FileLayout) -> Snapshot:
    return Snapshot(
        source=source.name,
        snapshot=name,
        path=str(file),
        observed_at=_observed_at(source, file),
        file_bytes=file.stat().st_size,
        file_sha256=_sha256(file),
        row_count=count_rows(file, layout),
        encoding=layout.encoding,
        delimiter=layout.delimiter,
        quote=layout.quote,
        sheet=layout.sheet,
        rows_at=layout.rows_at,
    )


def _observed_at(source: Source, file: Path) -> datetime | None:
    """When the file's rows were true; None where a column says it."""
    if source.observed_at == "file_time":
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    if source.observed_at == "column":
        return None
    date = date_in_name(file, source.time_zone or DEFAULT_TIME_ZONE)
    if date is None:
        raise PlatformError(
            f'Source {source.name!r}: observed_at = "file_name", but the name of {file} holds no'
            " date that can be told: it needs one day or month, and after a month no digits that"
            " may be a day.",
            'Name it like 2024-03-27.jsonl.gz, or use "file_time" or "column".',
        )
    return date


def _stage(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    snapshots: Sequence[tuple[Snapshot, FileLayout]],
    staging: Path,
) -> None:
    """Makes the views ``staged_records`` (every row) and ``records`` (those that can be read)."""
    staged: dict[str, Snapshot] = {}
    for place, (snapshot, layout) in enumerate(snapshots):
        target = staging / f"records-{place}.parquet"
        stage_records(connection, Path(snapshot.path), layout, target)
        _check_readable(connection, snapshot, str(target))
        staged[str(target)] = snapshot
    connection.execute(
        "CREATE TEMP TABLE staged_snapshots"
        " (filename VARCHAR, snapshot VARCHAR, observed_at TIMESTAMPTZ)"
    )
    connection.executemany(
        "INSERT INTO staged_snapshots VALUES (?, ?, ?)",
        [[path, s.snapshot, s.observed_at] for path, s in staged.items()],
    )
    columns = _mapped_columns(source)
    paths = {field: _json_path(column) for field, column in columns.items()}
    _set_variable(connection, "columns", "MAP(VARCHAR, VARCHAR)", paths)
    _set_variable(
        connection, "mapped_columns", "VARCHAR[]", sorted(set(map(top_column, columns.values())))
    )
    _set_variable(connection, "observed_at_column", "VARCHAR", paths.get("observed_at"))
    _set_variable(connection, "staged_files", "VARCHAR[]", list(staged))
    connection.execute("SET TimeZone = ?", [source.time_zone or DEFAULT_TIME_ZONE])
    _set_variable(connection, "date_format", "VARCHAR", source.date_format)
    connection.execute(_RECORDS)


def _mapped_columns(source: Source) -> dict[str, str]:
    of_time = source.observed_at_column
    return source.columns | ({} if of_time is None else {"observed_at": of_time})


def _require_one_way_to_read_times(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    """Settles whether days come first in the column with the times, by all of its values.

    Raises:
        PlatformError: when that can't be told, or when nothing in the column is a time.
    """
    column = f"Source {source.name!r}: the column {source.observed_at_column!r}"
    remedy = 'Say in sources.toml how dates are written, as date_format = "%d/%m/%Y".'
    ((days, months, example),) = connection.execute(_DAY_OR_MONTH_FIRST).fetchall()
    if source.date_format is None and example is not None:
        if bool(days) == bool(months):
            which = "both with" if days else "that may be read with"
            raise PlatformError(
                f"{column} has dates {which} the day first and with the month first, as {example}.",
                remedy,
            )
        _set_variable(connection, "day_first", "BOOLEAN", bool(days))
    ((read, example),) = connection.execute(_TIMES_READ).fetchall()
    if not read:
        raise PlatformError(f"{column} holds no point in time, as {example!r}.", remedy)


def _set_variable(
    connection: duckdb.DuckDBPyConnection, name: str, kind: str, value: object
) -> None:
    connection.execute(f"SET VARIABLE {name} = CAST(? AS {kind})", [value])


def _json_path(column: str) -> str:
    """A column's name as a JSON path; a name that starts with $ is one already."""
    if column.startswith("$"):
        return column
    return '$."' + column.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _check_readable(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, staged: str) -> None:
    rows = "SELECT fault, left(line, 80) FROM read_parquet(?)"
    if connection.execute(f"{rows} WHERE fault IS NULL LIMIT 1", [staged]).fetchall():
        return
    fault, line = connection.execute(f"{rows} ORDER BY row_number LIMIT 1", [staged]).fetchall()[0]
    raise PlatformError(
        f"Source {snapshot.source!r}: no row of {snapshot.path} can be read. The first is {fault}:"
        f" {line!r}.",
        "Check that the file is what its name says, and say in sources.toml how it is written where"
        " that is not found: `encoding`, `delimiter`, `quote`, `rows_at`.",
    )


def _check_columns(
    connection: duckdb.DuckDBPyConnection, source: Source, required: Set[str] | None
) -> None:
    """Whether some row has each column that is mapped or that the format takes a field from.

    Raises:
        PlatformError: when none has one that is required, or it can't be read.
    """
    for field, column in _mapped_columns(source).items():
        is_there = _is_in_a_row(connection, source, column)
        if not is_there and (required is None or field in required):
            raise PlatformError(
                f"Source {source.name!r}: no row has the column {column!r} that sources.toml"
                " names.",
                _columns_told(_column_names(connection)),
            )
    if source.observed_at_column is not None:
        _require_one_way_to_read_times(connection, source)
    headings = source.headings
    known = {plain(name) for name in _column_names(connection, 1000)} if headings else set()
    for field, names in headings.items():
        if (required is not None and field not in required) or known & set(map(plain, names)):
            continue
        known = {plain(name) for name in _column_names(connection)}
        if not known & set(map(plain, names)):
            raise PlatformError(
                f"Source {source.name!r}: no row has the column {' or '.join(map(repr, names))},"
                f" from which the format {source.format} takes `{field}`.",
                f"{_columns_told(_column_names(connection))} Export it with English headings, or"
                ' name its columns with format = "generic".',
            )


def _is_in_a_row(connection: duckdb.DuckDBPyConnection, source: Source, column: str) -> bool:
    found = "SELECT 1 FROM records WHERE json_exists(record, ?) LIMIT 1"
    try:
        return bool(connection.execute(found, [_json_path(column)]).fetchall())
    except duckdb.Error as error:
        raise PlatformError(
            f"Source {source.name!r}: {column!r} is not a JSON path: {_first_line(error)}",
            "Write it as $.key or $.outer.inner.",
        ) from None


def _column_names(connection: duckdb.DuckDBPyConnection, rows: int | None = None) -> list[str]:
    limit = "" if rows is None else f"LIMIT {rows}"
    found = connection.execute(
        f"SELECT DISTINCT unnest(json_keys(record)) AS key FROM (FROM records {limit}) ORDER BY key"
    )
    return [name for (name,) in found.fetchall()]


def _columns_told(names: Sequence[str]) -> str:
    return f"The columns are: {', '.join(names[:40])}."


def _apply_format(
    connection: duckdb.DuckDBPyConnection, source: Source, listings: Path
) -> str | None:
    """Runs the format over the records and writes what it makes of them.

    Returns:
        What parts the decimals of its prices, where that is declared or plain.
    """
    file = source.format_file
    try:
        # On one line with the format's first, so that an error names the format's own line.
        connection.execute(f"CREATE TEMP VIEW formatted AS {_one_select(file)}")
        columns = {row[0] for row in connection.execute("DESCRIBE formatted").fetchall()}
        _check_listing_schema(file, columns)
        query, decimal = _listing_query("formatted", columns), source.decimal
        _set_variable(connection, "decimal_mark", "VARCHAR", decimal)
        _set_variable(connection, "full_stop", "VARCHAR", None)
        _copy(connection, query, listings, source)
        # Most files need neither: to look before they are read would read all of them twice.
        if decimal is None:
            decimal, full_stop = _as_its_prices_are_written(connection, listings, source.currency)
            if decimal or full_stop:
                _set_variable(connection, "decimal_mark", "VARCHAR", decimal)
                _set_variable(connection, "full_stop", "VARCHAR", full_stop)
                _copy(connection, query, listings, source)
    except (duckdb.ProgrammingError, duckdb.DataError) as error:
        raise PlatformError(
            f"The format {file} failed on source {source.name!r}: {error}",
            "Correct the SQL file; the tables are as they were.",
        ) from None
    _check_one_row_each(connection, file, listings)
    return decimal


def _as_its_prices_are_written(
    connection: duckdb.DuckDBPyConnection, listings: Path, currency: str
) -> tuple[Literal[","] | None, Literal["either", "thousands"] | None]:
    """What parts decimals, where that is a comma, and what a full stop before three digits is.

    Where some prices have decimals after a comma and none has after a full stop, 1.299 is no
    fraction. Where all have after a full stop, it is one, and so it is as a number of JSON. A
    currency without decimals has no fractions. Else it may be either.
    """
    ((commas, stops, thousands),) = connection.execute(
        _DECIMALS_WRITTEN, [str(listings)]
    ).fetchall()
    if commas and not stops:
        return ",", None
    decimals = price_decimals(currency)
    if not thousands or decimals == _THOUSANDTHS:
        return None, None
    if decimals == _WHOLE:
        return None, "thousands"
    if stops and not commas:
        return None, None
    ((is_text,),) = connection.execute(_WRITTEN_AS_TEXT, [str(listings)]).fetchall()
    return None, "either" if is_text else None


def _keep_the_rest(
    connection: duckdb.DuckDBPyConnection, source: Source, readable: Path, rest: Path
) -> None:
    """Writes the rows that the format was not given or left out."""
    connection.execute("SET VARIABLE readable = ?", [str(readable)])
    connection.execute(_REST)
    columns = {row[0] for row in connection.execute("DESCRIBE rest").fetchall()}
    _copy(connection, _listing_query("rest", columns), rest, source)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, target: Path, source: Source) -> None:
    connection.execute(
        f"COPY ({query}) TO $target ({STAGED_AS})",
        {"source": source.name, "currency": source.currency, "target": str(target)},
    )


def _listing_query(relation: str, columns: Set[str]) -> str:
    """Selects the relation into the columns of ``raw.listings``."""
    selected = [
        f"CAST({column if column in columns else 'NULL'} AS {kind}) AS {column}"
        for column, kind in _TYPES.items()
        if column not in ("listing_id", "currency", "raw_row")
    ]
    listing_id = f"trim(CAST(listing_id AS VARCHAR), '{_BLANKS}')"
    currency = "currency_code(currency, $currency)" if "currency" in columns else "$currency"
    raw_row = "CAST(raw_row AS VARCHAR)" if "raw_row" in columns else "NULL"
    return f"""
        SELECT
            $source AS source, {", ".join(_PASSED_COLUMNS)}, {", ".join(selected)},
            {listing_id if "listing_id" in columns else "CAST(NULL AS VARCHAR)"} AS listing_id,
            CAST(price AS VARCHAR) AS price_text,
            price_number(price_text) AS price,
            {currency} AS currency,
            left({raw_row}, {RAW_ROW_LIMIT}) AS raw_row
        FROM {relation}
    """


def _one_select(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlatformError(f"The format {file} cannot be read: {error}.", "") from None
    statements = duckdb.extract_statements(text)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise PlatformError(
            f"The format {file} is not one SELECT.",
            "A format is one SELECT from `records`; sql/sources/generic.sql is an example.",
        )
    return text


def _check_listing_schema(file: Path, columns: Set[str]) -> None:
    known = [*_PASSED_COLUMNS, *_TYPES, "price"]
    missing = [column for column in _REQUIRED_COLUMNS if column not in columns]
    unknown = sorted(columns - set(known))
    if missing or unknown:
        what = f"lacks the column {missing[0]!r}" if missing else f"has the column {unknown[0]!r}"
        raise PlatformError(
            f"The result of the format {file} {what}.",
            f"Its columns may be {', '.join(known)}; all rest belongs into attributes.",
        )


def _check_one_row_each(connection: duckdb.DuckDBPyConnection, file: Path, listings: Path) -> None:
    """Whether no row came out twice or was made up."""
    faults = (
        "SELECT snapshot, row_number, count(*) FROM read_parquet(?) GROUP BY ALL"
        " HAVING count(*) > 1 LIMIT 1",
        "SELECT snapshot, row_number, 0 FROM read_parquet(?)"
        " ANTI JOIN records USING (snapshot, row_number) LIMIT 1",
    )
    for query in faults:
        for snapshot, row_number, times in connection.execute(query, [str(listings)]).fetchall():
            what = f"{times} times" if times else "which is not in the file"
            raise PlatformError(
                f"The format {file} returns row {row_number} of snapshot {snapshot} {what}.",
                "It has to pass snapshot and row_number through and return each record once.",
            )


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]
