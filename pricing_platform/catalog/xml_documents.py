"""XML documents that repeat one element for every row, read as streams.

Here belongs which element of a document is its row, and taking the rows out. What their fields mean
belongs to the source's format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defusedxml.common import EntitiesForbidden
from defusedxml.ElementTree import DefusedXMLParser, ParseError, iterparse

from pricing_platform.catalog.data_files import opened
from pricing_platform.catalog.file_text import UTF8, FileLayout, utf8_stream
from pricing_platform.errors import PlatformError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ROW_NAMES = ("item", "entry", "product", "offer")
"""What RSS, Atom and most feeds call a row."""

_TEXT = "text"


def row_element(file: Path, layout: FileLayout) -> str:
    """The path of the element that is a row, as ``rss/channel/item``.

    It is the one with the usual name, or else the one nearest to the root that holds elements and
    is repeated.

    Raises:
        PlatformError: when there is none, or the file is damaged or no XML.
    """
    counts: Counter[str] = Counter()
    for path, element in _ends(file, layout):
        if path.count("/") and len(element):
            counts[path] += 1
        _forget_fields(element)
    paths = sorted(counts, key=lambda path: (path.count("/"), -counts[path]))
    named = [path for path in paths if path.rsplit("/", 1)[1] in _ROW_NAMES]
    repeated = [path for path in paths if counts[path] > 1]
    if found := named or repeated:
        return found[0]
    raise PlatformError(
        f"{file} is an XML document without an element that is repeated for every row.",
        "Give a feed whose rows are elements such as <item>, or export it as CSV.",
    )


def element_rows(file: Path, layout: FileLayout) -> Iterator[dict[str, Any]]:
    """Each row: the names of its elements, with their prefix, and what they hold.

    An element of text is that text, one that holds others is an object, several of one name are a
    list; attributes are fields too.

    Raises:
        PlatformError: when the file is damaged or no XML.
    """
    for path, element in _ends(file, layout):
        if path == layout.array:
            yield _fields(element)
            element.clear()
        elif not path.startswith(f"{layout.array}/"):
            element.clear()


def _ends(file: Path, layout: FileLayout) -> Iterator[tuple[str, Element]]:
    """The path and the element, with its names as written, where each element ends."""
    prefixes: dict[str, str] = {}
    names: list[str] = []
    parser = DefusedXMLParser(encoding=UTF8)
    with opened(file) as raw:
        try:
            for event, told in iterparse(
                utf8_stream(raw, layout), ("start-ns", "start", "end"), parser
            ):
                if event == "start-ns":
                    prefix, uri = told
                    prefixes[uri] = prefix
                elif event == "start":
                    told.tag = _as_written(told.tag, prefixes)
                    names.append(told.tag)
                else:
                    yield "/".join(names), told
                    names.pop()
        except EntitiesForbidden as error:
            raise PlatformError(
                f"{file} defines the XML entity {error.name!r}, and entities are not read.",
                "Write what it stands for in its place, or export the feed as CSV.",
            ) from None
        except ParseError as error:
            raise PlatformError(
                f"{file} is cut off or is no XML: {error}.", "Fetch the file again."
            ) from None


def _as_written(tag: str, prefixes: dict[str, str]) -> str:
    uri, brace, name = tag.removeprefix("{").rpartition("}")
    prefix = prefixes.get(uri, "")
    return f"{prefix}:{name}" if brace and prefix else name


def _forget_fields(element: Element) -> None:
    """Keeps the element itself, so that the one around it is known to hold it, and no more."""
    for child in list(element):
        element.remove(child)
    element.text = None


def _fields(element: Element) -> dict[str, Any]:
    fields: dict[str, Any] = dict(element.attrib)
    repeated: set[str] = set()
    for child in element:
        value = _fields(child) if len(child) or child.attrib else (child.text or "").strip()
        if child.tag in repeated:
            fields[child.tag].append(value)
        elif child.tag in fields:
            repeated.add(child.tag)
            fields[child.tag] = [fields[child.tag], value]
        else:
            fields[child.tag] = value
    text = (element.text or "").strip()
    return {**fields, _TEXT: text} if text and not len(element) else fields
