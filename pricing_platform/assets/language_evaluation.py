"""The assets that measure language models: what context is worth, what texts do, what is lost."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import dagster as dg
import polars as pl

from pricing_platform.assets.reporting import (
    OWNERS,
    RefreshConfig,
    markdown_table,
    pictures,
    table_result,
)
from pricing_platform.assets.technique_inputs import TechniqueInputs, calls_taken
from pricing_platform.errors import ModelNotAskedError
from pricing_platform.evaluation.context_sweep import (
    CONTEXT_SWEEP_VERSION,
    KINDS,
    ContextKind,
    sweep_sample,
)
from pricing_platform.evaluation.context_sweep import context_sweep as sweep_context
from pricing_platform.evaluation.forgetting_pictures import draw_forgetting
from pricing_platform.evaluation.injections import (
    ALL_KINDS,
    INJECTIONS_VERSION,
    injection_sample,
    measure_injections,
)
from pricing_platform.evaluation.injections import (
    injection_resistance as resistance_of,
)
from pricing_platform.evaluation.pictures import PICTURES_VERSION, draw_context_sweep
from pricing_platform.evaluation.pricer import Pricer
from pricing_platform.evaluation.queries import run_query
from pricing_platform.finetuning.checkpoints import checkpoint_label
from pricing_platform.finetuning.forgetting.curve import FORGETTING_TABLES
from pricing_platform.pricing.finetuned.fine_tuned_technique import FineTunedTechnique
from pricing_platform.pricing.finetuned.forgetting.forgetting_curve import (
    FORGETTING_VERSION,
    measure_forgetting,
)
from pricing_platform.pricing.fitting import load
from pricing_platform.pricing.prompting.prompt_multi_shot import PromptMultiShot
from pricing_platform.pricing.prompting.rag import Rag
from pricing_platform.pricing.registry import FINE_TUNED_LANGUAGE, LANGUAGE_TECHNIQUES
from pricing_platform.progress import Progress
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.settings import Settings
from pricing_platform.stores.provenance import Refreshed, refresh
from pricing_platform.stores.warehouse import Warehouse, fingerprint

_SWEEP = "evaluation.context_sweep"
_RESISTANCE = "evaluation.injection_resistance"
_SHIFTS = "evaluation.injected_estimates"
_REFERENCES = ("stack", "encoder_finetuned")
"""Techniques that read a text and ask no language model: any sentence moves them a little."""

_SWEPT: dict[ContextKind, str] = {"shots": PromptMultiShot.name, "comparables": Rag.name}
"""The technique that is shown each kind of context."""

_SWEPT_COUNTS = (0, 1, 3, 5, 10)


@dg.asset(
    deps=["language_techniques"],
    group_name="evaluation",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version=CONTEXT_SWEEP_VERSION,
    pool="training",
)
def context_sweep(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row a kind of context and count: what so many shots or comparables bring and cost."""
    started = time.perf_counter()
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    store, settings, fitting = inputs.store, inputs.settings, inputs.fitting

    def part(kind: ContextKind) -> _Part:
        return _Part(
            lambda: fingerprint(
                CONTEXT_SWEEP_VERSION,
                fitting.fingerprint(_SWEPT[kind]),
                fitting.require(_SWEPT[kind]).manifest.files,
                inputs.told_version(),
                settings.measured_items,
            ),
            lambda: {_SWEEP: _swept(kind, inputs, progress.of(context))},
        )

    parts: dict[str, _Part] = {kind: part(kind) for kind in KINDS}
    refreshed, missing = _measured_parts(
        context, store, [_SWEEP], "kind", parts, force=config.force
    )
    told = _told_of_parts(missing, parts, lambda: _sweep_headline(store, settings, missing))
    seconds = time.perf_counter() - started
    return table_result(store, _SWEEP, refreshed, seconds=seconds, metadata=told)


@dataclass(frozen=True)
class _Part:
    """The rows of one kind or technique: the fingerprint of what they follow from, and themselves.

    Both raise ModelNotAskedError where its model can't be asked.
    """

    inputs: Callable[[], str]
    measure: Callable[[], Mapping[str, pl.DataFrame]]


def _measured_parts(
    context: dg.AssetExecutionContext,
    store: Warehouse,
    tables: Sequence[str],
    column: str,
    parts: Mapping[str, _Part],
    *,
    force: bool,
) -> tuple[Refreshed, dict[str, str]]:
    """Refreshes the tables part by part, and tells of which parts a model can't be asked, and why.

    Such a part takes nothing from the others; its own rows stand as they were measured before.
    """
    reused, missing = True, {}
    for name, part in parts.items():
        try:
            refreshed = refresh(
                store,
                tables,
                lambda _folder, part=part: part.measure(),  # type: ignore[misc]
                inputs=part.inputs(),
                partition=(column, name),
                force=force,
            )
            reused &= refreshed.reused
        except ModelNotAskedError as error:
            context.log.error(f"{name} was not measured, and what was before stands: {error}")
            missing[name] = error.problem
    for table in tables:
        store.drop_partitions(table, column, keep=list(parts))
    return Refreshed({}, reused), missing


