"""The assets that hold what is known of subjects, since when, and how surely it still holds."""

import time
from datetime import timedelta

import dagster as dg

from pricing_platform.assets.reporting import (
    OWNERS,
    markdown_table,
    postgres_table_metadata,
    reconciled,
)
from pricing_platform.facts.configuration import configured_knowledge
from pricing_platform.facts.extraction import EXTRACTION_VERSION
from pricing_platform.facts.fact_queries import facts_past_time_to_live
from pricing_platform.facts.sentences import SENTENCES_VERSION, reconcile_fact_sentences
from pricing_platform.facts.upkeep import observe_everything, refresh_what_is_due
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.stores.postgres import contents_version

FRESHNESS_COLUMNS = {
    "kind": "What the facts' time to live depends on.",
    "facts": "How many current facts there are.",
    "fresh": "Verified within their time to live.",
    "stale": "Not verified within it.",
    "expired": "Not verified within twice as long.",
    "oldest": "When the one was verified that was verified longest ago.",
}


@dg.asset(
    deps=["knowledge_documents", "chunk_embeddings", "listings", "items"],
    group_name="facts",
    kinds={"postgres"},
    owners=OWNERS,
    code_version=EXTRACTION_VERSION,
)
def fact_observations(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row for each time that a source was seen to say something of a subject."""
    started, knowledge = time.perf_counter(), configured_knowledge(warehouse.settings())
    with postgres.open() as server:
        summary = observe_everything(
            warehouse.open(), server, knowledge, progress=progress.of(context)
        )
        metadata = postgres_table_metadata(
            server, "knowledge.observations", shown=("source", "observed_at", "stated")
        )
        version = contents_version(
            server, "knowledge.observations", "series_id, source, valid_from, observed_at, stated"
        )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata={
            **metadata,
            "new_observations": summary.observations,
            "new_series": summary.series,
            "reused": not summary.observations,
            "seconds": time.perf_counter() - started,
            "summary": f"{summary.observations:,} new",
        },
    )


@dg.asset(
    deps=["fact_observations"],
    group_name="facts",
    kinds={"postgres", "pytorch"},
    owners=OWNERS,
    code_version=SENTENCES_VERSION,
)
def facts(
    context: dg.AssetExecutionContext,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row a value that was held to be true: over which time, and when it was believed."""
    started = time.perf_counter()
    with postgres.open() as server:
        summary = reconcile_fact_sentences(
            server, models.cached_encoder(), progress=progress.of(context)
        )
        metadata = postgres_table_metadata(
            server, "knowledge.fact_versions", shown=("value", "source", "valid", "recorded")
        )
        version = contents_version(
            server, "knowledge.fact_versions", "series_id, slot, value, valid, recorded"
        )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata={**metadata, **reconciled(summary, started)},
    )


@dg.asset(
    deps=["facts"],
    group_name="facts",
    kinds={"postgres"},
    owners=OWNERS,
    code_version="1",
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=6), warn_window=timedelta(hours=2)
    ),
)
def fact_freshness(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row a kind of fact: how many are fresh, after what was due has been asked again."""
    started, settings = time.perf_counter(), postgres.settings()
    knowledge = configured_knowledge(settings)
    with postgres.open() as server:
        summary = refresh_what_is_due(
            warehouse.open(),
            server,
            models.cached_encoder(),
            knowledge,
            deletion_share_limit=settings.deletion_share_limit,
            secrets=settings.http_secrets,
            progress=progress.of(context),
        )
        kinds, done = facts_past_time_to_live(server), summary.refreshed
    return dg.MaterializeResult(
        metadata={
            "dagster/table_name": "postgres.knowledge.current_facts",
            "dagster/row_count": kinds.height,
            "dagster/column_schema": dg.TableSchema(
                columns=[
                    dg.TableColumn(name, str(dtype).lower(), FRESHNESS_COLUMNS[name])
                    for name, dtype in kinds.schema.items()
                ]
            ),
            "checked": done.checked,
            "changed": done.changed,
            "failed": done.failed,
            "encoded": summary.encoded,
            "kinds": dg.MetadataValue.md(markdown_table(kinds)),
            "reused": not done.checked,
            "seconds": time.perf_counter() - started,
            "summary": f"{done.checked:,} due, {done.changed:,} changed, {done.failed:,} failed",
        }
    )
