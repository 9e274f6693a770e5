"""Chunks: passages of a document along its structure, each within what the encoder reads.

Here belongs cutting. What a document is and where it comes from belongs to ``documents``; what
becomes of chunks, to ``chunk_embeddings`` and ``search``.
"""

from __future__ import annotations

import functools
import re
import string
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNKER_VERSION = "2"
"""To be raised with any change of what :func:`chunk` returns."""

CHUNK_TOKENS = 256
"""Heading path included. Small passages are about one thing, and more of them fit a budget."""

HEADING_PATH_SHARE = 0.5
"""At most this share of the tokens goes to the heading path."""

MAX_CHARACTERS = 2_000
"""Of a chunk's text: a word that the tokenizer does not know is one token, however long it is."""

MAX_HEADING_CHARACTERS = 400
"""Of a heading path."""

_LENGTH_LIMIT = 256
_SEPARATOR = " > "
_LINE_BREAKS = "\r\n"
_RULES = string.whitespace + "-_*="
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
class _Piece:
    """What is not cut further; ``lead`` is where the headings directly above it begin."""

    lead: int
    start: int
    end: int


def chunk(title: str, content: str, tokenizer: Tokenizer) -> list[Chunk]:
    """The passages of a document in Markdown, in the order of the text.

    Each has at most as many tokens, heading path and special tokens included, as the tokenizer
    truncates to (256 where it does not truncate). A section that is too long is cut along its
    structure; neighbouring sections that fit together are one chunk. The headings that a whole
    chunk stands under are in its path, those between its sections in its text. Beyond headings
    that are in paths, nothing but white space and rules (``---``) is in no chunk.

    Method: semantic levels of Markdown by ``semantic-text-splitter``.

    Args:
        title: the document's; the outermost part of each path.
        content: the document's text.
        tokenizer: the encoder's.
    """
    outline = _Outline(title, content)
    sizer = _Sizer(tokenizer)
    spans: list[tuple[int, int, str]] = []
    lead = 0
    for piece in _pieces(outline, sizer):
        start = outline.below_headings(lead, piece.end)
        path = sizer.heading_path(outline.headings_above(start))
        if spans and sizer.fits(path, content[start : piece.end]):
            spans[-1] = (start, piece.end, path)
            continue
        lead = piece.lead
        path = sizer.heading_path(outline.headings_above(piece.start))
        spans.append((piece.start, piece.end, path))
    return [
        Chunk(ordinal, path, start, end, content[start:end])
        for ordinal, (start, end, path) in enumerate(spans)
    ]


class _Outline:
    """Where a document's headings are, and what stands below which."""

    def __init__(self, title: str, content: str) -> None:
        self.content = content
        self.headings = _headings(content)
        self._starts = [heading.start for heading in self.headings]
        self._paths: list[tuple[str, ...]] = []
        self._reach = [len(content)] * len(self.headings)
        self._title = title
        above: list[int] = []
        for place, heading in enumerate(self.headings):
            while above and self.headings[above[-1]].level >= heading.level:
                self._reach[above.pop()] = heading.start
            above.append(place)
            self._paths.append((title, *(self.headings[other].text for other in above)))

    def headings_above(self, position: int) -> tuple[str, ...]:
        """The title and the headings that a text at this position stands under."""
        place = bisect_left(self._starts, position)
        if self._starts[place : place + 1] == [position]:
            return self._paths[place][:-1]
        if place and position < self.headings[place - 1].end:  # a heading too long for one chunk
            return self._paths[place - 1][:-1]
        return self._paths[place - 1] if place else (self._title,)

    def below_headings(self, start: int, end: int) -> int:
        """Where the text begins, after the leading headings that all of it stands under."""
        place = bisect_left(self._starts, start)
        while place < len(self.headings) and self.headings[place].start == start:
            text = self.content[self.headings[place].end : end]
            if self._reach[place] < end or not _says_something(text):
                break
            start = end - len(text.lstrip(_LINE_BREAKS))
            place += 1
        return start

    def is_above_the_next(self, place: int) -> bool:
        """Whether the next heading stands under this one."""
        following = self.headings[place + 1 : place + 2]
        return bool(following) and following[0].level > self.headings[place].level


def _pieces(outline: _Outline, sizer: _Sizer) -> Iterator[_Piece]:
    """The texts between the headings, cut to size; a heading with nothing below it is text too."""
    content, headings = outline.content, outline.headings
    starts = [0, *(heading.end for heading in headings)]
    ends = [*(heading.start for heading in headings), len(content)]
    lead: int | None = None
    for place, (start, end) in enumerate(zip(starts, ends, strict=True), -1):
        if place >= 0:
            lead = headings[place].start if lead is None else lead
        if not _says_something(content[start:end]):
            if place < 0 or outline.is_above_the_next(place):
                continue
            start = lead = headings[place].start
        path = sizer.heading_path(outline.headings_above(start))
        for first, last in sizer.split(content, start, end, path):
            yield _Piece(first if lead is None else lead, first, last)
            lead = None


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

    def fits(self, path: str, text: str) -> bool:
        """Whether a chunk may be as long as this."""
        if len(text) > MAX_CHARACTERS:
            return False
        return self._count(f"{path}\n{text}") <= self._wanted

    def split(self, content: str, start: int, end: int, path: str) -> Iterator[tuple[int, int]]:
        """Where the chunks of ``content[start:end]`` begin and end."""
        size = max(1, self._wanted - self._count(path))
        yield from self._cut(content[start:end], start, path, size)

    def _cut(self, text: str, start: int, path: str, size: int) -> Iterator[tuple[int, int]]:
        from semantic_text_splitter import MarkdownSplitter

        for offset, piece in MarkdownSplitter.from_callback(
            functools.partial(self._size, size), size
        ).chunk_indices(text):
            first = start + offset
            if size > 1 and self._count(f"{path}\n{piece}") > self._limit:
                # Path and text may have more tokens together than each has alone.
                yield from self._cut(piece, first, path, size // 2)
            elif _says_something(piece):
                yield first, first + len(piece)

    def _size(self, limit: int, text: str) -> int:
        """Tokens, or characters where they are what is too many."""
        if len(text) > MAX_CHARACTERS:
            return limit * len(text) // MAX_CHARACTERS + 1
        return self._count(text)

    def _count(self, text: str) -> int:
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return len(encoded.ids) + sum(len(part.ids) for part in encoded.overflowing)


def _says_something(text: str) -> bool:
    return bool(text.strip(_RULES))


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
