"""Everything that Dagster sees, built by one function for production, the CLI and the tests."""

from collections.abc import Mapping

import dagster as dg

from pricing_platform.assets import ASSETS
from pricing_platform.assets.ingestion import ingestion_assets
from pricing_platform.assets.predictions import predictions_asset
from pricing_platform.catalog.configured_sources import configured_source_names
from pricing_platform.checks import CHECKS
from pricing_platform.jobs import JOBS
from pricing_platform.pricing.registry import technique_names
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
    WatchedProgress,
)
from pricing_platform.schedules import schedules
from pricing_platform.settings import Settings, load_settings

_EXECUTORS: Mapping[str, dg.ExecutorDefinition] = {
    "in_process": dg.in_process_executor,
    "multiprocess": dg.multiprocess_executor,
}


def build_defs(
    settings: Settings,
    *,
    progress: WatchedProgress | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """The assets, checks, jobs, schedules and resources for these settings.

    Args:
        settings: where everything is.
        progress: who watches long work; by default the run's log.
        loggers: instead of Dagster's own console logger.
    """
    source_names = configured_source_names(settings)
    return dg.Definitions(
        assets=[
            *ingestion_assets(source_names),
            *ASSETS,
            predictions_asset(technique_names(settings)),
        ],
        asset_checks=CHECKS,
        jobs=JOBS,
        schedules=schedules(settings),
        resources={
            "warehouse": WarehouseResource.from_settings(settings),
            "postgres": PostgresResource.from_settings(settings),
            "models": ModelsResource.from_settings(settings),
            "progress": progress or LoggedProgress(),
        },
        executor=_EXECUTORS[settings.executor],
        loggers=loggers,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What the code location loads: the definitions for the settings of the environment."""
    return build_defs(load_settings())
