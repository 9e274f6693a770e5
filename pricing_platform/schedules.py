"""When the jobs run by themselves."""

import dagster as dg

from pricing_platform.partitions import all_partitions
from pricing_platform.settings import Settings


def schedules(
    settings: Settings,
    source_partitions: dg.PartitionsDefinition[str],
    technique_partitions: dg.PartitionsDefinition[str],
) -> list[dg.ScheduleDefinition]:
    """Ingestion daily, retraining weekly; on or off by the setting ``schedules``."""
    status = (
        dg.DefaultScheduleStatus.RUNNING
        if settings.schedules == "running"
        else dg.DefaultScheduleStatus.STOPPED
    )

    def over_all_partitions(
        job: str, cron: str, partitions: dg.PartitionsDefinition[str]
    ) -> dg.ScheduleDefinition:
        return dg.ScheduleDefinition(
            name=f"{job}_schedule",
            job_name=job,
            cron_schedule=cron,
            execution_timezone=settings.time_zone,
            default_status=status,
            tags=all_partitions(partitions),
        )

    return [
        over_all_partitions("ingest_and_embed", "0 3 * * *", source_partitions),
        over_all_partitions("retrain_and_evaluate", "0 5 * * 0", technique_partitions),
    ]
