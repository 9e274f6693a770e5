"""The assets that measure what fine-tuning needs, in items and time, and what it saves."""

import time
from typing import Any

import dagster as dg
import polars as pl

from pricing_platform.assets.reporting import (
    OWNERS,
    RefreshConfig,
    markdown_table,
    pictures,
    table_result,
)
from pricing_platform.assets.technique_inputs import TechniqueInputs
from pricing_platform.evaluation.costed_techniques import COSTED_TECHNIQUES, CostedInputs
from pricing_platform.evaluation.inference_cost import (
    BREAK_EVEN,
    INFERENCE_COST,
    INFERENCE_COST_VERSION,
    Rates,
    break_even,
    timed_sample,
)
from pricing_platform.evaluation.inference_cost import inference_cost as cost_of
from pricing_platform.evaluation.learning_curve.curve import (
    CURVE,
    CURVE_TABLES,
    FURTHER_ITEMS,
    LEARNING_CURVE_VERSION,
    learning_curve_rows,
)
from pricing_platform.evaluation.learning_curve.curve_techniques import (
    CURVE_TECHNIQUES,
    CurveInputs,
    import_libraries,
)
from pricing_platform.evaluation.learning_curve.plan import plan_points
from pricing_platform.evaluation.learning_curve.points import measured_points
from pricing_platform.evaluation.learning_curve.subsets import sizes_below
from pricing_platform.evaluation.queries import run_query
from pricing_platform.evaluation.training_pictures import (
    TRAINING_PICTURES_VERSION,
    draw_inference_cost,
    draw_learning_curve,
)
from pricing_platform.language.endpoint.costs import TokenPrices
from pricing_platform.language.pretrained import language_model_folder
from pricing_platform.model_files import machine
from pricing_platform.pricing.fitting import EvaluationSample, evaluated_items
from pricing_platform.progress import Progress
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.settings import Settings
from pricing_platform.stores.provenance import refresh
from pricing_platform.stores.warehouse import Warehouse, fingerprint, make_folder


