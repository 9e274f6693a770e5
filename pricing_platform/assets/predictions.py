"""The record from which all evaluation follows: what each technique says of each item."""

import dagster as dg

from pricing_platform.assets.reporting import OWNERS, RefreshConfig
from pricing_platform.assets.training import current_fitting
from pricing_platform.evaluation.reference import NOISE_FLOOR
from pricing_platform.partitions import partitions_of
from pricing_platform.pricing.fitting import PREDICTIONS_VERSION
from pricing_platform.pricing.registry import technique_names
from pricing_platform.pricing.technique import ItemSet
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.retrieval.item_embeddings import load_item_set

TABLE = "evaluation.predictions"


@dg.asset(
    deps=["classical_model", "learned_comparables_model", "encoder_adapter"],
    group_name="predictions",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version=PREDICTIONS_VERSION,
    partitions_def=partitions_of([*technique_names(), NOISE_FLOOR]),
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
    loaded: list[ItemSet] = []

    def items() -> ItemSet:
        if not loaded:
            with postgres.open() as server:
                loaded.append(load_item_set(store, server))
        return loaded[0]
