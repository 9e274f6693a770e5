"""How a file is written: its encoding, delimiter, quote and sheet, as declared or as found.

Here belong the declaration and the detection; the encoding's belongs to ``file_encoding``. Reading
rows by what was found belongs to ``records``. What is found is recorded with the snapshot, and what
can't be told is asked for by name: nothing is guessed in silence.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pricing_platform.catalog.data_files import file_kind
from pricing_platform.catalog.file_encoding import encoding_of, known_encoding
from pricing_platform.catalog.file_text import FileLayout, csv_rows, line_encoding, text_lines
from pricing_platform.catalog.json_documents import place_of_rows
from pricing_platform.catalog.spreadsheets import filled_sheets
from pricing_platform.catalog.xml_documents import row_element
from pricing_platform.errors import PlatformError

DEFAULT_QUOTE = '"'
_DELIMITERS = ",;\t|#"
_SAMPLE_ROWS = 200
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


class DeclaredLayout(BaseModel):
    """What a source says of how its files are written; None where it leaves that to be found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoding: Annotated[str, AfterValidator(known_encoding)] | None = Field(
        None, description="The text's encoding, as `cp1252`; found where it is not given."
    )
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="What parts the fields of a CSV file."
    )
    quote: str | None = Field(
        None, max_length=1, description="What encloses a field; '' for nothing."
    )
    decimal: Literal[".", ","] | None = Field(
        None, description="What parts a number's decimals in the file."
    )
    sheet: str | None = Field(None, description="The sheet of an Excel file.")
    rows_at: str | None = Field(
        None,
        description="Where in a document the rows are: `shops[].products[]` or `rss/channel/item`.",
    )

    @model_validator(mode="after")
    def _delimiter_and_quote_differ(self) -> Self:
        quote = DEFAULT_QUOTE if self.quote is None else self.quote
        if self.delimiter == quote:
            raise ValueError(f"delimiter and quote are both {quote!r}: nothing tells them apart")
        if {self.delimiter, quote} & {"\n", "\r", "\0"}:
            raise ValueError("delimiter and quote are characters other than line ends")
        return self


def file_layout(file: Path, declared: DeclaredLayout, columns: Collection[str] = ()) -> FileLayout:
    """What is declared, and of all else what is found in the file.

    Args:
        file: of any kind.
        declared: how it is written, as far as that is known.
        columns: that rows are expected to have, by which the rows of a document are found.

    Raises:
        PlatformError: when the file is damaged, or how it is written can't be told.
    """
    kind = file_kind(file)
    if kind == "parquet":
        return FileLayout(kind)
    if kind == "xlsx":
        return FileLayout(kind, sheet=_sheet(file, declared.sheet))
    encoding, has_plain_ends = encoding_of(file, declared.encoding)
    layout = FileLayout(kind, encoding=encoding, has_plain_ends=has_plain_ends)
    if kind == "csv":
        return _csv_layout(file, layout, declared)
    if kind == "json":
        return replace(layout, rows_at=place_of_rows(file, layout, columns, declared.rows_at))
    if kind == "xml":
        return replace(layout, rows_at=row_element(file, layout, columns, declared.rows_at))
    return layout


def _csv_layout(file: Path, layout: FileLayout, declared: DeclaredLayout) -> FileLayout:
    quote = DEFAULT_QUOTE if declared.quote is None else declared.quote
    lines = [
        line.decode(line_encoding(layout), "replace").replace("\r", " ")
        for line in islice((at for at in text_lines(file, layout) if at.strip()), _SAMPLE_ROWS)
    ]
    told = _SEPARATOR_LINE.fullmatch(lines[0].strip(" \r\n")) if lines else None
    if told and told[1] == quote:
        told = None
    delimiter = declared.delimiter or (told[1] if told else None) or _delimiter(lines, quote)
    return replace(
        layout,
        delimiter=delimiter,
        quote=quote,
        header_lines=1 if told else 0,
        skips_blanks=_has_blanks_before_quotes(lines, delimiter, quote),
    )


def _delimiter(lines: list[str], quote: str) -> str:
    """The one by which most rows have the header's fields, two or more.

    Of equals, the one after which no blank stands, as one does after a comma of a sentence, and
    then the one of more fields.
    """

    def fit(delimiter: str) -> tuple[float, float, int]:
        skips_blanks = _has_blanks_before_quotes(lines, delimiter, quote)
        try:
            rows = list(csv_rows(lines, delimiter, quote, skips_blanks=skips_blanks))
        except csv.Error:
            return 0.0, 0.0, 0
        fields = len(rows[0]) if rows else 0
        if fields < 2:
            return 0.0, 0.0, 0
        sizes = Counter(len(row) for row in rows)
        after = [field.startswith(" ") for row in rows for field in row[1:]]
        return round(sizes[fields] / len(rows), 2), -sum(after) / max(len(after), 1), fields

    possible = _DELIMITERS.replace(quote, "") if quote else _DELIMITERS
    best = max(possible, key=fit)
    if fit(best)[0] > 0:
        return best
    return next((at for at in possible if not any(at in line for line in lines)), best)


def _has_blanks_before_quotes(lines: list[str], delimiter: str, quote: str) -> bool:
    """Whether a line has a whole quoted field after a delimiter and blanks."""
    if not quote:
        return False
    q, d = re.escape(quote), re.escape(delimiter)
    field = re.compile(f"{d} +{q}(?:[^{q}]|{q}{q})*+{q}(?:{d}|$)")
    return any(field.search(line) for line in lines)


def _sheet(file: Path, declared: str | None) -> str:
    """The declared sheet, or the only one that holds anything.

    Raises:
        PlatformError: when there is no such sheet, or several hold something.
    """
    filled = filled_sheets(file)
    if declared is not None and declared in filled:
        return declared
    if declared is None and len(filled) == 1:
        return filled[0]
    if not filled:
        raise PlatformError(f"{file} has no rows.", "Fetch the file again or remove it.")
    what = f"no sheet {declared!r}" if declared is not None else f"{len(filled)} sheets with rows"
    raise PlatformError(
        f"{file} has {what}: {', '.join(map(repr, filled))}.",
        f"Say which one is meant: sheet = {filled[0]!r} in sources.toml.",
    )
