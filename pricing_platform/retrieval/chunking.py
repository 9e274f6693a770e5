"""Chunks: passages of a document along its structure, each within what the encoder reads.

Here belongs cutting. What a document is and where it comes from belongs to ``documents``; what
becomes of chunks, to ``chunk_embeddings`` and ``search``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from semantic_text_splitter import MarkdownSplitter

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNKER_VERSION = "1"
"""To be raised with any change of what :func:`chunk` returns."""

CHUNK_TOKENS = 160
"""Heading path included. Small passages are about one thing, and more of them fit a budget."""

HEADING_PATH_SHARE = 0.5
"""At most this share of the tokens goes to the heading path."""

MAX_CHARACTERS = 2_000
"""Of a chunk's text: a word that the tokenizer does not know is one token, however long it is."""

MAX_HEADING_CHARACTERS = 400
"""Of a heading path."""

_LENGTH_LIMIT = 256
_SEPARATOR = " > "
_LINE = re.compile(r"\r\n?|\n")  # as markdown-it counts lines
_BLOCKS = MarkdownIt("commonmark").enable("table").disable("inline")
_INLINE = MarkdownIt("commonmark")


@dataclass(frozen=True)
class Chunk:
    """A passage of a document: ``text`` is ``content[start_character:end_character]``.

    ``heading_path`` names the document's title and the headings above the passage, outermost first.
    """

    ordinal: int
    heading_path: str
    start_character: int
    end_character: int
    text: str

    @property
    def embedded_text(self) -> str:
        """What is embedded, and what a passage shows."""
        return f"{self.heading_path}\n{self.text}" if self.heading_path else self.text


@dataclass(frozen=True)
class _Heading:
    level: int
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class _Section:
    """Text below one heading and above the next, with the headings that it stands under."""

    headings: tuple[str, ...]
    start: int
    end: int


def chunk(title: str, content: str, tokenizer: Tokenizer) -> list[Chunk]:
    """The passages of a document in Markdown, in the order of the text.

    No chunk crosses a heading, and none has more tokens, heading path and special tokens included,
    than the tokenizer truncates to (256 where it does not truncate). A heading is in the path of
    the chunks below it and not in their text; one with nothing below it is text of the section
    around it. Beyond headings, nothing but white space is in no chunk.

    Method: semantic levels of Markdown by ``semantic-text-splitter``.

    Args:
        title: the document's; the outermost part of each path.
        content: the document's text.
        tokenizer: the encoder's.
    """
    sizer = _Sizer(tokenizer)
    found: list[Chunk] = []
    for section in _sections(content):
        path = sizer.heading_path((title, *section.headings))
        for start, end in sizer.split(content, section.start, section.end, path):
            found.append(Chunk(len(found), path, start, end, content[start:end]))
    return found


class _Sizer:
    """Measures and cuts texts in the tokens of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        truncation = tokenizer.truncation
        limit = _LENGTH_LIMIT if truncation is None else int(truncation["max_length"])
        special = tokenizer.num_special_tokens_to_add(False)
        self._tokenizer = tokenizer
        self._limit = max(limit - special, 2)
        self._wanted = max(min(limit, CHUNK_TOKENS) - special, 2)

    def heading_path(self, headings: tuple[str, ...]) -> str:
        """The headings without repeats, cut at the end where they are too long."""
        shown = [" ".join(heading.split()) for heading in headings]
        path = _SEPARATOR.join(dict.fromkeys(heading for heading in shown if heading))
        path = path[:MAX_HEADING_CHARACTERS].rstrip()
        while self._count(path) > HEADING_PATH_SHARE * self._wanted:
            path = path[: len(path) * 7 // 8].rstrip()
        return path

    def split(self, content: str, start: int, end: int, path: str) -> Iterator[tuple[int, int]]:
        """Where the chunks of ``content[start:end]`` begin and end."""
        size = max(1, self._wanted - self._count(path))
        yield from self._cut(content[start:end], start, path, size)

    def _cut(self, text: str, start: int, path: str, size: int) -> Iterator[tuple[int, int]]:
        for offset, piece in MarkdownSplitter.from_callback(
            functools.partial(self._size, size), size
        ).chunk_indices(text):
            first = start + offset
            if size > 1 and self._count(f"{path}\n{piece}") > self._limit:
                # Path and text may have more tokens together than each has alone.
                yield from self._cut(piece, first, path, size // 2)
            elif piece.strip():
                yield first, first + len(piece)

    def _size(self, limit: int, text: str) -> int:
        """Tokens, or characters where they are what is too many."""
        if len(text) > MAX_CHARACTERS:
            return limit * len(text) // MAX_CHARACTERS + 1
        return self._count(text)

    def _count(self, text: str) -> int:
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return len(encoded.ids) + sum(len(part.ids) for part in encoded.overflowing)


def _sections(content: str) -> list[_Section]:
    """The texts between the headings; a heading with nothing below it is text itself."""
    headings = _headings(content)
    ends = [*(heading.start for heading in headings[1:]), len(content)][: len(headings)]
    found = [_Section((), 0, headings[0].start if headings else len(content))]
    above: list[_Heading] = []
    for place, (heading, end) in enumerate(zip(headings, ends, strict=True)):
        above = [other for other in above if other.level < heading.level]
        names = tuple(other.text for other in above)
        following = headings[place + 1] if place + 1 < len(headings) else None
        barren = following is None or following.level <= heading.level
        if content[heading.end : end].strip() or not barren:
            found.append(_Section((*names, heading.text), heading.end, end))
        elif place or len(headings) == 1 or following is None:
            found.append(_Section(names, heading.start, end))
        # The first heading, directly above another of its rank, is a banner over the title.
        above.append(heading)
    return found


def _headings(content: str) -> list[_Heading]:
    """The headings of the document itself: not those in quotations, lists or code."""
    lines = [0, *(match.end() for match in _LINE.finditer(content)), len(content)]
    tokens = _BLOCKS.parse(content)
    return [
        _Heading(
            int(token.tag[1]),
            _plain(tokens[place + 1].content),
            lines[token.map[0]],
            lines[min(token.map[1], len(lines) - 1)],
        )
        for place, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0 and token.map
    ]


def _plain(heading: str) -> str:
    """A heading as it reads, without its markup."""
    parts = _INLINE.parseInline(heading)[0].children or []
    return "".join(part.content if part.content else " " * ("break" in part.type) for part in parts)
