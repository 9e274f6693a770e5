"""XML documents that repeat one element for every row, read as streams.

Here belongs which element of a document is its row, and taking the rows out. What their fields mean
belongs to the source's format.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defusedxml.common import EntitiesForbidden
from defusedxml.ElementTree import DefusedXMLParser, ParseError, iterparse

from pricing_platform.catalog.data_files import opened
from pricing_platform.catalog.file_text import UTF8, FileLayout, utf8_stream
from pricing_platform.catalog.row_places import Place, chosen_place, declared_place, plain
from pricing_platform.errors import PlatformError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ROW_NAMES = ("item", "entry", "product", "offer")
"""What RSS, Atom and most feeds call a row."""

_TEXT = "text"
_XHTML = "xhtml"
"""The type of an element of Atom whose elements are those of its text."""


def row_element(
    file: Path, layout: FileLayout, columns: Collection[str], declared: str | None
) -> str:
    """The path of the element that is a row, as ``rss/channel/item``.

    It is one with a usual name, or else one that holds elements and is repeated; of these the one
    that has most of the columns, and of equals the one nearest to the root.

    Args:
        file: an XML file.
        layout: how its text is written.
        columns: that rows are expected to have.
        declared: the path, where it is known.

    Raises:
        PlatformError: when there is none, or several may be meant, or the file is damaged or no
            XML.
    """
    wanted = {plain(column) for column in columns}
    found: dict[str, Place] = {}
    for path, element in _ends(file, layout):
        if path.count("/") and len(element):
            place = found.setdefault(path, Place(path, _around(path)))
            place.rows += 1
            for name in (*element.attrib, *(child.tag for child in element)):
                place.see(name, wanted)
        _forget_fields(element)
    places = sorted(found.values(), key=lambda place: (place.path.count("/"), -place.rows))
    if declared is not None:
        return declared_place(file, places, declared.strip().strip("/")).path
    named = [place for place in places if place.path.rsplit("/", 1)[1] in _ROW_NAMES]
    usual = named or [place for place in places if place.rows > 1]
    with_columns = [place for place in places if place.columns]
    if not any(place.columns for place in usual):
        usual = with_columns or usual
    if usual:
        return chosen_place(file, usual, wanted).path
    raise PlatformError(
        f"{file} is an XML document without an element that is repeated for every row.",
        "Give a feed whose rows are elements such as <item>, or export it as CSV.",
    )


def _around(path: str) -> frozenset[str]:
    names = path.split("/")
    return frozenset("/".join(names[:depth]) for depth in range(2, len(names)))


def element_rows(file: Path, layout: FileLayout) -> Iterator[dict[str, Any]]:
    """Each row: the names of its elements, with their prefix, and what they hold.

    An element of text is that text, with what is marked in it, and one that holds others is an
    object. The attributes of the row and of an object are fields of it; those of a text stand
    beside it, as ``price@currency``. Texts of one name are one text, parted by ``; ``, and other
    values of one name a list.

    Raises:
        PlatformError: when the file is damaged or no XML.
    """
    for path, element in _ends(file, layout):
        if path == layout.rows_at:
            yield _fields(element)
            element.clear()
        elif not path.startswith(f"{layout.rows_at}/"):
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
                    names.append(_as_written(told.tag, prefixes))
                else:
                    # Not at its start: the parser still compares the names of the two.
                    told.tag = names[-1]
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
    found: dict[str, list[Any]] = {name: [value] for name, value in element.attrib.items()}
    for child in element:
        text = _text(child)
        if text is None:
            found.setdefault(child.tag, []).append(_fields(child))
            continue
        if text or not child.attrib:
            found.setdefault(child.tag, []).append(text)
        for name, value in child.attrib.items():
            found.setdefault(f"{child.tag}@{name}", []).append(value)
    text = "" if len(element) else (element.text or "").strip()
    return {name: _one(values) for name, values in found.items()} | ({_TEXT: text} if text else {})


def _text(element: Element) -> str | None:
    """What an element of text says; None for one that holds others."""
    if not len(element):
        return (element.text or "").strip()
    if element.get("type") == _XHTML:
        return " ".join(" ".join(element.itertext()).split())
    beside = [element.text, *(child.tail for child in element)]
    return "".join(element.itertext()).strip() if any(at and at.strip() for at in beside) else None


def _one(values: list[Any]) -> Any:
    if len(values) == 1:
        return values[0]
    texts = [value for value in values if isinstance(value, str)]
    return "; ".join(filter(None, texts)) if len(texts) == len(values) else values
