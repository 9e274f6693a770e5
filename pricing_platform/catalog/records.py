"""The rows of a file as records: numbered, counted, and none of them lost.

Here belongs how the rows of every kind of file are taken out, by a layout that is known. How a file
is written belongs to ``file_layout``; what a record means, to the source's format.

Text files are read in batches of lines and handed to DuckDB as Arrow, because its own readers skip
a line that they cannot parse, and do not number the others.
"""

from __future__ import annotations

import csv
import glob
import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa

from pricing_platform.catalog.file_text import (
    UTF8,
    FileLayout,
    csv_rows,
    line_blocks,
    line_encoding,
    one_line,
    text_lines,
)
from pricing_platform.catalog.json_documents import array_rows, row_text
from pricing_platform.catalog.spreadsheets import sheet_rows
from pricing_platform.catalog.xml_documents import element_rows
from pricing_platform.errors import PlatformError

STAGED_AS = "FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 8192, DICTIONARY_SIZE_LIMIT 1"
"""How staged Parquet is written: it is read once and dropped, so nothing is spent on its size, and
threads share the reading by row groups."""

Row = TypeVar("Row")

_Line = tuple[str, str | None]
"""A row as a JSON object, or as it stands in the file with what is wrong with it."""

_BATCH_BYTES = 16 * 2**20
_ROWS_WITHIN_A_QUOTE = 5
"""From so many lines on that are all rows, what spans them is a quote that was never closed."""

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


def count_rows(file: Path, layout: FileLayout) -> int:
    """How many rows the file has, in a pass of its own before any is handed to DuckDB.

    So a row that is lost on the way into the tables is noticed. What a row is, is decided by the
    same reader: blank lines are none.

    Raises:
        PlatformError: when the file is damaged or has no row.
    """
    if layout.kind == "parquet":
        count = _count_parquet_rows(file)
    elif _is_lines(layout):
        count = sum(map(len, _filled_lines(file, layout)))
    else:
        count = sum(1 for _ in _rows(file, layout))
    if count == 0:
        raise PlatformError(f"{file} has no rows.", "Fetch the file again or remove it.")
    return count


def stage_records(
    connection: duckdb.DuckDBPyConnection, file: Path, layout: FileLayout, staged: Path
) -> None:
    """Writes the file's rows as Parquet: (row_number, record JSON, fault, line).

    ``row_number`` counts from 1. Where ``record`` is null, ``fault`` says what is wrong with the
    row and ``line`` is the row as it stands in the file. Count the rows first: that finds a file
    that is damaged.
    """
    if layout.kind == "parquet":
        try:
            connection.execute(_STAGE_PARQUET, {"file": literal(file), "staged": str(staged)})
        except duckdb.OperationalError:  # the disk or the memory, not the file
            raise
        except duckdb.Error as error:
            raise _not_parquet(file, error) from None
        return
    batches = row_batches(file, layout)
    connection.register("file_rows", pa.RecordBatchReader.from_batches(_ROWS, batches))
    connection.execute(_STAGE_LINES, {"staged": str(staged)})
    connection.unregister("file_rows")


def row_batches(file: Path, layout: FileLayout) -> Iterator[pa.RecordBatch]:
    """The rows of any file but Parquet: ``row_number`` from 1, ``line`` and ``fault``."""
    if _is_lines(layout):
        yield from _json_line_batches(file, layout)
        return
    first = 1
    for batch in _batched(_rows(file, layout), lambda row: len(row[0])):
        texts, faults = zip(*batch, strict=True)
        numbers = range(first, first + len(batch))
        first += len(batch)
        yield pa.record_batch([list(numbers), list(texts), list(faults)], schema=_ROWS)


def _is_lines(layout: FileLayout) -> bool:
    return layout.kind == "json" and layout.rows_at is None


def _rows(file: Path, layout: FileLayout) -> Iterator[_Line]:
    if layout.kind == "csv":
        return _csv_rows(file, layout)
    if layout.kind == "xlsx":
        return ((row, None) for row in sheet_rows(file, str(layout.sheet)))
    rows = element_rows(file, layout) if layout.kind == "xml" else array_rows(file, layout)
    return map(row_text, rows)


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


def _filled_lines(file: Path, layout: FileLayout) -> Iterator[list[bytes]]:
    for lines in line_blocks(file, layout):
        if filled := [line for line in lines if line and not line.isspace()]:
            yield filled


def _json_line_batches(file: Path, layout: FileLayout) -> Iterator[pa.RecordBatch]:
    first, encoding = 1, line_encoding(layout)
    for lines in _filled_lines(file, layout):
        numbers = pa.array(range(first, first + len(lines)), pa.int64())
        first += len(lines)
        told = pa.nulls(len(lines), pa.string())
        try:
            if encoding != UTF8:
                raise pa.ArrowInvalid
            texts = pa.array(lines, pa.string())
        except pa.ArrowInvalid:
            decoded = [
                (line, None) if encoding == UTF8 and line.isascii() else _decoded(line, encoding)
                for line in lines
            ]
            texts = pa.array([text for text, _ in decoded], pa.string())
            told = pa.array([fault for _, fault in decoded], pa.string())
        yield pa.record_batch([numbers, texts, told], schema=_ROWS)


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


