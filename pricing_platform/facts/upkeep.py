"""Keeps documents, chunks and facts up to date: the steps, in their order.

Here belongs what is done one after the other, for the assets and the command line alike. How each
step is done belongs to the modules it calls.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from pricing_platform.facts.configuration import Knowledge
from pricing_platform.facts.connectors.document_folder import DocumentFolderConnector
from pricing_platform.facts.connectors.http_facts import HttpFacts, ensure_series
from pricing_platform.facts.connectors.snapshot_folder import SnapshotFolderConnector
from pricing_platform.facts.document_statements import observe_documents
from pricing_platform.facts.observations import RecordSummary
from pricing_platform.facts.prices import record_listing_prices
from pricing_platform.facts.refresh import Connector, RefreshSummary, refresh
from pricing_platform.facts.sentences import reconcile_fact_sentences
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.chunk_embeddings import reconcile_chunk_embeddings
from pricing_platform.retrieval.documents import DocumentsSummary, reconcile_documents
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.question_language import use_language
from pricing_platform.retrieval.reconciliation import ReconciliationSummary
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse


@dataclass(frozen=True)
class DocumentsUpkeep:
    """What following the documents did, step by step."""

    documents: DocumentsSummary
    chunks: ReconciliationSummary
    observed: RecordSummary
    sentences: ReconciliationSummary


@dataclass(frozen=True)
class UpkeepSummary:
    """What a refresh did.

    ``documents`` and ``versions`` (of facts, written or deleted) are of the documents where all of
    them were followed; ``told`` are files that were refused or mended, with the reason.
    """

    refreshed: RefreshSummary
    documents: DocumentsSummary | None
    versions: int
    told: tuple[tuple[str, str], ...]
    encoded: int
    seconds: float


def follow_documents(
    postgres: Postgres,
    encoder: CachedEncoder,
    knowledge: Knowledge,
    *,
    deletion_share_limit: float,
    progress: Progress = silent,
) -> DocumentsUpkeep:
    """Brings documents, chunks, facts and sentences to what the files say.

    Raises:
        PlatformError: when Postgres does not know the language, or more documents than the limit
            would go; nothing is changed then.
    """
    use_language(postgres, knowledge.language)
    documents = reconcile_documents(
        postgres, knowledge.documents, deletion_share_limit=deletion_share_limit
    )
    chunks = reconcile_chunk_embeddings(postgres, encoder, progress=progress)
    observed = observe_documents(postgres, knowledge.rules)
    sentences = reconcile_fact_sentences(postgres, encoder, progress=progress)
    return DocumentsUpkeep(documents, chunks, observed, sentences)


def observe_everything(
    warehouse: Warehouse,
    postgres: Postgres,
    knowledge: Knowledge,
    *,
    progress: Progress = silent,
) -> RecordSummary:
    """Records what documents and listings state, and has the series that are fetched."""
    ensure_series(postgres, knowledge.http, knowledge.rules)
    observed = observe_documents(postgres, knowledge.rules)
    return observed + record_listing_prices(
        warehouse, postgres, knowledge.rules, lives=knowledge.price_lives, progress=progress
    )


def refresh_what_is_due(
    warehouse: Warehouse,
    postgres: Postgres,
    encoder: CachedEncoder,
    knowledge: Knowledge,
    *,
    deletion_share_limit: float,
    secrets: Mapping[str, SecretStr],
    kinds: Collection[str] = (),
    subjects: Collection[str] = (),
    everything: bool = False,
    progress: Progress = silent,
) -> UpkeepSummary:
    """Asks for the facts that are due, or for those named, and encodes what changed.

    With ``everything``, documents that are new to their folders are read, too.

    Raises:
        PlatformError: when there is no such kind, or a source that is asked lost too much at once.
    """
    started, encoded = time.perf_counter(), 0
    told: tuple[tuple[str, str], ...] = ()
    documents, versions = None, 0
    use_language(postgres, knowledge.language)
    ensure_series(postgres, knowledge.http, knowledge.rules)
    if everything:
        followed = follow_documents(
            postgres,
            encoder,
            knowledge,
            deletion_share_limit=deletion_share_limit,
            progress=progress,
        )
        documents, versions = followed.documents, followed.observed.versions
        told = tuple(documents.told)
        encoded = followed.chunks.encoded + followed.sentences.encoded
    documents_connector = DocumentFolderConnector(
        postgres, knowledge.documents, knowledge.rules, deletion_share_limit
    )
    asked: list[Connector] = [
        documents_connector,
        SnapshotFolderConnector(warehouse, postgres, knowledge.rules, knowledge.price_lives),
        *_http_connectors(knowledge.http, secrets),
    ]
    refreshed = refresh(
        postgres,
        {connector.name: connector for connector in asked},
        knowledge.rules,
        deletion_share_limit=deletion_share_limit,
        kinds=kinds,
        subjects=subjects,
        everything=everything,
        progress=progress,
    )
    # A document is read as a whole: more of it may have changed than what was due.
    if refreshed.checked:
        chunks = reconcile_chunk_embeddings(postgres, encoder, progress=progress)
        sentences = reconcile_fact_sentences(postgres, encoder, progress=progress)
        encoded += chunks.encoded + sentences.encoded
    return UpkeepSummary(
        refreshed,
        documents,
        versions,
        told or documents_connector.told,
        encoded,
        time.perf_counter() - started,
    )


def _http_connectors(
    declared: Sequence[HttpFacts], secrets: Mapping[str, SecretStr]
) -> Iterator[Connector]:
    if declared:
        from pricing_platform.facts.connectors.http import HttpConnector

        yield from (HttpConnector(facts, secrets) for facts in declared)
