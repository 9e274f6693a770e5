"""JSON documents that hold their rows in an array, or one after the other, read as streams.

Here belongs where in a document rows may be, and taking them out. One object a line is no document:
that belongs to ``records``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from pricing_platform.catalog.data_files import is_named_as_lines, opened
from pricing_platform.catalog.file_text import (
    FileLayout,
    line_encoding,
    text_lines,
    utf8_stream,
)
from pricing_platform.catalog.row_places import Place, chosen_place, declared_place, plain
from pricing_platform.errors import PlatformError

_NO_NUMBER = "\ufdd0"
"""Begins the texts that stand for NaN and Infinity, which JSON has not; no text has it."""

_WHOLE = "$"
"""Where rows are that are the document's outermost objects."""

_ARRAY = "[]"
_ROWS_LOOKED_AT = 100
_LINES_LOOKED_AT = 100


def place_of_rows(
    file: Path, layout: FileLayout, columns: Collection[str], declared: str | None
) -> str | None:
    """Where the rows are, as ``shops[].products[]``; None for one object a line.

    It is the array of objects that has most of the columns, or where none are known the longest.

    Args:
        file: a JSON file.
        layout: how its text is written.
        columns: that rows are expected to have.
        declared: the place, where it is known.

    Raises:
        PlatformError: when the file is one document without such an array, or has several.
    """
    wanted = {plain(column) for column in columns}
    if declared is not None:
        path = _as_found(declared)
        places = _places(file, layout, wanted)
        return path if places is None else declared_place(file, places, path).path
    filled = (line for line in text_lines(file, layout) if line.strip())
    lines = [
        line.decode(line_encoding(layout), "replace") for line in islice(filled, _LINES_LOOKED_AT)
    ]
    if not lines:
        return None
    first = lines[0].lstrip()[:1]
    if first == "[" and not wanted:
        return _ARRAY
    is_row = _is_object(lines[0])
    if is_row and (len(lines) > 1 or is_named_as_lines(file)):
        return None
    places = _places(file, layout, wanted)
    if places is None:  # damaged, or lines of which some are
        if first == "{" and not any(map(_is_object, lines)):
            return _WHOLE
        return _ARRAY if first == "[" else None
    found = _chosen(file, places, wanted)
    if found is None and first == "[":
        return _ARRAY
    if found is None and not is_row and first == "{":
        raise PlatformError(
            f"{file} is a JSON document without an array of objects.",
            "Give an array of rows, an object that holds one, or one object a line.",
        )
    return found


def array_rows(file: Path, layout: FileLayout) -> Iterator[object]:
    """The rows at ``layout.rows_at``, as Python objects, to be written by :func:`row_text`.

    Raises:
        PlatformError: when the document is cut off or is no JSON.
    """
    import ijson

    # As ijson names what stands there: shops.item.products.item.
    prefix = str(layout.rows_at).removeprefix(_WHOLE).replace(_ARRAY, ".item").removeprefix(".")
    read = 0
    for reader in _READERS:
        with opened(file) as raw:
            found = ijson.items(reader(raw, layout), prefix, multiple_values=True)
            try:
                for row in islice(found, read, None):
                    read += 1
                    yield row
            except ijson.JSONError as error:
                what = str(error).splitlines()[0]
            else:
                return
    raise PlatformError(f"{file} is cut off or is no JSON: {what}.", "Fetch the file again.")


def row_text(row: object) -> tuple[str, str | None]:
    """A row as JSON, and what is wrong with it."""
    text = json.dumps(row, ensure_ascii=False, default=float)
    if _NO_NUMBER in text:
        text = re.sub(f'"{_NO_NUMBER}(-?[A-Za-z]+)"', r"\1", text)
        return text, "NaN or Infinity, which are no JSON: write null"
    return text, None if isinstance(row, dict) else "not a JSON object"


