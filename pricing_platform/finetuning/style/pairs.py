"""Messages with the replies that a house gave: read, checked, and held out by conversation.

Here belongs the way from files to pairs. What a model is told of them belongs to ``dialogue``.
"""

from __future__ import annotations

import glob
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pricing_platform.catalog.splits import Split, split_of
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.style.configuration import StyleColumns, StyleSource
from pricing_platform.stores.warehouse import fingerprint

FEWEST_TRAIN = 20
FEWEST_HELD_OUT = 4
"""Conversations; of fewer, no interval could be told."""

_SHAPE = (
    "Each line is a JSON object with the message and the reply as text; `columns` of the [[style]]"
    " says what they are called."
)


@dataclass(frozen=True)
class StylePair:
    """A customer's message and the house's reply.

    ``facts`` are what the reply was written from, where the file tells.
    """

    conversation: str
    message: str
    reply: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class StylePairs:
    """All pairs of a style, in the files' order; none is there twice."""

    name: str
    pairs: tuple[StylePair, ...]

    @classmethod
    def read(cls, style: StyleSource) -> StylePairs:
        """The pairs of the style's files.

        Raises:
            PlatformError: naming the file and the line that is wrong; and when there are too few
                conversations to hold some out.
        """
        found = dict.fromkeys(
            pair for path in _files(style) for pair in _pairs_of(path, style.columns)
        )
        read = cls(style.name, tuple(found))
        read.require_enough()
        return read

    @cached_property
    def version(self) -> str:
        """Equal for equal pairs."""
        return fingerprint(*self.pairs)

    def split(self, split: Split) -> list[StylePair]:
        """The pairs whose conversations are on this side, whatever else is in the files."""
        return [pair for pair in self.pairs if self.split_of(pair) == split]

    def split_of(self, pair: StylePair) -> Split:
        """The side of the pair's conversation, for good."""
        return split_of(f"{self.name}/{pair.conversation}")

    def require_enough(self) -> None:
        """Refuses a style that has too few conversations.

        Raises:
            PlatformError: with how many there are and how many are needed.
        """
        counts = {
            split: len({pair.conversation for pair in self.split(split)})
            for split in ("train", "test")
        }
        if counts["train"] < FEWEST_TRAIN or counts["test"] < FEWEST_HELD_OUT:
            raise PlatformError(
                f"The style {self.name} has {counts['train']} conversations to train on and"
                f" {counts['test']} held out; {FEWEST_TRAIN} and {FEWEST_HELD_OUT} are needed.",
                "Give it more conversations: about 100 are enough, and 500 pairs teach a tone.",
            )


def _files(style: StyleSource) -> list[Path]:
    found: list[Path] = []
    for pattern in style.pairs:
        matches = sorted(Path(at) for at in glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not matches:
            raise PlatformError(
                f"The style {style.name} has no file {pattern}.",
                "Correct `pairs` of the [[style]] in sources.toml.",
            )
        found += matches
    return list(dict.fromkeys(found))


def _pairs_of(path: Path, columns: StyleColumns) -> Iterator[StylePair]:
    # Not by splitlines(), which also splits at signs that JSON allows within a string.
    for number, line in enumerate(_content(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise PlatformError(f"{where}: not JSON.", _SHAPE) from None
        if not isinstance(row, dict):
            raise PlatformError(f"{where}: not a JSON object.", _SHAPE)
        message, reply = (_text(row, at, where) for at in (columns.message, columns.reply))
        yield StylePair(
            _conversation(row, columns, where) or fingerprint(message, reply)[:16],
            message,
            reply,
            _facts(row, columns, where),
        )


def _content(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise PlatformError(f"{path} is not gzipped, or is cut off.", _SHAPE) from None
    except OSError as error:
        raise PlatformError(f"{path} cannot be read: {error.strerror}.", _SHAPE) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PlatformError(f"{path} is not UTF-8 text.", _SHAPE) from None


def _text(row: dict[str, Any], column: str, where: str) -> str:
    if column not in row:
        raise PlatformError(f"{where}: no {column!r}; there is {', '.join(row)}.", _SHAPE)
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise PlatformError(f"{where}: {column!r} is not a text, or is empty.", _SHAPE)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PlatformError(f"{where}: {column!r} holds half a character.", _SHAPE) from None
    return " ".join(value.split())


def _conversation(row: dict[str, Any], columns: StyleColumns, where: str) -> str | None:
    column = columns.conversation or "conversation"
    if columns.conversation is None and column not in row:
        return None
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PlatformError(f"{where}: {column!r} is no text and no number.", _SHAPE)
    return str(value)


def _facts(row: dict[str, Any], columns: StyleColumns, where: str) -> tuple[str, ...]:
    column = columns.facts or "facts"
    if columns.facts is None and column not in row:
        return ()
    value = row.get(column)
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(at, str) for at in values):
        raise PlatformError(f"{where}: {column!r} is neither a text nor a list of texts.", _SHAPE)
    return tuple(" ".join(at.split()) for at in values)
