"""The assets whose rows are vectors in Postgres."""

import time

import dagster as dg

from pricing_platform.assets.reporting import (
    OWNERS,
    postgres_table_metadata,
    reconciled,
)
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.retrieval.chunk_embeddings import (
    CHUNK_EMBEDDINGS_VERSION,
    reconcile_chunk_embeddings,
)
from pricing_platform.retrieval.item_embeddings import (
    ITEM_EMBEDDINGS_VERSION,
    reconcile_item_embeddings,
)
from pricing_platform.stores.postgres import contents_version
from pricing_platform.stores.warehouse import fingerprint


@dg.asset(
    deps=["items"],
    group_name="embeddings",
    kinds={"postgres", "pytorch"},
    owners=OWNERS,
    code_version=ITEM_EMBEDDINGS_VERSION,
)
def item_embeddings(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row an item: the embedding of its text, for search by similarity."""
    started = time.perf_counter()
    store, encoder = warehouse.open(), models.cached_encoder()
    with postgres.open() as server:
        summary = reconcile_item_embeddings(
            store,
            server,
            encoder,
            deletion_share_limit=postgres.settings().deletion_share_limit,
            progress=progress.of(context),
        )
        metadata = postgres_table_metadata(server, "catalog.item_embeddings")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(
            fingerprint(
                ITEM_EMBEDDINGS_VERSION, store.data_version("curated.items"), encoder.identity
            )[:32]
        ),
        metadata={**metadata, **reconciled(summary, started)},
    )


@dg.asset(
    deps=["knowledge_documents"],
    group_name="embeddings",
    kinds={"postgres", "pytorch"},
    owners=OWNERS,
    code_version=CHUNK_EMBEDDINGS_VERSION,
)
def chunk_embeddings(
    context: dg.AssetExecutionContext,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row a passage of a document: its headings and text as a vector."""
    started, encoder = time.perf_counter(), models.cached_encoder()
    with postgres.open() as server:
        summary = reconcile_chunk_embeddings(server, encoder, progress=progress.of(context))
        version = contents_version(server, "knowledge.chunk_embeddings", "chunk_id, fingerprint")
        metadata = postgres_table_metadata(server, "knowledge.chunk_embeddings")
        passages = postgres_table_metadata(
            server, "knowledge.chunks", shown=("heading_path", "text")
        )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata={**metadata, "preview": passages.get("preview"), **reconciled(summary, started)},
    )
