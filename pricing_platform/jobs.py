"""The jobs: which assets are materialized together, and in which order."""

from typing import Any

import dagster as dg

from pricing_platform.partitions import all_partitions

INGESTION_GROUPS = ("ingestion", "curated", "embeddings")
EVALUATION_GROUPS = ("training", "predictions", "evaluation")
STAGES = ("ingest_and_embed", "retrain_and_evaluate")

ingest_and_embed = dg.define_asset_job(
    "ingest_and_embed",
    selection=dg.AssetSelection.groups(*INGESTION_GROUPS),
    description="Reads the sources, curates them, and brings the embeddings up to date.",
)
retrain_and_evaluate = dg.define_asset_job(
    "retrain_and_evaluate",
    selection=dg.AssetSelection.groups(*EVALUATION_GROUPS),
    description="Fits what has to be fitted again, predicts, and evaluates.",
)


def run_stage(context: dg.OpExecutionContext, stage: str) -> None:
    """Runs one of the jobs over all of its partitions, in this process and as a run of its own.

    Raises:
        dagster.Failure: when the run did not succeed; its own page says why.
    """
    job = context.repository_def.get_job(stage)
    assert job.partitions_def is not None  # noqa: S101
    result = job.execute_in_process(
        instance=context.instance,
        tags={**all_partitions(job.partitions_def), "dagster/parent_run_id": context.run_id},
        raise_on_error=False,
    )
    context.log.info(f"{stage}: run {result.run_id}")
    if not result.success:
        raise dg.Failure(
            f"{stage} failed; see run {result.run_id}.", metadata={"run_id": result.run_id}
        )


@dg.op(name="ingest_and_embed_stage", out=dg.Out(dg.Nothing))
def _ingest_and_embed(context: dg.OpExecutionContext) -> None:
    run_stage(context, "ingest_and_embed")


@dg.op(name="retrain_and_evaluate_stage", ins={"start": dg.In(dg.Nothing)})
def _retrain_and_evaluate(context: dg.OpExecutionContext) -> None:
    run_stage(context, "retrain_and_evaluate")


# Dagster gives a run partitions of one kind; sources and techniques are two, so all of it is two
# runs, one after the other.
@dg.job(description="All of it: both other jobs, each as a run of its own over all partitions.")
def build_platform() -> None:
    """Both stages, the second after the first."""
    _retrain_and_evaluate(_ingest_and_embed())


JOBS: list[Any] = [ingest_and_embed, retrain_and_evaluate, build_platform]
