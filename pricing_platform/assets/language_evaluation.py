"""The assets that measure language models: what context is worth, what texts do, what is lost."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
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
from pricing_platform.finetuning.forgetting.curve import FORGETTING_TABLES
from pricing_platform.pricing.finetuned.fine_tuned_technique import FineTunedTechnique
from pricing_platform.pricing.finetuned.forgetting_curve import (
    FORGETTING_VERSION,
    measure_forgetting,
)
from pricing_platform.pricing.fitting import load
from pricing_platform.pricing.prompt_multi_shot import PromptMultiShot
from pricing_platform.pricing.rag import Rag
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

_SWEPT = (PromptMultiShot.name, Rag.name)
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

    def measured() -> Refreshed:
        return refresh(
            store,
            [_SWEEP],
            lambda _folder: {_SWEEP: _swept(inputs, progress.of(context))},
            inputs=fingerprint(
                CONTEXT_SWEEP_VERSION,
                *(fitting.fingerprint(name) for name in _SWEPT),
                fitting.require(Rag.name).manifest.files,
                inputs.told_version(),
                settings.measured_items,
            ),
            force=config.force,
        )

    refreshed, told = _measured_or_kept(context, measured, lambda: _sweep_headline(store, settings))
    seconds = time.perf_counter() - started
    return table_result(store, _SWEEP, refreshed, seconds=seconds, metadata=told)


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


def _swept(inputs: TechniqueInputs, progress: Progress) -> pl.DataFrame:
    """What each count of shots and comparables brings; calls go into ledgers of their own."""
    seed = inputs.settings.seed
    with ExitStack() as ledgers:
        language = {
            kind: ledgers.enter_context(inputs.kept_calls(f"context_sweep/{kind}"))()
            for kind in KINDS
        }
        fitted = load(Rag.name, inputs.fitting.require(Rag.name), language["comparables"])
        assert isinstance(fitted, Rag)  # noqa: S101
        fitted.make_ready()  # once, for all counts
        shots = PromptMultiShot.name
        chosen = load(shots, inputs.fitting.require(shots), language["shots"])
        assert isinstance(chosen, PromptMultiShot)  # noqa: S101
        train = inputs.items().split("train")

        def technique_of(kind: ContextKind, count: int) -> Pricer:
            if kind == "comparables":
                return fitted.with_options(replace(fitted.options, count=count))
            # Of the shots, the checkpoint keeps only those of the count that was chosen.
            prepared = PromptMultiShot.prepared(
                train, seed=seed, language=language[kind], count=count
            )
            return prepared.changed(form=chosen.form, sharpness=chosen.sharpness)

        swept = sweep_context(
            sweep_sample(inputs.items(), inputs.settings.measured_items, seed=seed),
            technique_of,
            seed=seed,
            counts=_SWEPT_COUNTS,
            progress=progress,
        )
        for opened in language.values():
            opened.ledger.require_answers()
        return swept


def _sweep_headline(store: Warehouse, settings: Settings) -> dict[str, Any]:
    """The knees as numbers that plot over time, the table and the picture."""
    sweep = run_query(store, "context_sweep")
    knees = {row["kind"]: row for row in sweep.filter("is_knee").iter_rows(named=True)}
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
    techniques = (*_REFERENCES, *LANGUAGE_TECHNIQUES)

    def measure() -> dict[str, pl.DataFrame]:
        shifts = pl.concat(_shifts(name, inputs, progress.of(context)) for name in techniques)
        return {_RESISTANCE: resistance_of(shifts, seed=fitting.seed), _SHIFTS: shifts}

    def measured() -> Refreshed:
        return refresh(
            store,
            [_RESISTANCE, _SHIFTS],
            lambda _folder: measure(),
            inputs=fingerprint(
                INJECTIONS_VERSION,
                *(fitting.fingerprint(name) for name in techniques),
                *(fitting.require(name).manifest.files for name in techniques),
                inputs.told_version(),
                inputs.settings.injected_items,
            ),
            force=config.force,
        )

    refreshed, told = _measured_or_kept(context, measured, lambda: _injection_headline(store))
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


def _injection_headline(store: Warehouse) -> dict[str, Any]:
    """The share moved by technique, as numbers that plot over time."""
    found = run_query(store, "injection_resistance")
    overall = found.filter(kind=ALL_KINDS).drop_nulls("percent_moved")
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
        fine_tuned = {
            name: load(name, fitting.require(name), fine_tuning=inputs.fine_tuning())
            for name in FINE_TUNED_LANGUAGE
        }
        items = inputs.items()
        curve = measure_forgetting(
            cast("dict[str, FineTunedTechnique]", fine_tuned),
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