def _told_of_parts(
    missing: Mapping[str, str],
    parts: Mapping[str, _Part],
    headline: Callable[[], Mapping[str, Any]],
) -> dict[str, Any]:
    """What was measured, as far as it was, and why the rest was not: by reason, as told once."""
    by_reason: dict[str, list[str]] = {}
    for name, problem in missing.items():
        by_reason.setdefault(problem, []).append(name)
    if len(missing) == len(parts):
        return {"summary": f"not measured: {'; '.join(by_reason)}"}
    told = dict(headline())
    reasons = [f"{', '.join(names)} ({problem})" for problem, names in by_reason.items()]
    if reasons:
        told["summary"] += f"; not measured: {'; '.join(reasons)}"
    return told


def _swept(kind: ContextKind, inputs: TechniqueInputs, progress: Progress) -> pl.DataFrame:
    """What each count of shots or comparables brings; its calls go into a ledger of their own."""
    seed, name = inputs.settings.seed, _SWEPT[kind]
    with inputs.kept_calls(f"context_sweep/{kind}") as opened:
        language = opened()
        fitted = load(name, inputs.fitting.require(name), language)
        train = inputs.items().split("train")
        if isinstance(fitted, Rag):
            fitted.make_ready()  # once, for all counts

        def technique_of(_kind: ContextKind, count: int) -> Pricer:
            if isinstance(fitted, Rag):
                return fitted.with_options(replace(fitted.options, count=count))
            assert isinstance(fitted, PromptMultiShot)  # noqa: S101
            # Of the shots, the checkpoint keeps only those of the count that was chosen.
            prepared = PromptMultiShot.prepared(train, seed=seed, language=language, count=count)
            return prepared.changed(form=fitted.form, sharpness=fitted.sharpness)

        swept = sweep_context(
            sweep_sample(inputs.items(), inputs.settings.measured_items, seed=seed),
            technique_of,
            seed=seed,
            kinds=(kind,),
            counts=_SWEPT_COUNTS,
            progress=progress,
        )
        language.ledger.require_answers()
        return swept


def _sweep_headline(
    store: Warehouse, settings: Settings, missing: Collection[str]
) -> dict[str, Any]:
    """The knees as numbers that plot over time, the table and the picture.

    Of the kinds that are missing, which were not measured now, the table alone tells.
    """
    sweep = run_query(store, "context_sweep")
    found = sweep.filter("is_knee", ~pl.col("kind").is_in(missing))
    knees = {row["kind"]: row for row in found.iter_rows(named=True)}
    numbers = {
        f"{kind}/{name}": row[name] for kind, row in knees.items() for name in ("count", "mae")
    }
    told = ", ".join(f"knee at {row['count']} {kind}" for kind, row in knees.items())
    return {
        **numbers,
        **calls_taken(store, "context_sweep/"),
        "sweep": dg.MetadataValue.md(markdown_table(sweep)),
        "summary": told or "no knee",
        **pictures(
            settings.cache_folder / "pictures" / "context_sweep",
            fingerprint(PICTURES_VERSION, store.data_version(_SWEEP))[:32],
            lambda: draw_context_sweep(store),
        ),
    }