def _decoded(line: bytes, encoding: str) -> _Line:
    try:
        text = line.decode(encoding)
        if "\0" in text:
            return text.replace("\0", "\\0"), f"a zero byte at byte {line.find(0) + 1}"
        return text, None
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == UTF8 else encoding
        return (
            line.decode(encoding, errors="backslashreplace"),
            f"not {name} at byte {error.start + 1}",
        )


def _csv_rows(file: Path, layout: FileLayout) -> Iterator[_Line]:
    """Each row below the header as a JSON object, or as it stands with what is wrong with it."""
    encoding, delimiter = line_encoding(layout), str(layout.delimiter)
    put_back: deque[bytes] = deque()
    groups = _quoted_together(
        text_lines(file, layout), str(layout.quote).encode(encoding), put_back
    )
    first = next(islice(groups, layout.header_lines, None), [b""])
    header = _csv_header(file, [_decoded(line, encoding)[0] for line in first], layout)
    if header is None:
        put_back.extendleft(reversed(first[1:]))
        header = _only_line_of_names(file, _decoded(first[0], encoding)[0], layout)
    for group in groups:
        texts = [_decoded(line, encoding) for line in group]
        rows = _fields([text for text, _ in texts], layout, header)
        if rows is not None and not any(fault for _, fault in texts):
            yield from ((json.dumps(dict(zip(header, row, strict=True))), None) for row in rows)
            continue
        # A quote that is never closed would swallow the rows after it: they are read without it.
        put_back.extendleft(reversed(group[1:]))
        text, fault = texts[0]
        alone = None if fault else _fields([text], layout, header)
        if alone:
            yield json.dumps(dict(zip(header, alone[0], strict=True))), None
        else:
            yield text, fault or f"not {len(header)} fields separated by {delimiter!r}"


def _fields(lines: list[str], layout: FileLayout, header: list[str]) -> list[list[str]] | None:
    """The rows in the lines, or None where one of them has not the header's fields."""
    rows = _parsed(lines, layout)
    if rows is None or not all(len(row) == len(header) for row in rows):
        return None
    if len(rows) == 1 and len(lines) >= _ROWS_WITHIN_A_QUOTE + 2:
        alone = (_parsed([line], layout) for line in lines[1:-1])
        if all(found and len(found[0]) == len(header) for found in alone):
            return None
    return rows


def _parsed(lines: list[str], layout: FileLayout) -> list[list[str]] | None:
    """The rows in the lines, or None where there is a fault; a carriage return is a blank."""
    try:
        return _strictly_parsed(lines, layout)
    except csv.Error:
        pass
    try:
        without = [line.replace("\r", " ") for line in lines]
        return _strictly_parsed(without, layout) if without != lines else None
    except csv.Error:
        return None


def _strictly_parsed(lines: list[str], layout: FileLayout) -> list[list[str]]:
    rows = csv_rows(
        lines,
        str(layout.delimiter),
        str(layout.quote),
        strict=True,
        skips_blanks=layout.skips_blanks,
    )
    return list(rows)


def _quoted_together(
    lines: Iterator[bytes], quote: bytes, put_back: deque[bytes]
) -> Iterator[list[bytes]]:
    """Lines that are not blank one by one, or several where a quoted value may span them.

    Within a quoted value a blank line is part of it. Lines that the caller puts back are read
    again, before the others.
    """
    group: list[bytes] = []
    size, open_quote = 0, False
    while True:
        line = put_back.popleft() if put_back else next(lines, None)
        if line is None:
            if not group:
                return
        elif group or line.strip():
            group.append(line)
            size += len(line)
            open_quote ^= bool(quote and line.count(quote) % 2)
            if open_quote and size < _BATCH_BYTES:
                continue
        else:
            continue
        yield group
        group, size, open_quote = [], 0, False


def _csv_header(file: Path, lines: list[str], layout: FileLayout) -> list[str] | None:
    """The names of the columns; None where the lines are not one row of names."""
    rows = _parsed(lines, layout)
    return _names(file, rows[0], lines[0]) if rows is not None and len(rows) == 1 else None


def _only_line_of_names(file: Path, line: str, layout: FileLayout) -> list[str]:
    rows = csv_rows([line.replace("\r", " ")], str(layout.delimiter), str(layout.quote))
    return _names(file, next(rows, []), line)


def _names(file: Path, names: list[str], line: str) -> list[str]:
    header = [one_line(name) or f"column_{place}" for place, name in enumerate(names, 1)]
    is_sentence = len(header) < 2 and not re.fullmatch(r"\w+", header[0] if header else "")
    if is_sentence or len(set(header)) < len(header):
        raise PlatformError(
            f"{file} is not a CSV file with a header: its first line is {line[:80]!r}.",
            "Its first line has to name the columns, each of them once, between commas,"
            " semicolons, tabs, | or #; or say what parts them: delimiter = ... in sources.toml.",
        )
    return header
