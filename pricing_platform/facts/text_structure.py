"""The structure of a document's text: its paragraphs and the rows of its tables, below headings.

Here belongs what is known of a text before anything in it is taken for a fact, and the record of
what is. What counts as a fact belongs to ``keyed_facts`` and ``sentence_facts``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from markdown_it import MarkdownIt

LINE_LIMIT = 10_000
"""Characters of a line that is read: nobody wrote a longer one."""

TOP_LEVEL = 1
"""The level of a paragraph in no list."""

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)

MARKER = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?")
"""What stands before the text of a line: quotation marks, and the mark of a list's item."""


@dataclass(frozen=True)
class Statement:
    """A fact as a document states it.

    ``values`` are cleaned of Markdown; there are none where the document says that nothing holds
    any more, as after a resignation, and ``ended`` is what held until then.
    ``content[start_character:end_character]`` is where it is said, as it is written.
    ``valid_from`` is since when it holds, where the text has a date.
    """

    subject: str
    attribute: str
    values: tuple[str, ...]
    start_character: int
    end_character: int
    valid_from: datetime | None = None
    ended: str = ""


@dataclass(frozen=True)
class Found:
    """A statement, and how it stands against others of the same attribute."""

    statement: Statement
    appointed: bool = False
    resigned: str = ""


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


ABBREVIATIONS = words("Dr Mr Mrs Ms St Prof Jr Sr Inc Co Ltd Corp")
"""Words whose full stop ends no sentence."""


@dataclass
class Block:
    """Lines of a paragraph, or one row of a table.

    ``level`` is how deep it lies in lists. ``cells`` are those of a row, ``header`` those of its
    table's first row.
    """

    first: int
    last: int
    heading: str
    level: int = 0
    cells: tuple[str, ...] = ()
    header: tuple[str, ...] = ()


@dataclass
class Text:
    """A content, its lines as they are read (of equal length, if not too long), its blocks."""

    content: str
    lines: list[str] = field(init=False)
    starts: list[int] = field(init=False)
    blocks: list[Block] = field(init=False)

    def __post_init__(self) -> None:
        self.lines, self.starts, start = [], [], 0
        for line in self.content.split("\n"):
            self.lines.append("" if len(line) > LINE_LIMIT else line.replace("\r", " "))
            self.starts.append(start)
            start += len(line) + 1
        self.blocks = list(_blocks("\n".join(self.lines)))


_STRUCTURE = MarkdownIt("commonmark").enable("table").disable("inline")
_INLINE = MarkdownIt("commonmark")


def _blocks(text: str) -> Iterator[Block]:
    """The paragraphs and rows of a text; a first-level heading at its beginning is its title."""
    heading, begun, level, kind = "", False, 0, ""
    cells: list[str] = []
    header: tuple[str, ...] = ()
    for token in _STRUCTURE.parse(text):
        if token.type == "heading_open":
            kind, level = "heading", int(token.tag[1])
        elif token.type == "table_open":
            header, begun = (), True
        elif token.type == "tr_open":
            kind, cells = "row", []
        elif token.type == "tr_close":
            header = header or tuple(cells)
        elif token.type == "paragraph_open":
            kind, begun = "paragraph", True
        if token.type != "inline" or token.map is None:
            continue
        if kind == "heading":
            heading = token.content if begun or level > 1 else ""
        elif kind == "row":
            cells.append(token.content)
            if header and len(cells) == len(header) == 2:
                yield Block(token.map[0], token.map[0] + 1, heading, 0, tuple(cells), header)
        else:
            yield Block(token.map[0], token.map[1], heading, token.level)


@lru_cache(maxsize=4096)
def plain(markdown: str) -> str:
    """Inline Markdown without its marks, in one line."""
    children = _INLINE.parseInline(markdown)[0].children or []
    return " ".join(
        "".join(
            token.content if token.type in ("text", "code_inline") else " " * (not token.nesting)
            for token in children
        ).split()
    )
