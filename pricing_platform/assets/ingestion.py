"""The assets that read what the sources deliver, as it is."""

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import dagster as dg
import polars as pl

from pricing_platform.assets.reporting import (
    OWNERS,
    RefreshConfig,
    markdown_table,
    postgres_table_metadata,
    table_metadata,
)
from pricing_platform.catalog.configured_sources import configured_sources
from pricing_platform.catalog.ingestion import INGESTION_VERSION, ingest_source, source_fingerprint
from pricing_platform.facts.configuration import configured_knowledge
from pricing_platform.partitions import partitions_of
from pricing_platform.resources import PostgresResource, WarehouseResource
from pricing_platform.retrieval.documents import DOCUMENTS_VERSION, reconcile_documents
from pricing_platform.retrieval.question_language import use_language
from pricing_platform.stores.postgres import contents_version
from pricing_platform.stores.provenance import refresh_by

DAILY = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=49), warn_window=timedelta(hours=25)
)
"""Of what the daily schedule reads."""

RAW_TABLES = ("raw.snapshots", "raw.listings")


@dg.asset(
    group_name="ingestion",
    kinds={"postgres", "markdown"},
    owners=OWNERS,
    code_version=DOCUMENTS_VERSION,
    freshness_policy=DAILY,
)
def knowledge_documents(
    context: dg.AssetExecutionContext, postgres: PostgresResource
) -> dg.MaterializeResult[None]:
    """One row a document as last observed, with its text as Markdown."""
    started, settings = time.perf_counter(), postgres.settings()
    knowledge = configured_knowledge(settings)
    with postgres.open() as server:
        use_language(server, knowledge.language)
        summary = reconcile_documents(
            server,
            knowledge.documents,
            deletion_share_limit=settings.deletion_share_limit,
        )
        metadata = postgres_table_metadata(
            server, "knowledge.documents", shown=("kind", "title", "path", "dated")
        )
        version = contents_version(
            server,
            "knowledge.documents",
            "document_id, kind, title, subject, content_hash, topic, dated",
        )
    for document, reason in summary.told:
        context.log.warning(f"{document}: {reason}")
    told = pl.DataFrame(summary.told, schema=["document", "told"], orient="row")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata={
            **metadata,
            "inserted": summary.inserted,
            "updated": summary.updated,
            "deleted": summary.deleted,
            "told": dg.MetadataValue.md(markdown_table(told)),
            "reused": not (summary.inserted or summary.updated or summary.deleted),
            "seconds": time.perf_counter() - started,
        },
    )


def ingestion_assets(source_names: Sequence[str]) -> list[dg.AssetsDefinition]:
    """``raw_listings`` with one partition for each of the sources."""

    @dg.asset(
        group_name="ingestion",
        kinds={"duckdb"},
        owners=OWNERS,
        code_version=INGESTION_VERSION,
        freshness_policy=DAILY,
        partitions_def=partitions_of(source_names),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def raw_listings(
        context: dg.AssetExecutionContext, config: RefreshConfig, warehouse: WarehouseResource
    ) -> dg.MaterializeResult[None]:
        """One row an observation of a listing, as published; also those that could not be read."""
        store = warehouse.open()
        sources = {source.name: source for source in configured_sources(warehouse.settings())}
        for name in context.partition_keys:
            started = time.perf_counter()
            inputs = source_fingerprint(sources[name])
            refreshed = refresh_by(
                store,
                RAW_TABLES,
                partial(ingest_source, store, sources[name], fingerprint=inputs),
                inputs=inputs,
                partition=("source", name),
                force=config.force,
            )
            context.add_asset_metadata(
                {
                    "dagster/row_count": refreshed.state("raw.listings").row_count,
                    "snapshots": refreshed.state("raw.snapshots").row_count,
                    "reused": refreshed.reused,
                    "seconds": time.perf_counter() - started,
                },
                partition_key=name,
            )
        gone = {
            name
            for table in RAW_TABLES
            for name in store.drop_partitions(table, "source", keep=list(sources))
        }
        if gone:
            context.log.warning(
                f"No longer configured, so deleted with all history: {', '.join(sorted(gone))}"
            )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(store.data_version("raw.listings")),
            metadata={
                **table_metadata(store, "raw.listings"),
                "snapshots_without_file": store.frame(
                    "SELECT count(*) FROM raw.snapshots WHERE NOT file_present"
                ).item(),
            },
        )

    return [raw_listings]