@dg.asset(
    deps=["language_techniques", "classical_model", "encoder_adapter"],
    group_name="evaluation",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version=INJECTIONS_VERSION,
    pool="training",
)
def injection_resistance(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row a technique and kind of injection: how often a planted order moves the estimate."""
    started = time.perf_counter()
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    store, fitting = inputs.store, inputs.fitting

    def measure(technique: str) -> dict[str, pl.DataFrame]:
        shifts = _shifts(technique, inputs, progress.of(context))
        return {_RESISTANCE: resistance_of(shifts, seed=fitting.seed), _SHIFTS: shifts}

    def part(technique: str) -> _Part:
        asks = technique in LANGUAGE_TECHNIQUES
        return _Part(
            lambda: fingerprint(
                INJECTIONS_VERSION,
                fitting.fingerprint(technique),
                fitting.require(technique).manifest.files,
                *([inputs.told_version()] if asks else []),
                inputs.settings.injected_items,
            ),
            lambda: measure(technique),
        )

    parts = {name: part(name) for name in (*_REFERENCES, *LANGUAGE_TECHNIQUES)}
    refreshed, missing = _measured_parts(
        context, store, [_RESISTANCE, _SHIFTS], "technique", parts, force=config.force
    )
    told = _told_of_parts(missing, parts, lambda: _injection_headline(store, missing))
    seconds = time.perf_counter() - started
    return table_result(store, _RESISTANCE, refreshed, seconds=seconds, metadata=told)


def _shifts(technique: str, inputs: TechniqueInputs, progress: Progress) -> pl.DataFrame:
    """What the injections do to one technique; its calls go into the ledger."""
    fitting = inputs.fitting
    with inputs.kept_calls(f"injection_resistance/{technique}") as language:
        asked = language() if technique in LANGUAGE_TECHNIQUES else None
        shifts = measure_injections(
            load(technique, fitting.require(technique), asked),
            injection_sample(inputs.items(), inputs.settings.injected_items, seed=fitting.seed),
            name=technique,
            seed=fitting.seed,
            progress=progress,
        )
        if asked:
            asked.ledger.require_answers()
        return shifts


def _injection_headline(store: Warehouse, missing: Collection[str]) -> dict[str, Any]:
    """The share moved by technique, as numbers that plot over time; the table, of all of them.

    The numbers leave out those that are missing, which were not measured now.
    """
    found = run_query(store, "injection_resistance")
    measured = found.filter(~pl.col("technique").is_in(missing))
    overall = measured.filter(kind=ALL_KINDS).drop_nulls("percent_moved")
    numbers = {
        f"{row['technique']}/percent_moved": row["percent_moved"]
        for row in overall.iter_rows(named=True)
    }
    worst = max(numbers.values(), default=None)
    told = "nothing was measured" if worst is None else f"at most {worst:.0f} % moved"
    numbers |= calls_taken(store, "injection_resistance/")
    return {**numbers, "resistance": dg.MetadataValue.md(markdown_table(found)), "summary": told}


@dg.asset(
    deps=["language_adapter"],
    group_name="evaluation",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version=FORGETTING_VERSION,
    pool="training",
)
def forgetting(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row a fine-tuned model, mitigation, point of training and strength: what it forgot."""
    started = time.perf_counter()
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    store, settings, fitting = inputs.store, inputs.settings, inputs.fitting

    def measure(folder: Path) -> dict[str, pl.DataFrame]:
        checkpoints = {name: fitting.require(name) for name in FINE_TUNED_LANGUAGE}
        fine_tuned = {
            name: load(name, checkpoint, fine_tuning=inputs.fine_tuning())
            for name, checkpoint in checkpoints.items()
        }
        items = inputs.items()
        curve = measure_forgetting(
            cast("dict[str, FineTunedTechnique]", fine_tuned),
            {name: checkpoint_label(name, at) for name, at in checkpoints.items()},
            items.split("train"),
            items.split("validation"),
            folder,
            limit=settings.forgetting_limit,
            seed=settings.seed,
            progress=progress.of(context),
        )
        return curve.tables()

    def measured() -> Refreshed:
        return refresh(
            store,
            FORGETTING_TABLES,
            measure,
            inputs=fingerprint(
                FORGETTING_VERSION,
                *(fitting.fingerprint(name) for name in FINE_TUNED_LANGUAGE),
                *(fitting.require(name).manifest.files for name in FINE_TUNED_LANGUAGE),
            ),
            force=config.force,
        )

    refreshed, told = _measured_or_kept(
        context, measured, lambda: _forgetting_headline(store, settings)
    )
    seconds = time.perf_counter() - started
    return table_result(store, FORGETTING_TABLES[0], refreshed, seconds=seconds, metadata=told)


def _measured_or_kept(
    context: dg.AssetExecutionContext,
    measured: Callable[[], Refreshed],
    headline: Callable[[], Mapping[str, Any]],
) -> tuple[Refreshed, Mapping[str, Any]]:
    """What was measured; where a model can't be asked, the tables stand, and why is told."""
    try:
        return measured(), headline()
    except ModelNotAskedError as error:
        context.log.error(f"Nothing was measured, and what was before stands: {error}")
        return Refreshed({}, reused=True), {"summary": f"not measured: {error.problem}"}


def _forgetting_headline(store: Warehouse, settings: Settings) -> dict[str, Any]:
    """What each promoted model forgot as numbers that plot over time, the table, the picture."""
    found = run_query(store, "forgetting")
    promoted = store.frame(
        "SELECT technique, adapter_scale, accuracy_lost, perplexity_gained, price_mae"
        " FROM evaluation.forgetting WHERE is_promoted ORDER BY technique"
    )
    numbers = {
        f"{row['technique']}/{name}": row[name]
        for row in promoted.iter_rows(named=True)
        for name in ("adapter_scale", "accuracy_lost", "perplexity_gained", "price_mae")
        if row[name] is not None
    }
    scales = ", ".join(
        f"{row['technique']} at {row['adapter_scale']:g}" for row in promoted.iter_rows(named=True)
    )
    return {
        **numbers,
        "forgetting": dg.MetadataValue.md(markdown_table(found)),
        "summary": f"within the limit: {scales}" if scales else "nothing is within the limit",
        **pictures(
            settings.cache_folder / "pictures" / "forgetting",
            fingerprint(FORGETTING_VERSION, store.data_version(FORGETTING_TABLES[0]))[:32],
            lambda: draw_forgetting(store, limit=settings.forgetting_limit),
        ),
    }
