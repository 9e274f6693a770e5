"""When the jobs run by themselves."""

from typing import Any

import dagster as dg

from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings


def schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Stale facts hourly, ingestion daily, retraining weekly, or when the settings say.

    They are on or off by the setting ``schedules``. The stages are started as ``build_platform``
    with one stage, since a schedule of Dagster can't ask an asset job for all of its partitions in
    one run.

    Raises:
        PlatformError: when a setting is no cron expression.
    """
    return [
        _schedule(
            settings, "refresh_stale_facts", settings.facts_cron, job_name="refresh_stale_facts"
        ),
        _stage(settings, "ingest_and_embed", settings.ingestion_cron),
        _stage(settings, "retrain_and_evaluate", settings.retraining_cron),
    ]


def _stage(settings: Settings, stage: str, cron: str) -> dg.ScheduleDefinition:
    return _schedule(
        settings,
        stage,
        cron,
        job_name="build_platform",
        run_config={"ops": {"run_stages": {"config": {"stages": [stage]}}}},
    )


def _schedule(settings: Settings, name: str, cron: str, **more: Any) -> dg.ScheduleDefinition:
    on = settings.schedules == "running"
    try:
        return dg.ScheduleDefinition(
            name=f"{name}_schedule",
            cron_schedule=cron,
            execution_timezone=settings.time_zone,
            default_status=(
                dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED
            ),
            **more,
        )
    except dg.DagsterInvalidDefinitionError:
        raise PlatformError(
            f"{cron!r} is no time for {name}: it is not a cron expression.",
            "Write it as in 0 3 * * *, in PRICING_FACTS_CRON, PRICING_INGESTION_CRON or"
            " PRICING_RETRAINING_CRON.",
        ) from None