class _NumbersOnly:
    """A JSON document in UTF-8 in which NaN and Infinity are texts that say so."""

    _TOKEN = re.compile(
        rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(?P<open>")|(?P<odd>-?(?:NaN|Infinity))|(?P<cut>[-A-Za-z]+\Z)',
        re.DOTALL,
    )

    def __init__(self, raw: BinaryIO, layout: FileLayout) -> None:
        self._stream = utf8_stream(raw, layout)
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        while size:
            block = self._stream.read(size)
            text = self._rest + block
            parts, start, end = [], 0, len(text)
            for token in self._TOKEN.finditer(text):
                if token["odd"]:
                    parts += [
                        text[start : token.start()],
                        f'"{_NO_NUMBER}'.encode(),
                        token[0],
                        b'"',
                    ]
                    start = token.end()
                elif block and (token["open"] or token["cut"]):  # it goes on in the next block
                    end = token.start()
                    break
            self._rest = text[end:]
            if told := b"".join([*parts, text[start:end]]):
                return told
            if not block:
                break
        return b""


_READERS: tuple[Callable[[BinaryIO, FileLayout], Any], ...] = (utf8_stream, _NumbersOnly)
"""The second is for documents in which the first finds a fault."""


def _as_found(declared: str) -> str:
    """A place as a user may write it (``$.products[*]``, ``products``) as it is found."""
    path = declared.strip().removeprefix(_WHOLE).removeprefix(".").replace("[*]", _ARRAY)
    return f"{path.removesuffix(_ARRAY)}{_ARRAY}" if path else _WHOLE


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _chosen(file: Path, places: list[Place], wanted: Collection[str]) -> str | None:
    arrays = [place for place in places if place.path != _WHOLE]
    whole = next((place for place in places if place.path == _WHOLE), None)
    if whole is not None:
        most = max((len(place.columns) for place in arrays), default=0)
        is_row = bool(wanted) and len(whole.columns) == len(wanted) > most
        if is_row or (whole.rows > 1 and len(whole.columns) >= most):
            return _WHOLE
        if not arrays and whole.columns:
            return _WHOLE
    if not arrays:
        return None
    return chosen_place(file, sorted(arrays, key=lambda place: -place.rows), wanted).path


@dataclass
class _Open:
    """An object or an array that is being read; ``place`` where it is a row."""

    path: str
    is_array: bool
    place: Place | None
    key: str = ""

    def path_within(self) -> str:
        if self.is_array:
            return self.path + _ARRAY
        return f"{self.path}.{self.key}" if self.path else self.key


def _places(file: Path, layout: FileLayout, wanted: Collection[str]) -> list[Place] | None:
    """Where objects stand one after the other; None where the file is no JSON as a whole.

    An outermost array whose first rows have all that is wanted is not read on.
    """
    import ijson

    for reader in _READERS:
        places: dict[str, Place] = {}
        opened_now: list[_Open] = []
        with opened(file) as raw:
            try:
                for event, value in ijson.basic_parse(reader(raw, layout), multiple_values=True):
                    if event == "map_key":
                        opened_now[-1].key = value
                        if place := opened_now[-1].place:
                            place.see(value, wanted)
                    elif event in ("start_map", "start_array"):
                        is_array = event == "start_array"
                        opened_now.append(_opened(opened_now, places, is_array=is_array))
                    elif event in ("end_map", "end_array"):
                        closed = opened_now.pop().place
                        if closed and _is_clear(closed, wanted):
                            return [closed]
            except ijson.JSONError:
                continue
        return list(places.values())
    return None


def _is_clear(place: Place, wanted: Collection[str]) -> bool:
    """Whether the first rows of an outermost array have all that is wanted."""
    is_early = place.path == _ARRAY and place.rows < _ROWS_LOOKED_AT
    return is_early and bool(wanted) and len(place.columns) == len(wanted)


def _opened(around: list[_Open], places: dict[str, Place], *, is_array: bool) -> _Open:
    path = around[-1].path_within() if around else ""
    place = None
    if not is_array and (not around or around[-1].is_array):
        name = path or _WHOLE
        if name not in places:
            outer = frozenset(at.place.path for at in around if at.place)
            places[name] = Place(name, outer)
        place = places[name]
        place.rows += 1
    return _Open(path, is_array, place)