@dg.asset(
    deps=["classical_model", "encoder_adapter", "language_adapter", "predictions"],
    group_name="evaluation",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version=LEARNING_CURVE_VERSION,
    pool="training",
)
def learning_curve(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row a technique, number of train items and order of them: its error, and what it took."""
    started = time.perf_counter()
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    store, settings = inputs.store, inputs.settings
    sample = EvaluationSample.from_settings(settings)
    curve = CurveInputs(store, inputs.fitting, sample, inputs.fine_tuning)
    refreshed = refresh(
        store,
        CURVE_TABLES,
        lambda _folder: _measured_curve(inputs, curve, progress.of(context)),
        inputs=fingerprint(
            LEARNING_CURVE_VERSION,
            settings.learning_curve_seconds,
            sample,
            *((curve.identity(at), curve.predictions_identity(at)) for at in CURVE_TECHNIQUES),
        ),
        force=config.force,
    )
    seconds = time.perf_counter() - started
    told = _curve_headline(store, settings)
    return table_result(store, CURVE, refreshed, seconds=seconds, metadata=told)


def _measured_curve(
    inputs: TechniqueInputs, curve: CurveInputs, progress: Progress
) -> dict[str, pl.DataFrame]:
    """The points within the budget, and what follows from them."""
    items, settings = inputs.items(), inputs.settings
    train = len(items.split("train"))
    techniques = curve.techniques(items)
    plan = plan_points(
        techniques,
        sizes_below(train),
        train_items=train,
        seconds=settings.learning_curve_seconds,
        seed=settings.seed,
    )
    folder = settings.cache_folder / "learning_curve"
    make_folder(folder)
    import_libraries()
    points = measured_points(
        plan, techniques, items, seed=settings.seed, folder=folder, progress=progress
    )
    fallback = inputs.store.frame("SELECT * FROM evaluation.fallback_estimates")
    return learning_curve_rows(plan, techniques, points, items, fallback, seed=settings.seed)


def _curve_headline(store: Warehouse, settings: Settings) -> dict[str, Any]:
    """What further items bring as numbers that plot over time, the tables and the picture."""
    fits = run_query(store, "learning_curve_fits")
    fitted = fits.drop_nulls("gain")
    numbers: dict[str, Any] = {
        f"{row['technique']}/{name}": row[name]
        for row in fitted.iter_rows(named=True)
        for name in ("mae", "exponent", "gain")
    }
    gains = ", ".join(
        f"{name} {gain:.2f}" for name, gain in fitted.select("technique", "gain").rows()
    )
    left_out = store.frame(f"SELECT count(left_out) AS points FROM {CURVE}").item()
    return {
        **numbers,
        "left_out": left_out,
        "curve": dg.MetadataValue.md(markdown_table(run_query(store, "learning_curve"))),
        "fits": dg.MetadataValue.md(markdown_table(fits)),
        "crossings": dg.MetadataValue.md(
            markdown_table(run_query(store, "learning_curve_crossings"))
        ),
        "summary": f"a further {FURTHER_ITEMS:,} items bring {gains}" if gains else "no law fitted",
        **pictures(
            settings.cache_folder / "pictures" / "learning_curve",
            fingerprint(
                TRAINING_PICTURES_VERSION, *(store.data_version(at) for at in CURVE_TABLES)
            )[:32],
            lambda: draw_learning_curve(store),
        ),
    }


@dg.asset(
    deps=[
        "classical_model",
        "encoder_adapter",
        "language_adapter",
        "language_techniques",
        "technique_metrics",
    ],
    group_name="evaluation",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version=INFERENCE_COST_VERSION,
    pool="training",
)
def inference_cost(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row a technique and size of batch: what one estimate takes.

    Timings differ from run to run, so they are kept until a technique, a price or the machine
    changes.
    """
    started = time.perf_counter()
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    store, settings = inputs.store, inputs.settings
    costed = CostedInputs(
        store,
        inputs.fitting,
        inputs.language,
        inputs.fine_tuning,
        lambda: language_model_folder(settings),
        inputs.asked.is_endpoint,
    )
    rates = _rates(settings)
    refreshed = refresh(
        store,
        [INFERENCE_COST, BREAK_EVEN],
        lambda _folder: _costs(inputs, costed, rates, progress.of(context)),
        inputs=_costs_identity(costed, rates, settings),
        force=config.force,
    )
    seconds = time.perf_counter() - started
    told = _cost_headline(store, settings)
    return table_result(store, INFERENCE_COST, refreshed, seconds=seconds, metadata=told)


def _costs_identity(costed: CostedInputs, rates: Rates, settings: Settings) -> str:
    """Equal where timings may stand as they are."""
    return fingerprint(
        INFERENCE_COST_VERSION,
        rates,
        settings.timed_items,
        *machine(),
        *(costed.identity(at) for at in COSTED_TECHNIQUES),
    )


def _rates(settings: Settings) -> Rates:
    return Rates(
        TokenPrices(
            settings.llm_usd_per_million_input,
            settings.llm_usd_per_million_cached,
            settings.llm_usd_per_million_output,
        ),
        settings.compute_usd_per_hour,
    )


def _costs(
    inputs: TechniqueInputs, costed: CostedInputs, rates: Rates, progress: Progress
) -> dict[str, pl.DataFrame]:
    """What estimates take, and when training has paid."""
    settings = inputs.settings
    sample = EvaluationSample.from_settings(settings)
    asked = evaluated_items("rag", inputs.items(), sample).split("test")
    techniques = costed.techniques()
    costs = cost_of(
        techniques,
        timed_sample(asked, settings.timed_items, seed=settings.seed),
        single=settings.timed_items,
        rates=rates,
        progress=progress,
    )
    paid = break_even(costs, techniques, core_hour=rates.core_hour)
    return {INFERENCE_COST: costs, BREAK_EVEN: paid}


def _cost_headline(store: Warehouse, settings: Settings) -> dict[str, Any]:
    """Milliseconds as numbers that plot over time, the tables and the picture."""
    costs = run_query(store, "inference_cost")
    single = costs.filter(batch_size=1)
    numbers: dict[str, Any] = {
        f"{row['technique']}/{name}": row[name]
        for row in single.iter_rows(named=True)
        for name in ("ms_p50", "tokens_in")
        if row[name] is not None
    }
    milliseconds = ", ".join(
        f"{name} {ms:,.0f}" for name, ms in single.select("technique", "ms_p50").rows()
    )
    return {
        **numbers,
        "costs": dg.MetadataValue.md(markdown_table(costs)),
        "break_even": dg.MetadataValue.md(markdown_table(run_query(store, "break_even"))),
        "summary": f"ms an estimate: {milliseconds}" if milliseconds else "nothing was timed",
        **pictures(
            settings.cache_folder / "pictures" / "inference_cost",
            fingerprint(
                TRAINING_PICTURES_VERSION,
                store.data_version(INFERENCE_COST),
                store.data_version("evaluation.technique_metrics"),
            )[:32],
            lambda: draw_inference_cost(store),
        ),
    }
