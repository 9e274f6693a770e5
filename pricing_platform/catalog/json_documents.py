"""JSON documents that hold their rows in an array, read as streams.

Here belongs where in a document the rows are, and taking them out. One object a line is no
document: that belongs to ``records``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pricing_platform.catalog.data_files import opened
from pricing_platform.catalog.file_text import (
    FileLayout,
    line_encoding,
    text_lines,
    utf8_stream,
)
from pricing_platform.errors import PlatformError

_ITEM = "item"


def array_of_rows(file: Path, layout: FileLayout) -> str | None:
    """Where the array of rows is, as ijson names its items; None for one object a line.

    In an object that is the longest array of objects in it, at whatever depth.

    Raises:
        PlatformError: when the file is one document without such an array, or no JSON.
    """

    filled = (line for line in text_lines(file, layout) if line.strip())
    lines = [line.decode(line_encoding(layout), "replace") for line in islice(filled, 2)]
    if not lines:
        return None
    if lines[0].lstrip()[:1] == "[":
        return _ITEM
    is_row = _is_object(lines[0])
    if is_row and len(lines) > 1:
        return None
    found = _longest_array(file, layout)
    if found is None and not is_row and lines[0].lstrip()[:1] == "{" and _is_document(file, layout):
        raise PlatformError(
            f"{file} is a JSON document without an array of objects.",
            "Give an array of rows, an object that holds one, or one object a line.",
        )
    return found


def array_rows(file: Path, layout: FileLayout) -> Iterator[object]:
    """The items of the array, as Python objects.

    Raises:
        PlatformError: when the document is cut off or is no JSON.
    """
    import ijson

    with opened(file) as raw:
        try:
            yield from ijson.items(utf8_stream(raw, layout), layout.array, use_float=True)
        except ijson.JSONError as error:
            raise PlatformError(
                f"{file} is cut off or is no JSON: {str(error).splitlines()[0]}.",
                "Fetch the file again.",
            ) from None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _longest_array(file: Path, layout: FileLayout) -> str | None:
    import ijson

    counts: Counter[str] = Counter()
    with opened(file) as raw:
        try:
            for prefix, event, _ in ijson.parse(utf8_stream(raw, layout), use_float=True):
                if event == "start_map" and prefix.split(".").count(_ITEM) == 1:
                    counts[prefix] += prefix.endswith(f".{_ITEM}")
        except ijson.JSONError:
            return None  # more than one document: lines, some of which may be damaged
    found = counts.most_common(1)
    return found[0][0] if found and found[0][1] else None


def _is_document(file: Path, layout: FileLayout) -> bool:
    import ijson

    with opened(file) as raw:
        try:
            for _ in ijson.parse(utf8_stream(raw, layout)):
                pass
        except ijson.JSONError:
            return False
    return True
