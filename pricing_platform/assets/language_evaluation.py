"""The assets that measure what context is worth to a language model, and what texts do to it."""

import time
from contextlib import ExitStack
from typing import Any

import dagster as dg
import polars as pl

from pricing_platform.assets.reporting import (
    OWNERS,
    RefreshConfig,
    markdown_table,
    pictures,
    refreshed_table,
    table_result,
)
from pricing_platform.assets.technique_inputs import TechniqueInputs, calls_taken
from pricing_platform.evaluation.context_sweep import (
    CONTEXT_SWEEP_VERSION,
    ContextKind,
    sweep_sample,
)
from pricing_platform.evaluation.context_sweep import context_sweep as sweep_context
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
from pricing_platform.evaluation.queries import run_query
from pricing_platform.pricing.fitting import load
from pricing_platform.pricing.prompt_multi_shot import PromptMultiShot
from pricing_platform.pricing.rag import Rag
from pricing_platform.pricing.registry import LANGUAGE_TECHNIQUES
from pricing_platform.progress import Progress
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.settings import Settings
from pricing_platform.stores.provenance import refresh
from pricing_platform.stores.warehouse import Warehouse, fingerprint

_RESISTANCE = "evaluation.injection_resistance"
_REFERENCES = ("stack", "encoder_finetuned")
"""Techniques that read a text and ask no language model: any sentence moves them a little."""

_WITH_CONTEXT: dict[ContextKind, type[PromptMultiShot] | type[Rag]] = {
    "shots": PromptMultiShot,
    "comparables": Rag,
}


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
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    store, settings = inputs.store, inputs.settings

    def measure() -> pl.DataFrame:
        train = inputs.items().split("train")
        with ExitStack() as ledgers:
            language = {
                kind: ledgers.enter_context(inputs.kept_calls(f"context_sweep/{kind}"))
                for kind in _WITH_CONTEXT
            }
            swept = sweep_context(
                sweep_sample(inputs.items(), settings.measured_items, seed=settings.seed),
                lambda kind, count: _WITH_CONTEXT[kind].prepared(
                    train, seed=settings.seed, language=language[kind](), count=count
                ),
                seed=settings.seed,
                progress=progress.of(context),
            )
            for opened in language.values():
                opened().ledger.require_answers()
            return swept

    return refreshed_table(
        store,
        "evaluation.context_sweep",
        lambda _folder: measure(),
        inputs=fingerprint(
            CONTEXT_SWEEP_VERSION,
            *(inputs.fitting.fingerprint(kind.name) for kind in _WITH_CONTEXT.values()),
            inputs.told_version(),
            settings.measured_items,
        ),
        force=config.force,
        metadata=lambda: _sweep_headline(store, settings),
    )


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
            fingerprint(PICTURES_VERSION, store.data_version("evaluation.context_sweep"))[:32],
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
        return {
            _RESISTANCE: resistance_of(shifts, seed=fitting.seed),
            "evaluation.injected_estimates": shifts,
        }

    refreshed = refresh(
        store,
        [_RESISTANCE, "evaluation.injected_estimates"],
        lambda _folder: measure(),
        inputs=fingerprint(
            INJECTIONS_VERSION,
            *(fitting.fingerprint(name) for name in techniques),
            inputs.told_version(),
            inputs.settings.injected_items,
        ),
        force=config.force,
    )
    return table_result(
        store,
        _RESISTANCE,
        refreshed,
        seconds=time.perf_counter() - started,
        metadata=_injection_headline(store),
    )


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
