"""When the jobs run by themselves."""

import dagster as dg

from pricing_platform.settings import Settings

STAGE_CRONS = {"ingest_and_embed": "0 3 * * *", "retrain_and_evaluate": "0 5 * * 0"}
"""Ingestion daily, retraining weekly."""


def schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """A schedule a stage; on or off by the setting ``schedules``.

    They start ``build_platform`` with one stage, since a schedule of Dagster can't ask an asset job
    for all of its partitions in one run.
    """
    running = settings.schedules == "running"
    return [
        dg.ScheduleDefinition(
            name=f"{stage}_schedule",
            job_name="build_platform",
            run_config={"ops": {"run_stages": {"config": {"stages": [stage]}}}},
            cron_schedule=cron,
            execution_timezone=settings.time_zone,
            default_status=(
                dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED
            ),
        )
        for stage, cron in STAGE_CRONS.items()
    ]
