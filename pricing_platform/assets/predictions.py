"""The record from which all evaluation follows: what each technique says of each item."""

import time

import dagster as dg

from pricing_platform.assets.reporting import OWNERS, RefreshConfig, table_metadata
from pricing_platform.assets.training import current_fitting, loaded_once
from pricing_platform.catalog.configured_sources import configured_sources
from pricing_platform.catalog.reference_prices import read_reference_prices
from pricing_platform.evaluation.reference import NOISE_FLOOR
from pricing_platform.partitions import partitions_of
from pricing_platform.pricing.predictions import PREDICTIONS, PREDICTIONS_VERSION, PredictionMaker
from pricing_platform.pricing.registry import technique_names
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.stores.warehouse import Warehouse

_PARTITIONS = (*technique_names(), NOISE_FLOOR)


@dg.asset(
    deps=["classical_model", "learned_comparables_model", "encoder_adapter"],
    group_name="predictions",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version=PREDICTIONS_VERSION,
    partitions_def=partitions_of(_PARTITIONS),
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="training",
)
def predictions(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row an item and technique: the record from which all evaluation follows."""
    store = warehouse.open()
    fitting = current_fitting(store, models)
    maker = PredictionMaker(
        store,
        fitting,
        loaded_once(store, postgres, fitting),
        references=lambda: read_reference_prices(configured_sources(warehouse.settings())),
        progress=progress.of(context),
    )
    for technique in context.partition_keys:
        started = time.perf_counter()
        refreshed = maker.refresh(technique, force=config.force)
        context.add_asset_metadata(
            {
                "dagster/row_count": refreshed.state(PREDICTIONS).row_count,
                "reused": refreshed.reused,
                "seconds": time.perf_counter() - started,
                **_headline(store, technique),
            },
            partition_key=technique,
        )
    store.drop_partitions(PREDICTIONS, "technique", keep=_PARTITIONS)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(store.data_version(PREDICTIONS)),
        metadata=table_metadata(store, PREDICTIONS),
    )


def _headline(store: Warehouse, technique: str) -> dict[str, float]:
    """The mean absolute error by split, as a number that plots over time."""
    errors = store.frame(
        "SELECT split, avg(abs(estimate - price)) AS mae FROM evaluation.predictions"
        " WHERE technique = ? AND estimate IS NOT NULL GROUP BY split ORDER BY split",
        [technique],
    )
    return {f"{split}/mae": mae for split, mae in errors.iter_rows()}
