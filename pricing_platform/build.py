"""The whole platform in this process: what ``pricing-platform run`` does.

Here belongs the order of the two jobs and what is told at the end. What they do stands in the
assets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from pricing_platform.catalog.curation import many_refusals
from pricing_platform.checks import CHECKS
from pricing_platform.console import TerminalProgress, messages
from pricing_platform.definitions import build_defs
from pricing_platform.errors import ModelNotAskedError, PlatformError
from pricing_platform.instance import IN_PROCESS, only_build, open_instance
from pricing_platform.jobs import STAGES
from pricing_platform.partitions import all_partitions
from pricing_platform.pricing.predictions import not_asked
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse

_EXPECTED = {spec.name: spec.description for check in CHECKS for spec in check.check_specs}
"""What each check expects, in words."""


@dataclass(frozen=True)
class BuildSummary:
    """What a build did and where its results are."""

    warehouse: Warehouse
    report: Path
    encoded: int
    trained: int
    seconds: float
    not_asked: Mapping[str, str]
    """Why a technique has no estimates, for each whose language model could not be asked."""
    refusals: list[str]
    """Of each source and rule that refused many of its rows, how many and why."""


def build_platform(
    settings: Settings, *, stages: Sequence[str] = STAGES, force: bool = False
) -> BuildSummary:
    """Materializes everything in this process, the stages one after the other.

    Args:
        settings: where the sources are and where the home is.
        stages: the jobs to run.
        force: recompute what has not changed, too.

    Raises:
        PlatformError: the first one that an asset raised, or what check stopped the build.
    """
    started = time.perf_counter()
    materializations: list[dg.AssetMaterialization] = []
    with (
        open_instance(settings) as instance,
        only_build(settings, instance),
        # To start and stop an embedded server costs a third of a second in every step.
        Postgres.from_settings(settings).held(),
        TerminalProgress().shown() as progress,
    ):
        definitions = build_defs(settings, progress=progress, loggers={"console": step_lines})
        for stage in stages:
            messages.print(f"[bold]{stage}[/]")
            job = definitions.resolve_job_def(stage)
            assert job.partitions_def is not None  # noqa: S101
            result = job.execute_in_process(
                instance=instance,
                tags=all_partitions(job.partitions_def) | IN_PROCESS,
                run_config=_run_config(job, force=force),
                raise_on_error=False,
            )
            _require_success(result)
            materializations += [
                event.materialization
                for event in result.all_events
                if event.is_step_materialization
            ]
    warehouse = Warehouse.from_settings(settings)
    unasked = _with_causes(not_asked(warehouse), materializations)
    _print_not_asked(unasked)
    return BuildSummary(
        warehouse=warehouse,
        report=settings.reports_folder / "evaluation.html",
        encoded=_total(materializations, "encoded"),
        trained=_total(materializations, "trained"),
        seconds=time.perf_counter() - started,
        not_asked=unasked,
        refusals=many_refusals(warehouse),
    )


def _with_causes(
    reasons: Mapping[str, str], materializations: Sequence[dg.AssetMaterialization]
) -> dict[str, str]:
    """The reasons; of a technique that could not even be fitted, what kept it from that."""
    unfitted: dict[str, str] = {}
    for materialization in materializations:
        told = materialization.metadata.get("unfitted")
        if isinstance(told, dg.JsonMetadataValue) and isinstance(told.value, dict):
            unfitted |= told.value
    return {name: unfitted.get(name, reason) for name, reason in reasons.items()}


def _print_not_asked(reasons: Mapping[str, str]) -> None:
    """One line a reason, which hold for most or all of the techniques alike."""
    for reason in dict.fromkeys(reasons.values()):
        names = ", ".join(name for name, told in reasons.items() if told == reason)
        messages.print(
            f"not asked, and so without estimates: {names}. {reason}",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _run_config(job: dg.JobDefinition, *, force: bool) -> dict[str, Any]:
    steps = [node.name for node in job.nodes if _takes_force(node.definition)]
    forced = {step: {"config": {"force": True}} for step in steps} if force else {}
    # Named here, or Dagster logs to its own console besides.
    return {"ops": forced, "loggers": {"console": {}}}


def _takes_force(step: dg.NodeDefinition) -> bool:
    schema = getattr(step, "config_schema", None)
    return schema is not None and "force" in getattr(schema.config_type, "fields", {})


def _require_success(result: dg.ExecuteInProcessResult) -> None:
    if result.success:
        return
    for event in result.all_events:
        if event.is_failure and event.is_step_event:
            raise _first_cause(event.step_failure_data.error, str(event.step_key))
    raise PlatformError("The run failed before its first step; its page in the UI says why.")


def _first_cause(error: Any, step: str) -> PlatformError:
    """The message for people at the bottom of the chain of causes, or the whole chain."""
    cause = error
    while cause is not None:
        if cause.cls_name == "DagsterAssetCheckFailedError":
            return PlatformError(
                f"{step}: the check found what must not be, so nothing that follows was built; what"
                " was there before stands.",
                "The rows that it found stand on the check's page in `pricing-platform ui`.",
            )
        if cause.cls_name in (PlatformError.__name__, ModelNotAskedError.__name__):
            return PlatformError(f"{step}: " + cause.message.partition(": ")[2].strip())
        if cause.cls_name == "DagsterExecutionInterruptedError":
            raise KeyboardInterrupt
        cause = cause.cause
    return PlatformError(f"{step} failed by a defect of the platform.\n{error.to_string()}")


def _total(materializations: list[dg.AssetMaterialization], key: str) -> int:
    return sum(int(str(m.metadata[key].value)) for m in materializations if key in m.metadata)


class StepLines(logging.Handler):
    """Prints a line for every asset that a run has materialized and every check that failed."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the events that a person waits for; all others stay in Dagster's own log."""
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is None:
            return
        if event.event_type_value == "ASSET_MATERIALIZATION":
            _print_materialization(event.event_specific_data.materialization)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            _print_failed_check(event.event_specific_data)


