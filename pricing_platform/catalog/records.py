"""The rows of a file as records: numbered, counted, and none of them lost.

Here belongs what JSON Lines, CSV and Parquet files are, plain or gzipped. What a record means
belongs to the source's format.

Text files are read in batches of lines and handed to DuckDB as Arrow, because its own readers skip
a line that they cannot parse, and do not number the others.
"""

from __future__ import annotations

import csv
import glob
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Literal, TypeVar

import duckdb
import pyarrow as pa

from pricing_platform.errors import PlatformError

LONGEST_LINE = 64 * 2**20
"""Bytes that a line may have; a longer one means that the file is something else."""

STAGED_AS = "FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 8192, DICTIONARY_SIZE_LIMIT 1"
"""How staged Parquet is written: it is read once and dropped, so nothing is spent on its size, and
threads share the reading by row groups."""

FileType = Literal["jsonl", "csv", "parquet"]

Row = TypeVar("Row")

_SUFFIXES: dict[str, FileType] = {
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
    ".json": "jsonl",
    ".json.gz": "jsonl",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".tsv.gz": "csv",
    ".parquet": "parquet",
}
_DELIMITERS = ",|\t;"
_BATCH_BYTES = 16 * 2**20
_LONGEST_QUOTED_LINES = 500
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ROWS = pa.schema([("row_number", pa.int64()), ("line", pa.string()), ("fault", pa.string())])
_STAGE_LINES = f"""
COPY (
    SELECT
        row_number,
        CASE WHEN fault IS NULL AND starts_with(ltrim(line), '{{') THEN TRY_CAST(line AS JSON) END
            AS record,
        CASE WHEN record IS NULL THEN coalesce(fault, 'not a JSON object') END AS fault,
        CASE WHEN record IS NULL THEN line END AS line
    FROM file_rows
) TO $staged ({STAGED_AS})
"""
_STAGE_PARQUET = f"""
COPY (
    SELECT
        file_row_number + 1 AS row_number,
        to_json(struct_pack(*COLUMNS(* EXCLUDE (file_row_number)))) AS record,
        NULL::VARCHAR AS fault,
        NULL::VARCHAR AS line
    FROM read_parquet($file, file_row_number = true)
) TO $staged ({STAGED_AS})
"""


def file_type(file: Path) -> FileType:
    """What the file's name says that it is.

    Raises:
        PlatformError: for a name that says nothing.
    """
    for suffix, found in _SUFFIXES.items():
        if file.name.lower().endswith(suffix):
            return found
    raise PlatformError(
        f"{file}: its name does not say what kind of file it is.",
        f"Give it a name that ends in one of {', '.join(_SUFFIXES)}.",
    )


def count_rows(file: Path) -> int:
    """How many rows the file has, in a pass of its own before any is handed to DuckDB.

    So a row that is lost on the way into the tables is noticed. What a row is, is decided by the
    same reader: blank lines are none.

    Raises:
        PlatformError: when the file is damaged, binary, or has no row.
    """
    kind = file_type(file)
    if kind == "parquet":
        count = _count_parquet_rows(file)
    else:
        count = sum(1 for _ in (_lines(file) if kind == "jsonl" else _csv_rows(file)))
    if count == 0:
        raise PlatformError(f"{file} has no rows.", "Fetch the file again or remove it.")
    return count


def stage_records(connection: duckdb.DuckDBPyConnection, file: Path, staged: Path) -> None:
    """Writes the file's rows as Parquet: (row_number, record JSON, fault, line).

    ``row_number`` counts from 1. Where ``record`` is null, ``fault`` says what is wrong with the
    row and ``line`` is the row as it stands in the file. Count the rows first: that finds a file
    that is damaged.
    """
    kind = file_type(file)
    if kind == "parquet":
        try:
            connection.execute(_STAGE_PARQUET, {"file": literal(file), "staged": str(staged)})
        except duckdb.OperationalError:  # the disk or the memory, not the file
            raise
        except duckdb.Error as error:
            raise _not_parquet(file, error) from None
        return
    batches = _json_line_batches(file) if kind == "jsonl" else _csv_batches(file)
    connection.register("file_rows", pa.RecordBatchReader.from_batches(_ROWS, batches))
    connection.execute(_STAGE_LINES, {"staged": str(staged)})
    connection.unregister("file_rows")


def literal(file: Path) -> str:
    """The file's path as DuckDB reads it: a bracket or an asterisk in it is no pattern."""
    return glob.escape(str(file))


def _count_parquet_rows(file: Path) -> int:
    try:
        found = duckdb.execute("SELECT num_rows FROM parquet_file_metadata(?)", [literal(file)])
        return int(found.fetchall()[0][0])
    except duckdb.Error as error:
        raise _not_parquet(file, error) from None


def _not_parquet(file: Path, error: duckdb.Error) -> PlatformError:
    return PlatformError(
        f"{file} cannot be read as a Parquet file: {str(error).splitlines()[0]}",
        "Fetch the file again, or name it after what it is.",
    )


