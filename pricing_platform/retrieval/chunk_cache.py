"""Where documents were cut, by what they say: what was cut once is not cut again.

Cutting counts tokens over and over and takes longer than all else while nothing has changed. The
cache is one SQLite file beside the embeddings'; deleting it, or being unable to use it, costs only
time. Here belongs keeping cuts. How documents are cut belongs to ``chunking``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pricing_platform.retrieval import chunking
from pricing_platform.retrieval.chunking import Chunk
from pricing_platform.stores.warehouse import fingerprint

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LOCK_SECONDS = 60.0
_TABLE = "CREATE TABLE IF NOT EXISTS cuts (key TEXT PRIMARY KEY, cuts TEXT NOT NULL) WITHOUT ROWID"
_log = logging.getLogger(__name__)


class CachedChunker:
    """Cuts documents, and remembers where."""

    def __init__(self, tokenizer: Tokenizer, tokenizer_identity: str, path: Path) -> None:
        self._tokenizer = tokenizer
        self._identity = tokenizer_identity
        self._path = path

    def chunk(self, documents: Sequence[tuple[str, str]]) -> list[list[Chunk]]:
        """The chunks of each document, given by title and content."""
        chunker = _chunker()
        keys = [
            fingerprint(title, content, chunker, self._identity) for title, content in documents
        ]
        known = self._read(keys)
        found, new = [], {}
        for key, (title, content) in zip(keys, documents, strict=True):
            if key in known:
                found.append(_chunks(known[key], content))
            else:
                found.append(chunking.chunk(title, content, self._tokenizer))
                new[key] = _cuts(found[-1])
        self._write(new)
        return found

    def _read(self, keys: Sequence[str]) -> dict[str, str]:
        try:
            with closing(sqlite3.connect(self._path, timeout=_LOCK_SECONDS)) as connection:
                connection.execute(_TABLE)
                rows = connection.execute(
                    "SELECT key, cuts FROM cuts WHERE key IN (SELECT value FROM json_each(?))",
                    [json.dumps(keys)],
                )
                return dict(rows)
        except sqlite3.DatabaseError as error:
            _log.warning("Documents are cut anew: %s can't be read: %s", self._path, error)
            return {}

    def _write(self, cuts: dict[str, str]) -> None:
        if not cuts:
            return
        try:
            with closing(sqlite3.connect(self._path, timeout=_LOCK_SECONDS)) as connection:
                connection.executemany("INSERT OR REPLACE INTO cuts VALUES (?, ?)", cuts.items())
                connection.commit()
        except sqlite3.DatabaseError as error:
            _log.warning("Where documents were cut is not kept in %s: %s", self._path, error)


def _chunker() -> str:
    """All that cuts follow from besides the document and the tokenizer.

    Not the chunker's version alone: while somebody works on it, that has not been raised yet.
    """
    constants = {
        name: value
        for name, value in vars(chunking).items()
        if name.isupper() and isinstance(value, int | float | str)
    }
    libraries = [metadata.version(name) for name in ("semantic-text-splitter", "markdown-it-py")]
    source = Path(chunking.__file__).read_bytes()
    return fingerprint(hashlib.sha256(source).hexdigest(), sorted(constants.items()), libraries)


def _cuts(chunks: Sequence[Chunk]) -> str:
    return json.dumps([(c.heading_path, c.start_character, c.end_character) for c in chunks])


def _chunks(cuts: str, content: str) -> list[Chunk]:
    return [
        Chunk(ordinal, heading_path, start, end, content[start:end])
        for ordinal, (heading_path, start, end) in enumerate(json.loads(cuts))
    ]
