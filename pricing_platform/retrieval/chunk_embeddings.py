"""The embeddings of chunks: passages of ``knowledge.documents``, each with its headings.

Here belongs what is particular to chunks as rows. Cutting documents belongs to ``chunking``, and
bringing rows and embeddings to agree to ``reconciliation``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg

from pricing_platform.errors import PlatformError
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval import chunking
from pricing_platform.retrieval.chunk_cache import CachedChunker
from pricing_platform.retrieval.chunking import Chunk
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.encoder import Encoder
from pricing_platform.retrieval.reconciliation import (
    EmbeddedTable,
    ReconciliationSummary,
    content_hash_of,
    reconcile,
)
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import fingerprint, make_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNK_TEMPLATE_VERSION = "1"
"""To be raised with any change of ``Chunk.embedded_text``."""

CHUNK_EMBEDDINGS_VERSION = f"1.{CHUNK_TEMPLATE_VERSION}.{chunking.CHUNKER_VERSION}"

_BATCH = 200  # documents read together
_CHUNKS = EmbeddedTable(
    rows="knowledge.chunks",
    embeddings="knowledge.chunk_embeddings",
    key="chunk_id",
    columns={
        "document_id": "text",
        "source": "text",
        "kind": "text",
        "subject": "text",
        "ordinal": "int4",
        "heading_path": "text",
        "start_character": "int4",
        "end_character": "int4",
        "text": "text",
        "content_hash": "text",
        "fingerprint": "text",
    },
    guarded="document_id",
)


class _DocumentChunks:
    """The chunks that the documents have now."""

    def __init__(self, postgres: Postgres, chunker: CachedChunker, identity: str) -> None:
        self._postgres = postgres
        self._chunker = chunker
        self._identity = identity

    def batches(self) -> Iterator[pl.DataFrame]:
        query = (
            "SELECT document_id, source, kind, subject, title, content FROM knowledge.documents"
            " ORDER BY document_id"
        )
        columns = ["chunk_id", *_CHUNKS.columns]
        with self._postgres.connection() as connection:
            cursor: psycopg.ServerCursor[Any] = connection.cursor("documents")
            cursor.itersize = _BATCH
            with cursor:
                cursor.execute(query)
                while documents := cursor.fetchmany(_BATCH):
                    found = self._chunker.chunk([document[-2:] for document in documents])
                    rows = [
                        row
                        for (document_id, source, kind, subject, *_), chunks in zip(
                            documents, found, strict=True
                        )
                        for row in self._rows(document_id, source, kind, subject, chunks)
                    ]
                    yield pl.DataFrame(rows, schema=columns, orient="row")

    def texts(self, keys: Sequence[str]) -> pl.DataFrame:
        """What the chunks are now; another encoder's rows get a fingerprint that is not theirs."""
        with self._postgres.connection() as connection:
            rows = connection.execute(
                "SELECT chunk_id, ordinal, heading_path, start_character, end_character, text"
                " FROM knowledge.chunks WHERE chunk_id = ANY(%s) ORDER BY chunk_id",
                [list(keys)],
            ).fetchall()
        texts = [Chunk(*row[1:]).embedded_text for row in rows]
        return pl.DataFrame(
            {
                "key": [row[0] for row in rows],
                "text": texts,
                "fingerprint": [self._fingerprint(content_hash_of(text)) for text in texts],
            },
            schema={"key": pl.String, "text": pl.String, "fingerprint": pl.String},
        )

    def _rows(
        self, document_id: str, source: str, kind: str, subject: str, chunks: Sequence[Chunk]
    ) -> Iterator[tuple[str | int, ...]]:
        for found in chunks:
            content_hash = content_hash_of(found.embedded_text)
            yield (
                f"{document_id}#{found.ordinal:04}",
                document_id,
                source,
                kind,
                subject,
                found.ordinal,
                found.heading_path,
                found.start_character,
                found.end_character,
                found.text,
                content_hash,
                self._fingerprint(content_hash),
            )

    def _fingerprint(self, content_hash: str) -> str:
        return fingerprint(
            content_hash, CHUNK_TEMPLATE_VERSION, chunking.CHUNKER_VERSION, self._identity
        )


def reconcile_chunk_embeddings(
    postgres: Postgres,
    encoder: CachedEncoder,
    *,
    deletion_share_limit: float = 0.2,
    tokenizer: Tokenizer | None = None,
    progress: Progress = silent,
) -> ReconciliationSummary:
    """Makes ``knowledge.chunks`` and ``knowledge.chunk_embeddings`` follow the documents.

    The chunks of a deleted document are gone with it, and a shortened document may lose as many as
    it does: both passed the guard of ``reconcile_documents``. What is guarded here is that
    documents which hold text keep some chunk.

    Args:
        deletion_share_limit: of the documents with chunks, which share may be left with none.
        tokenizer: what passages are measured with; by default the encoder's own.

    Raises:
        PlatformError: when more documents than the limit would be left without chunks, the
            encoder's vectors fit no column, or there is no tokenizer.
    """
    make_folder(encoder.path.parent)
    chunker = CachedChunker(
        tokenizer or _tokenizer(encoder), encoder.identity, encoder.path.with_name("chunks.sqlite")
    )
    desired = _DocumentChunks(postgres, chunker, encoder.identity)
    return reconcile(
        postgres,
        _CHUNKS,
        desired,
        encoder,
        deletion_share_limit=deletion_share_limit,
        progress=progress,
    )


def chunks_without_embedding(postgres: Postgres) -> pl.DataFrame:
    """The chunks (chunk_id, document_id) that have no embedding of what they are now."""
    return postgres.frame(
        "SELECT chunk_id, document_id FROM knowledge.chunks AS r"
        " LEFT JOIN knowledge.chunk_embeddings AS e USING (chunk_id)"
        " WHERE e.fingerprint IS DISTINCT FROM r.fingerprint ORDER BY chunk_id"
    )


def orphaned_embeddings(postgres: Postgres) -> pl.DataFrame:
    """The embeddings (chunk_id, fingerprint) whose chunk is gone or has become another."""
    return postgres.frame(
        "SELECT chunk_id, e.fingerprint FROM knowledge.chunk_embeddings AS e"
        " LEFT JOIN knowledge.chunks AS r USING (chunk_id)"
        " WHERE r.fingerprint IS DISTINCT FROM e.fingerprint ORDER BY chunk_id"
    )


def _tokenizer(encoder: CachedEncoder) -> Tokenizer:
    if isinstance(encoder.encoder, Encoder):
        return encoder.encoder.passage_tokenizer
    raise PlatformError(f"The encoder {encoder.identity} has no tokenizer to cut documents with.")
