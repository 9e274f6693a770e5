"""Embeddings by the content that they were made from: what was encoded once is never encoded again.

A text that moves, comes back, or is needed in two places costs one look-up. The cache is one SQLite
file that several processes may use and a kill can't break; deleting it costs only time. Here
belongs keeping vectors. Which rows need which of them is the business of ``reconciliation``.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pricing_platform.errors import PlatformError
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.encoder import Encoder, TextEncoder, Vectors
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import make_folder

_CHUNK = 1024  # texts encoded between two saves: what a kill can cost
_LOCK_SECONDS = 60.0
_Half = npt.NDArray[np.float16]


class Embedded(NamedTuple):
    """Embeddings, float32 of shape (texts, dimensions), and how many had to be encoded."""

    vectors: Vectors
    encoded: int


class CachedEncoder:
    """An encoder that remembers, in half precision, what it encoded.

    Vectors come back rounded to half precision, whether or not they had to be encoded, so that
    they are the same on every call and the same as a ``halfvec`` column holds.
    """

    def __init__(self, encoder: TextEncoder, path: Path) -> None:
        self.encoder = encoder
        self.path = path

    @classmethod
    def from_settings(cls, settings: Settings) -> CachedEncoder:
        """The configured encoder with the cache of the configured home."""
        return cls(Encoder.from_settings(settings), settings.cache_folder / "embeddings.sqlite")

    @property
    def identity(self) -> str:
        """The encoder's: its name, and the sha256 of all that its embeddings follow from."""
        return self.encoder.identity

    @property
    def dimensions(self) -> int:
        """The length of an embedding."""
        return self.encoder.dimensions

    def embed(self, texts: Sequence[str], progress: Progress = silent) -> Embedded:
        """The texts' embeddings, each of unit length up to half precision's rounding.

        Raises:
            PlatformError: when the disk that holds the cache is full.
        """
        keys = [self._key(text) for text in texts]
        found = self._read(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        pending = list(missing.items())
        for start in range(0, len(pending), _CHUNK):
            chunk = dict(pending[start : start + _CHUNK])

            def report(what: str, done: int, _total: int, start: int = start) -> None:
                progress(what, start + done, len(pending))

            vectors = self.encoder.encode(list(chunk.values()), report).astype(np.float16)
            fresh = dict(zip(chunk, vectors, strict=True))
            self._write(fresh)
            found |= fresh
        result = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for row, key in enumerate(keys):
            result[row] = found[key]
        return Embedded(result, len(pending))

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """What is asked, as the encoder reads queries; it is not kept, being asked once."""
        return self.encoder.encode_queries(texts)

    def _key(self, text: str) -> bytes:
        identity = self.identity.encode()
        return hashlib.sha256(identity + b"\0" + text.encode()).digest()

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, _Half]:
        found = {}
        with self._open() as connection:
            for key in dict.fromkeys(keys):
                row = connection.execute("SELECT vector FROM embeddings WHERE key = ?", [key])
                vector = row.fetchone()
                if vector is not None and len(vector[0]) == 2 * self.dimensions:
                    found[key] = np.frombuffer(vector[0], dtype="<f2")
        return found

    def _write(self, vectors: Mapping[bytes, _Half]) -> None:
        rows = [(key, vector.astype("<f2").tobytes()) for key, vector in vectors.items()]
        with self._open() as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        make_folder(self.path.parent)
        try:
            with closing(sqlite3.connect(self.path, timeout=_LOCK_SECONDS)) as connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS embeddings"
                    " (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
                )
                yield connection
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            raise PlatformError(
                f"The disk that holds {self.path.parent} is full.",
                "Free some space there; the next run goes on from what was encoded.",
            ) from None
        except sqlite3.DatabaseError as error:
            if "malformed" not in str(error) and "not a database" not in str(error):
                raise
            raise PlatformError(
                f"The embedding cache {self.path} is damaged: {error}.",
                "Delete the file and run again: it costs only the time to encode anew.",
            ) from None
