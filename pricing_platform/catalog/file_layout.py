"""How a file is written: its encoding, delimiter, quote and sheet, as declared or as found.

Here belong the declaration and the detection. Reading rows by what was found belongs to
``records``. What is found is recorded with the snapshot, and what can't be told is asked for by
name: nothing is guessed in silence.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pricing_platform.catalog.data_files import FileKind, file_kind, opened
from pricing_platform.catalog.file_text import (
    LONGEST_LINE,
    UTF8,
    UTF8_WITH_MARK,
    FileLayout,
    csv_rows,
    line_encoding,
    text_lines,
)
from pricing_platform.catalog.json_documents import array_of_rows
from pricing_platform.catalog.spreadsheets import filled_sheets
from pricing_platform.catalog.xml_documents import row_element
from pricing_platform.errors import PlatformError

WINDOWS_1252 = "cp1252"
_MARKS = {
    codecs.BOM_UTF8: UTF8_WITH_MARK,
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Longest first: the mark of UTF-32 begins like that of UTF-16."""

_DELIMITERS = ",;\t|#"
_SAMPLE_BYTES = 2**16
_SAMPLE_ROWS = 200
_FEWEST_BAD_JSON = 10
_BAD_SAMPLE_BYTES = 200_000
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_XML_DECLARATION = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"']+)["']""")
_WESTERN = "äöüßÄÖÜàâáãåæçèéêëìíîïñòóôõøœùúûÿÀÁÂÃÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕØŒÙÚÛÝýŠšŽž"
_WESTERN_MARKS = "\xa0€£¥§©®™°²³½¼¾±×÷–—‘’‚“”„•…‰‹›«»·´¡¿¢µºª¦¨¯¸¶†‡ˆ˜"
_LONGEST_RUN = 3
"""Letters beyond ASCII in a row that a Western word has at most."""


def _known_encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"{name!r} is no encoding that is known") from None


class DeclaredLayout(BaseModel):
    """What a source says of how its files are written; None where it leaves that to be found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = Field(
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


def file_layout(file: Path, declared: DeclaredLayout) -> FileLayout:
    """What is declared, and of all else what is found in the file.

    Raises:
        PlatformError: when the file is damaged, or how it is written can't be told.
    """
    kind = file_kind(file)
    if kind == "parquet":
        return FileLayout(kind)
    if kind == "xlsx":
        return FileLayout(kind, sheet=_sheet(file, declared.sheet))
    encoding, has_plain_ends = _encoding(file, declared.encoding)
    layout = FileLayout(kind, encoding=encoding, has_plain_ends=has_plain_ends)
    if kind == "csv":
        return _csv_layout(file, layout, declared)
    if kind == "json":
        return replace(layout, array=array_of_rows(file, layout))
    if kind == "xml":
        return replace(layout, array=row_element(file, layout))
    return layout


def _encoding(file: Path, declared: str | None) -> tuple[str, bool]:
    """The encoding, and whether lines end in a line feed.

    Raises:
        PlatformError: when the file is binary, or its encoding can't be told.
    """
    with opened(file) as stream:
        start = stream.read(_SAMPLE_BYTES)
        found = declared or _marked(start) or _without_mark(start)
        if file_kind(file) == "xml":
            found = found or _in_xml_declaration(file, start)
        if found is None and b"\0" in start:
            raise PlatformError(
                f"{file} is not text but binary.", "Name the file after what it is."
            )
        text = start.decode(found or "latin-1", "replace")
        has_plain_ends = "\n" in text or "\r" not in text
        if found is not None:
            return found, has_plain_ends
    return _eight_bits(file, file_kind(file)), has_plain_ends


def _marked(start: bytes) -> str | None:
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)


def _in_xml_declaration(file: Path, start: bytes) -> str | None:
    told = _XML_DECLARATION.match(start)
    if told is None:
        return None
    name = told[1].decode("ascii", "replace")
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise PlatformError(
            f"{file} declares the encoding {name!r}, which is none that is known.",
            'Say how the file is written, as encoding = "cp1250", in sources.toml.',
        ) from None


def _without_mark(start: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of most letters is 0."""
    if len(start) < 4:
        return None
    even, odd = start[::2].count(0), start[1::2].count(0)
    half = len(start) / 2
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else None


