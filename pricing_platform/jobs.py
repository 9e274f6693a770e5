"""The jobs: which assets are materialized together, and in which order."""

from typing import Any

import dagster as dg
from pydantic import Field

from pricing_platform.instance import IN_PROCESS, only_build
from pricing_platform.partitions import all_partitions
from pricing_platform.resources import WarehouseResource

INGESTION_GROUPS = ("ingestion", "curated", "embeddings", "facts")
EVALUATION_GROUPS = ("training", "predictions", "evaluation")
STAGES = ("ingest_and_embed", "retrain_and_evaluate")

ingest_and_embed = dg.define_asset_job(
    "ingest_and_embed",
    selection=dg.AssetSelection.groups(*INGESTION_GROUPS),
    description="Reads listings and documents, and brings embeddings and facts up to date.",
)
refresh_stale_facts = dg.define_asset_job(
    "refresh_stale_facts",
    selection=dg.AssetSelection.assets("fact_freshness"),
    description="Asks the sources again for the facts that are due; nothing when none is.",
)
retrain_and_evaluate = dg.define_asset_job(
    "retrain_and_evaluate",
    selection=dg.AssetSelection.groups(*EVALUATION_GROUPS),
    description="Fits what has to be fitted again, predicts, and evaluates.",
)


class StagesConfig(dg.Config):
    """Which of the two other jobs are run, in this order."""

    stages: list[str] = Field(default_factory=lambda: list(STAGES))


@dg.op
def run_stages(
    context: dg.OpExecutionContext, config: StagesConfig, warehouse: WarehouseResource
) -> None:
    """Runs asset jobs over all of their partitions, each as a run of its own in this process.

    Raises:
        dagster.Failure: when a run did not succeed; its own page says why.
        PlatformError: when another build of the home goes on.
    """
    with only_build(warehouse.settings(), context.instance):
        for stage in config.stages:
            _run_stage(context, stage)


def _run_stage(context: dg.OpExecutionContext, stage: str) -> None:
    job = context.repository_def.get_job(stage)
    assert job.partitions_def is not None  # noqa: S101
    result = job.execute_in_process(
        instance=context.instance,
        tags=all_partitions(job.partitions_def) | IN_PROCESS,
        raise_on_error=False,
    )
    context.log.info(f"{stage}: run {result.run_id}")
    if not result.success:
        raise dg.Failure(
            f"{stage} failed; see run {result.run_id}.", metadata={"run": result.run_id}
        )


# Dagster gives a run partitions of one kind; sources and techniques are two, so all of it is two
# runs, one after the other.
@dg.job(description="All of it: both other jobs, each as a run of its own over all partitions.")
def build_platform() -> None:
    """Both stages, the second after the first."""
    run_stages()


JOBS: list[Any] = [ingest_and_embed, refresh_stale_facts, retrain_and_evaluate, build_platform]
