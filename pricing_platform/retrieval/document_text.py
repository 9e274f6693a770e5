"""From a file's bytes to Markdown: decoding, front matter, HTML, and the headings that begin it.

What a file holds is data: nothing in it is run, and of its front matter only plain values are read.
Which files there are, and what is kept of them, belongs to ``documents``.
"""

from __future__ import annotations

import codecs
import functools
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pricing_platform.retrieval.document_dates import DATE_KEYS, PAGE_KEYS

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffd]")
_CONTROL_SHARE = 0.02  # a text has next to none of them, compressed data one in ten
_XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_UNDECODED = re.compile(r"[\udc80-\udcff]+")
_FRONT_MATTER_CHARACTERS = 65_536
NAME_LIMIT = 300
"""Characters of a title or a subject: what is longer is a text, and no index holds it."""

_HEADING_CHARACTERS = 10_000  # where the headings that begin a document are looked for
_NOT_SHOWN = ["script", "style", "template", "noscript", "head"]
_QUOTED = "#%&@"  # punctuation that belongs to a name: "C#"
_BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">"}


@dataclass(frozen=True)
class Heading:
    """A heading: its level, 1 for the highest, and its text without marks."""

    level: int
    text: str


@dataclass(frozen=True)
class DocumentText:
    """A file as text.

    ``content`` is Markdown without front matter, with ``\\n`` between its lines; it may be empty.
    ``metadata`` holds ``title``, ``subject`` and ``kind`` where the front matter has them, and
    ``date`` as it or a page's meta element writes it; ``headings`` those that stand before any
    other text. ``told`` says what had to be mended.
    """

    content: str
    metadata: Mapping[str, str]
    headings: tuple[Heading, ...]
    told: tuple[str, ...]


class NotText(Exception):  # noqa: N818
    """A file's content can't be read as a document; says why."""


def read_text(data: bytes, *, html: bool) -> DocumentText:
    """The text of a file, Markdown or HTML: UTF-8, UTF-16 with its mark, or what a page declares.

    Raises:
        NotText: when it is binary, or nested too deeply.
    """
    text, told = _decoded(data, html=html)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    metadata, text, broken = _without_front_matter(text)
    if html:
        text, page = _as_markdown(_XML_DECLARATION.sub("", text))
        metadata = {**page, **metadata}
    content = text.strip("\n").rstrip()
    return DocumentText(content, metadata, _leading_headings(content), (*told, *broken))


def normalise_subject(text: str) -> str:
    """The form in which two spellings of a subject are one: idempotent, possibly empty.

    NFKC, casefolded, without invisible characters, single spaces, no punctuation around it.
    """
    while True:
        found = unicodedata.normalize("NFKC", text).casefold()
        found = "".join(c for c in found if c.isspace() or unicodedata.category(c)[0] != "C")
        found = _unwrapped(" ".join(found.split()))
        if found == text:
            return found
        text = found


def shortened(text: str) -> str:
    """As much of a name as may be kept."""
    return text[:NAME_LIMIT].rstrip()


def one_line(text: str) -> str:
    """The text on one line, of characters that can be stored."""
    return " ".join(text.replace("\0", "").encode("utf-8", "replace").decode().split())


def _unwrapped(text: str) -> str:
    while text:
        first, last = text[0], text[-1]
        if _BRACKETS.get(first) == last and first not in text[1:-1]:
            text = text[1:-1].strip()
        elif _is_outer(first) or (first in _BRACKETS and _BRACKETS[first] not in text):
            text = text[1:].lstrip()
        elif _is_outer(last) or (last in _BRACKETS.values() and not _is_opened(text, last)):
            text = text[:-1].rstrip()
        else:
            break
    return text


def _is_outer(character: str) -> bool:
    """Whether it is punctuation, but for brackets and what belongs to a name."""
    if character in _BRACKETS or character in _BRACKETS.values() or character in _QUOTED:
        return False
    return unicodedata.category(character)[0] == "P" or character in "`"


def _is_opened(text: str, closing: str) -> bool:
    return any(opening in text for opening, close in _BRACKETS.items() if close == closing)