def _eight_bits(file: Path, kind: FileKind) -> str:
    """UTF-8, or Windows-1252 where most lines with letters beyond ASCII are that.

    A line here and there that is no UTF-8 is one that is damaged, and is told of as a row. JSON is
    UTF-8 by its standard, so there it takes more of them; and whoever writes letters as ``\\u00fc``
    writes no others: what lies beyond ASCII beside such lines is damage.
    """
    good = bad = 0
    sample = bytearray()
    with opened(file) as stream:
        for line in iter(partial(stream.readline, LONGEST_LINE), b""):
            if line.isascii():
                good += kind == "json" and b"\\u" in line
                continue
            try:
                line.decode(UTF8)
                good += 1
            except UnicodeDecodeError:
                bad += 1
                if len(sample) < _BAD_SAMPLE_BYTES:
                    sample += line
    if bad <= good or (kind == "json" and bad < _FEWEST_BAD_JSON):
        return UTF8
    if _is_western(bytes(sample)):
        return WINDOWS_1252
    guess = _likeliest(bytes(sample))
    raise PlatformError(
        f"{file}: {bad:,} rows are not UTF-8, and not Windows-1252 either.",
        f"Say how the file is written: encoding = {guess!r} in sources.toml, if that is right."
        if guess
        else 'Say how the file is written, as encoding = "cp1250", in sources.toml.',
    )


def _is_western(sample: bytes) -> bool:
    """Whether bytes read as Windows-1252 give letters and marks that Western texts have."""
    try:
        text = sample.decode(WINDOWS_1252)
    except UnicodeDecodeError:
        return False
    beyond = [letter for letter in text if not letter.isascii()]
    expected = sum(letter in _WESTERN or letter in _WESTERN_MARKS for letter in beyond)
    inside = len(re.findall(rf"(?<=[^\W\d_])[{re.escape(_WESTERN_MARKS)}](?=[^\W\d_])", text))
    apostrophes = len(re.findall(r"(?<=[^\W\d_])[’‘´·\xa0–—](?=[^\W\d_])", text))
    runs = re.findall(rf"[{_WESTERN}]{{{_LONGEST_RUN + 1},}}", text)
    odd = inside - apostrophes + sum(map(len, runs))
    return expected >= 0.98 * len(beyond) and odd <= 0.02 * len(beyond)


def _likeliest(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return None if best is None else str(best.encoding)


def _csv_layout(file: Path, layout: FileLayout, declared: DeclaredLayout) -> FileLayout:
    quote = '"' if declared.quote is None else declared.quote
    lines = [
        line.decode(line_encoding(layout), "replace")
        for line in islice((at for at in text_lines(file, layout) if at.strip()), _SAMPLE_ROWS)
    ]
    told = _SEPARATOR_LINE.fullmatch(lines[0].strip(" \r\n")) if lines else None
    delimiter = declared.delimiter or (told[1] if told else None)
    return replace(
        layout,
        delimiter=delimiter or _delimiter(lines, quote),
        quote=quote,
        header_lines=1 if told else 0,
    )


def _delimiter(lines: list[str], quote: str) -> str:
    """The one by which most rows have the header's fields, two or more.

    Of equals, the one after which no blank stands, as one does after a comma of a sentence, and
    then the one of more fields.
    """

    def fit(delimiter: str) -> tuple[float, float, int]:
        rows = list(csv_rows(lines, delimiter, quote))
        fields = len(rows[0]) if rows else 0
        if fields < 2:
            return 0.0, 0.0, 0
        sizes = Counter(len(row) for row in rows)
        after = [field.startswith(" ") for row in rows for field in row[1:]]
        return round(sizes[fields] / len(rows), 2), -sum(after) / max(len(after), 1), fields

    best = max(_DELIMITERS, key=fit)
    if fit(best)[0] > 0:
        return best
    return next((at for at in _DELIMITERS if not any(at in line for line in lines)), best)


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