@contextmanager
def _opened(file: Path) -> Iterator[BufferedIOBase]:
    """The file's bytes, decompressed; what can go wrong with them is said for people."""
    try:
        with gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb") as stream:
            start = stream.read(4096)
            if b"\0" in start:
                raise PlatformError(
                    f"{file} is not text but binary (or UTF-16).",
                    "Name the file after what it is, or write it as UTF-8.",
                )
            stream.seek(len(_BYTE_ORDER_MARK) if start.startswith(_BYTE_ORDER_MARK) else 0)
            yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise PlatformError(
            f"{file} is cut off or damaged: {error}.", "Fetch the file again."
        ) from None
    except OSError as error:
        raise PlatformError(
            f"{file} cannot be read: {error.strerror}.", "Check its permissions."
        ) from None


def _lines(file: Path) -> Iterator[bytes]:
    """The lines that are not blank, without their ends."""
    with _opened(file) as stream:
        while line := stream.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE:
                raise PlatformError(
                    f"{file} has a line of more than {LONGEST_LINE >> 20} MB.",
                    "One row a line is expected: check that the file is what its name says.",
                )
            if line := line.rstrip(b"\r\n"):
                yield line


def _json_line_batches(file: Path) -> Iterator[pa.RecordBatch]:
    first = 1
    for lines in _batched(_lines(file), len):
        numbers = pa.array(range(first, first + len(lines)), pa.int64())
        first += len(lines)
        faults: dict[int, str] = {}
        try:
            texts = pa.array(lines, pa.binary()).cast(pa.string())
        except pa.ArrowInvalid:
            for place, line in enumerate(lines):
                text, fault = _decoded(line)
                if fault:
                    lines[place], faults[place] = text.encode(), fault
            texts = pa.array(lines, pa.binary()).cast(pa.string())
        told = pa.array(map(faults.get, range(len(lines))), pa.string())
        yield pa.record_batch([numbers, texts, told], schema=_ROWS)


def _csv_batches(file: Path) -> Iterator[pa.RecordBatch]:
    first = 1
    for batch in _batched(_csv_rows(file), lambda row: len(row[0])):
        texts, faults = zip(*batch, strict=True)
        numbers = range(first, first + len(batch))
        first += len(batch)
        yield pa.record_batch([list(numbers), list(texts), list(faults)], schema=_ROWS)


def _batched(rows: Iterator[Row], length: Callable[[Row], int]) -> Iterator[list[Row]]:
    """The rows in batches by their length, whatever their number."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += length(row)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _decoded(line: bytes) -> tuple[str, str | None]:
    try:
        return line.decode(), None
    except UnicodeDecodeError as error:
        return line.decode(errors="backslashreplace"), f"not UTF-8 at byte {error.start + 1}"


def _csv_rows(file: Path) -> Iterator[tuple[str, str | None]]:
    """Each row below the header as a JSON object, or as it stands with what is wrong with it."""
    lines = _lines(file)
    delimiter, header = _csv_header(file, next(lines, b""))
    csv.field_size_limit(LONGEST_LINE)
    for group in _quoted_together(lines):
        texts = [_decoded(line) for line in group]
        rows = _fields([text for text, _ in texts], delimiter, header)
        if rows is not None and not any(fault for _, fault in texts):
            yield from ((json.dumps(dict(zip(header, row, strict=True))), None) for row in rows)
            continue
        # A quote that is never closed would swallow the rows after it: each line for itself.
        for text, fault in texts:
            alone = None if fault else _fields([text], delimiter, header)
            if alone:
                yield json.dumps(dict(zip(header, alone[0], strict=True))), None
            else:
                yield text, fault or f"not {len(header)} fields separated by {delimiter!r}"


def _fields(lines: list[str], delimiter: str, header: list[str]) -> list[list[str]] | None:
    """The rows in the lines, or None where one of them has not the header's fields."""
    try:
        ended = (f"{line}\n" for line in lines)
        rows = list(csv.reader(ended, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows if all(len(row) == len(header) for row in rows) else None


def _quoted_together(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Lines one by one, or several together where a quoted value may span them."""
    group: list[bytes] = []
    open_quote = False
    for line in lines:
        group.append(line)
        open_quote ^= bool(line.count(b'"') % 2)
        if not open_quote or len(group) == _LONGEST_QUOTED_LINES:
            yield group
            group, open_quote = [], False
    if group:
        yield group


def _csv_header(file: Path, line: bytes) -> tuple[str, list[str]]:
    """The delimiter that occurs most often in the header line, and the names between."""
    text = _decoded(line)[0]
    delimiter = max(_DELIMITERS, key=text.count)
    names = next(csv.reader([text], delimiter=delimiter), [])
    header = [name.strip() or f"column_{place}" for place, name in enumerate(names, 1)]
    if len(header) < 2 or len(set(header)) < len(header):
        raise PlatformError(
            f"{file} is not a CSV file with a header: its first line is {text[:80]!r}.",
            "Its first line has to name two or more columns, each of them once, between"
            " commas, semicolons, tabs or |.",
        )
    return delimiter, header