def _decoded(data: bytes, *, html: bool) -> tuple[str, list[str]]:
    declared = _declared_encoding(data) if html else None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            text, told = data.decode("utf-16"), ["is in UTF-16 and was read as that"]
        except UnicodeDecodeError:
            raise NotText("is not text: it is neither UTF-8 nor UTF-16") from None
    elif declared is not None and _is_utf8(data):
        text, told = data.decode(), [f"is in UTF-8, and not in {declared} as it says"]
    elif declared is not None:
        text, told = data.decode(declared, "replace"), [f"is in {declared}, as it says"]
        if (lost := text.count("\ufffd")) > 0:
            told.append(f"has {lost:,} characters that are none in {declared}")
    else:
        raw = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        text = _UNDECODED.sub(_from_windows, raw)
        told = [] if text == raw else ["is not valid UTF-8: read as Windows-1252 where it is not"]
    if "\0" in text:
        raise NotText("is not text: it holds zero bytes")
    if len(_CONTROL.findall(text)) > _CONTROL_SHARE * len(text):
        raise NotText("is not text: too much of it is control characters")
    return text, told


def _is_utf8(data: bytes) -> bool:
    """Whether bytes beyond ASCII are there, and all are UTF-8: nothing else looks like it."""
    try:
        return not data.decode().isascii()
    except UnicodeDecodeError:
        return False


def _declared_encoding(data: bytes) -> str | None:
    """What a page's meta element or XML declaration names; None where it is UTF-8 or unknown.

    Labels mean what browsers take them for, see the WHATWG's Encoding Standard.
    """
    import webencodings
    from bs4.dammit import EncodingDetector

    if data.startswith(codecs.BOM_UTF8):
        return None
    told = EncodingDetector.find_declared_encoding(data, is_html=True)
    encoding = webencodings.lookup(told) if told else None
    name = "utf-8" if encoding is None else str(encoding.codec_info.name)
    return None if name.startswith(("utf", "x-user")) else name


def _from_windows(found: re.Match[str]) -> str:
    return found[0].encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def _without_front_matter(text: str) -> tuple[dict[str, str], str, list[str]]:
    """What the front matter says, the text after it, and what is wrong with it."""
    from frontmatter.default_handlers import YAMLHandler
    from yaml import BaseLoader, YAMLError

    handler = YAMLHandler()
    if not handler.detect(text):
        return {}, text, []
    try:
        front, content = handler.split(text)
    except ValueError:  # a rule across the page, and no second one
        return {}, text, []
    if len(front) > _FRONT_MATTER_CHARACTERS:
        return {}, text, ["has front matter that is too long, taken as text"]
    try:
        # All scalars as they are written: a title may look like a date.
        found = handler.load(front, Loader=BaseLoader)
    except (YAMLError, RecursionError):
        return {}, text, ["has front matter that is not YAML, taken as text"]
    if not isinstance(found, dict):
        return ({}, text, []) if front.strip() else ({}, content, [])
    values = {name: found.get(name) for name in ("title", "subject", "kind")}
    values["date"] = _first_of(
        {str(key).casefold().replace("-", "_"): value for key, value in found.items()}, DATE_KEYS
    )
    read = {name: one_line(value) for name, value in values.items() if isinstance(value, str)}
    return {name: value for name, value in read.items() if value}, content, []


def _first_of(values: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """The first of the keys' values that is a text and says something."""
    found = (values.get(key) for key in keys)
    return next((text for text in found if isinstance(text, str) and text.strip()), None)


def _as_markdown(html: str) -> tuple[str, dict[str, str]]:
    """The page as Markdown, and what it calls itself and its date."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    converter = MarkdownConverter(
        heading_style="ATX",
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
        strip=["a", "img"],
    )
    try:
        page = BeautifulSoup(html, "html.parser")
        found = {"page_title": one_line(page.title.get_text()) if page.title else ""}
        metas = {
            str(meta.get("name") or meta.get("property")).casefold(): str(meta.get("content") or "")
            for meta in page("meta")
        }
        if dated := _first_of(metas, PAGE_KEYS):
            found["date"] = one_line(dated)
        for element in page(_NOT_SHOWN):
            element.decompose()
        return converter.convert_soup(page), found
    except RecursionError:
        limit = sys.getrecursionlimit()
        raise NotText(f"is nested too deeply: about {limit} elements or more") from None


def _leading_headings(content: str) -> tuple[Heading, ...]:
    """The headings before any other text."""
    found: list[Heading] = []
    for token in _parser().parse(content[:_HEADING_CHARACTERS]):
        if token.type == "heading_open":
            found.append(Heading(int(token.tag[1:]), ""))
        elif token.type == "inline" and found and not found[-1].text:
            text = "".join(child.content for child in token.children or [])
            found[-1] = Heading(found[-1].level, one_line(text))
        elif token.type not in ("heading_close", "html_block", "hr"):
            break
    return tuple(heading for heading in found if heading.text)


@functools.cache
def _parser() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark")