def _print_failed_check(evaluation: dg.AssetCheckEvaluation) -> None:
    """What should be so and is not, and by what numbers; rows stand on the check's page."""
    if evaluation.passed:
        return
    numbers = [
        f"{name} {metadata.value:,.4g}"
        for name, metadata in evaluation.metadata.items()
        if isinstance(metadata, dg.IntMetadataValue | dg.FloatMetadataValue)
        and metadata.value is not None
    ]
    told = f" ({', '.join(numbers)})" if numbers else ""
    messages.print(
        f"  [yellow]check {evaluation.check_name} failed[/]; expected:"
        f" {_EXPECTED[evaluation.check_name]}{told}",
        highlight=False,
    )


def _print_materialization(materialization: dg.AssetMaterialization) -> None:
    metadata = {key: value.value for key, value in materialization.metadata.items()}
    name = "/".join(materialization.asset_key.path)
    if materialization.partition:
        name += f"\\[{materialization.partition}]"
    parts = []
    if metadata.get("dagster/row_count") is not None:
        parts.append(f"{metadata['dagster/row_count']:,} rows")
    if metadata.get("summary"):
        parts.append(str(metadata["summary"]))
    if metadata.get("reused"):
        parts.append("unchanged")
    elif metadata.get("seconds") is not None:
        parts.append(f"{metadata['seconds']:.1f} s")
    messages.print(f"  [green]✓[/] {name:<34} {', '.join(parts)}", highlight=False)


@dg.logger(config_schema={})
def step_lines(_context: dg.InitLoggerContext) -> logging.Logger:
    """Dagster's log for the terminal: a line a materialized asset."""
    logger = logging.Logger("pricing_platform.build", level=logging.DEBUG)
    logger.addHandler(StepLines())
    return logger
