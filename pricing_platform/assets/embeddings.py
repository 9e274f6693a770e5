"""The assets whose rows are vectors in Postgres."""

import time

import dagster as dg

from pricing_platform.assets.reporting import OWNERS
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.retrieval.item_embeddings import (
    ITEM_EMBEDDINGS_VERSION,
    reconcile_item_embeddings,
)
from pricing_platform.stores.warehouse import fingerprint

_COLUMNS = """
SELECT
    attname::text AS name,
    format_type(atttypid, atttypmod) AS type,
    coalesce(col_description(attrelid, attnum), '') AS description
FROM pg_attribute
WHERE attrelid = 'catalog.item_embeddings'::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""


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
        columns = server.frame(_COLUMNS)
    rows = summary.unchanged + summary.inserted + summary.updated
    return dg.MaterializeResult(
        data_version=dg.DataVersion(
            fingerprint(
                ITEM_EMBEDDINGS_VERSION, store.data_version("curated.items"), encoder.identity
            )[:32]
        ),
        metadata={
            "dagster/table_name": "postgres.catalog.item_embeddings",
            "dagster/row_count": rows,
            "dagster/column_schema": dg.TableSchema(
                columns=[dg.TableColumn(*column) for column in columns.iter_rows()]
            ),
            "inserted": summary.inserted,
            "updated": summary.updated,
            "deleted": summary.deleted,
            "encoded": summary.encoded,
            "reused": rows == summary.unchanged and not summary.deleted,
            "seconds": time.perf_counter() - started,
            "summary": f"{summary.encoded:,} encoded",
        },
    )
