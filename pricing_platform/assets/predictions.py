"""The record from which all evaluation follows: what each technique says of each item."""

import time
from collections.abc import Sequence

import dagster as dg

from pricing_platform.assets.reporting import OWNERS, RefreshConfig, table_metadata
from pricing_platform.assets.technique_inputs import TechniqueInputs
from pricing_platform.catalog.configured_sources import configured_sources
from pricing_platform.catalog.reference_prices import read_reference_prices
from pricing_platform.errors import ModelNotAskedError
from pricing_platform.partitions import partitions_of
from pricing_platform.pricing.fitting import EvaluationSample
from pricing_platform.pricing.predictions import (
    ASKED_ITEMS,
    PREDICTIONS,
    PREDICTIONS_VERSION,
    PredictionMaker,
)
from pricing_platform.pricing.reference_rows import NOISE_FLOOR
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.stores.provenance import Refreshed
from pricing_platform.stores.warehouse import Warehouse


def predictions_asset(techniques: Sequence[str]) -> dg.AssetsDefinition:
    """``predictions`` with a partition for each of the techniques, and one for the noise floor."""
    partitions = (*techniques, NOISE_FLOOR)

    @dg.asset(
        deps=[
            "classical_model",
            "learned_comparables_model",
            "encoder_adapter",
            "language_adapter",
            "language_techniques",
        ],
        group_name="predictions",
        kinds={"duckdb", "pytorch"},
        owners=OWNERS,
        code_version=PREDICTIONS_VERSION,
        partitions_def=partitions_of(partitions),
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
        inputs = TechniqueInputs.current(context, warehouse, postgres, models)
        store = inputs.store
        maker = PredictionMaker(
            store,
            inputs.fitting,
            inputs.items,
            references=lambda: read_reference_prices(configured_sources(inputs.settings)),
            language=inputs.language,
            fine_tuning=inputs.fine_tuning,
            told_version=inputs.told_version,
            sample=EvaluationSample.from_settings(inputs.settings),
            progress=progress.of(context),
        )
        for technique in context.partition_keys:
            started = time.perf_counter()
            refreshed = _refreshed(context, maker, technique, force=config.force)
            context.add_asset_metadata(
                {
                    "dagster/row_count": refreshed.state(PREDICTIONS).row_count,
                    "reused": refreshed.reused,
                    "seconds": time.perf_counter() - started,
                    **_headline(store, technique),
                },
                partition_key=technique,
            )
        store.drop_partitions(PREDICTIONS, "technique", keep=partitions)
        store.drop_partitions(ASKED_ITEMS, "technique", keep=partitions)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(store.data_version(PREDICTIONS)),
            metadata=table_metadata(store, PREDICTIONS),
        )

    return predictions


def _refreshed(
    context: dg.AssetExecutionContext, maker: PredictionMaker, technique: str, *, force: bool
) -> Refreshed:
    """The technique's rows; where its language model can't be asked, those that stand or say so."""
    try:
        return maker.refresh(technique, force=force)
    except ModelNotAskedError as error:
        context.log.error(f"{technique} was not asked: {error}")
        return maker.record_failure(technique, error)


_BY_SPLIT = """
SELECT split, avg(abs(estimate - price)) AS mae, count(failure) AS failures
FROM evaluation.predictions WHERE technique = ? GROUP BY split ORDER BY split
"""
_TOTALS = """
SELECT sum(tokens_in) AS tokens_in, sum(tokens_cached) AS tokens_cached,
    sum(tokens_out) AS tokens_out, sum(cost_usd) AS cost_usd
FROM evaluation.predictions WHERE technique = ?
"""


def _headline(store: Warehouse, technique: str) -> dict[str, float]:
    """Error and failures by split, tokens and cost in all: numbers that plot over time."""
    numbers = store.frame(_TOTALS, [technique]).row(0, named=True)
    for split, mae, failures in store.frame(_BY_SPLIT, [technique]).iter_rows():
        numbers |= {f"{split}/mae": mae, f"{split}/failures": failures}
    return {name: float(value) for name, value in numbers.items() if value is not None}
