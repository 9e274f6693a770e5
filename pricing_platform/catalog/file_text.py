"""The text of a file in whatever encoding, as lines or as a stream of UTF-8.

Here belongs decoding by a layout that is known. Finding the layout belongs to ``file_layout``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from pricing_platform.catalog.data_files import FileKind, opened
from pricing_platform.errors import PlatformError

LONGEST_LINE = 64 * 2**20
"""Bytes that a line may have; a longer one means that the file is something else."""

csv.field_size_limit(LONGEST_LINE)

UTF8, UTF8_WITH_MARK = "utf-8", "utf-8-sig"
_BLOCK_BYTES = 2**20  # few enough that the next block takes the memory of the one before
_BYTE_ORDER_MARK = "\ufeff"
"""What may stand before a text in any encoding that has it, and is no part of the text."""


@dataclass(frozen=True)
class FileLayout:
    """How one file is written; None for what its kind does not have.

    ``encoding`` as Python names it; ``header_lines``: lines before the header of a CSV file;
    ``skips_blanks``: whether blanks between a delimiter and a quote belong to neither;
    ``rows_at``: where in a JSON document the rows are, as ``shops[].products[]``, None for one
    object a line, or in an XML document the path of the element that is a row; ``has_plain_ends``:
    whether its lines end in a line feed.
    """

    kind: FileKind
    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    sheet: str | None = None
    header_lines: int = 0
    rows_at: str | None = None
    has_plain_ends: bool = True
    skips_blanks: bool = False


def text_lines(file: Path, layout: FileLayout) -> Iterator[bytes]:
    """The lines without their ends, blank ones included, in :func:`line_encoding`.

    Raises:
        PlatformError: when the file is damaged or has a line that is too long.
    """
    for lines in line_blocks(file, layout):
        yield from lines


def line_blocks(file: Path, layout: FileLayout) -> Iterator[list[bytes]]:
    """As :func:`text_lines`, in blocks of as many lines as a read gave."""
    with opened(file) as raw:
        stream = _as_lines(raw, layout)
        mark = _BYTE_ORDER_MARK.encode(line_encoding(layout), "ignore")
        begun = b""
        while read := stream.read(_BLOCK_BYTES):
            read, mark = read.removeprefix(mark), b""
            *ended, last = read.split(b"\n")
            if ended:
                ended[0] = begun + ended[0]
                _check_lengths(file, ended)
                yield _without_returns(ended) if b"\r" in read or begun.endswith(b"\r") else ended
                begun = last
            else:
                begun += last
                _check_lengths(file, [begun])
        if begun:
            yield _without_returns([begun])


def _without_returns(lines: list[bytes]) -> list[bytes]:
    return [line.rstrip(b"\r") for line in lines]


def _check_lengths(file: Path, lines: list[bytes]) -> None:
    if max(map(len, lines)) > LONGEST_LINE:
        raise PlatformError(
            f"{file} has a line of more than {LONGEST_LINE >> 20} MB.",
            "One row a line is expected: check that the file is what its name says.",
        )


def csv_rows(
    lines: list[str],
    delimiter: str,
    quote: str,
    *,
    strict: bool = False,
    skips_blanks: bool = False,
) -> Iterator[list[str]]:
    """The rows of lines without ends; unless ``strict``, faults are taken as they stand.

    Raises:
        csv.Error: when a line end stands in a field without quotes, or, if ``strict``, for any
            fault.
    """
    yield from csv.reader(
        (f"{line}\n" for line in lines),
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        strict=strict,
        skipinitialspace=skips_blanks,
    )


def one_line(name: str) -> str:
    """The name of a column without blanks around it, and without line breaks in it."""
    return re.sub(r"\s*[\r\n]+\s*", " ", name.strip())


def line_encoding(layout: FileLayout) -> str:
    """What :func:`text_lines` gives lines in: where a byte is not a character, it is UTF-8."""
    is_utf8 = _is_recoded(layout) or layout.encoding == UTF8_WITH_MARK
    return UTF8 if is_utf8 else str(layout.encoding)


def utf8_stream(raw: BinaryIO, layout: FileLayout) -> BinaryIO:
    """The text in UTF-8, without a mark; what is no text in its encoding is replaced."""
    return cast("BinaryIO", _Recoded(raw, str(layout.encoding), None))


def _is_recoded(layout: FileLayout) -> bool:
    return not layout.has_plain_ends or not _has_ascii_bytes(str(layout.encoding))


@cache
def _has_ascii_bytes(encoding: str) -> bool:
    """Whether line ends and quotes are the bytes of ASCII, and those bytes nothing else."""
    shifts = encoding.startswith(("iso2022", "hz", "utf-7"))
    return not shifts and b'\n"'.decode(encoding, "replace") == '\n"'


def _as_lines(raw: BinaryIO, layout: FileLayout) -> BinaryIO:
    if not _is_recoded(layout):
        return raw
    newline = "\n" if layout.has_plain_ends else None
    return cast("BinaryIO", _Recoded(raw, str(layout.encoding), newline))


class _Recoded:
    """A text in any encoding as UTF-8, line by line or in blocks."""

    def __init__(self, raw: BinaryIO, encoding: str, newline: str | None) -> None:
        self._text = io.TextIOWrapper(
            io.BufferedReader(_Readable(raw)), encoding, "backslashreplace", newline
        )
        self._is_at_start = True

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._text.readline(-1 if size is None else size).encode()

    def read(self, size: int = -1, /) -> bytes:
        text = self._text.read(size)
        if self._is_at_start and text:
            self._is_at_start = False
            text = text.removeprefix(_BYTE_ORDER_MARK) or self._text.read(size)
        return text.encode()


class _Readable(io.RawIOBase):
    """Any stream of bytes as :mod:`io` wants to wrap it; it is closed by whoever opened it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        found = self._stream.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)
