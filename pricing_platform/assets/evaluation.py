"""The assets that say what the predictions are worth."""

import time
from pathlib import Path
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
from pricing_platform.assets.technique_inputs import TechniqueInputs
from pricing_platform.evaluation.comparison import COMPARISON_VERSION, compare_techniques
from pricing_platform.evaluation.freshness_impact import (
    FRESHNESS_IMPACT_VERSION,
    FreshnessImpact,
    measure_freshness,
)
from pricing_platform.evaluation.inference_cost import BREAK_EVEN, INFERENCE_COST
from pricing_platform.evaluation.leaderboard import best_technique, leaderboard
from pricing_platform.evaluation.learning_curve.curve import CURVE_TABLES
from pricing_platform.evaluation.metrics import METRICS_VERSION, compute_technique_metrics
from pricing_platform.evaluation.pictures import PICTURES_VERSION, draw_evaluation
from pricing_platform.evaluation.queries import run_query
from pricing_platform.evaluation.report import REPORT_VERSION, is_report_of, write_report
from pricing_platform.evaluation.retrieval_quality import (
    ALL_CATEGORIES,
    RETRIEVAL_QUALITY_VERSION,
    RETRIEVAL_TABLES,
    configured_questions,
    evaluate_retrieval,
)
from pricing_platform.evaluation.style_pictures import STYLE_PICTURES_VERSION, draw_style
from pricing_platform.evaluation.training_pictures import TRAINING_PICTURES_VERSION
from pricing_platform.facts.configuration import configured_knowledge
from pricing_platform.pricing.fitting import training_seconds
from pricing_platform.resources import ModelsResource, PostgresResource, WarehouseResource
from pricing_platform.retrieval.search import SEARCH_VERSION
from pricing_platform.stores.postgres import contents_version
from pricing_platform.stores.provenance import inputs_fingerprint, refresh
from pricing_platform.stores.warehouse import Warehouse, fingerprint

_SCORED = ("evaluation.predictions", "evaluation.asked_items", "curated.items")
"""What ``evaluation.scored_predictions`` follows from."""

_HEADLINE = ("mae", "answered", "mae_common", "rmsle", "smape", "within_20_percent")


@dg.asset(
    deps=["predictions", "items"],
    group_name="evaluation",
    kinds={"duckdb"},
    owners=OWNERS,
    code_version=METRICS_VERSION,
)
def technique_metrics(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
) -> dg.MaterializeResult[None]:
    """One row a technique, split, segment and metric, with its interval."""
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    store, seed, seconds = inputs.store, inputs.settings.seed, training_seconds(inputs.fitting)
    return refreshed_table(
        store,
        "evaluation.technique_metrics",
        lambda _folder: compute_technique_metrics(store, seed=seed, training_seconds=seconds),
        inputs=inputs_fingerprint(
            store,
            METRICS_VERSION,
            _SCORED,
            seed,
            sorted(seconds.items()),
        ),
        force=config.force,
        metadata=lambda: _headline(store),
    )


def _headline(store: Warehouse) -> dict[str, Any]:
    """The leaderboard, and its numbers one by one, so that they plot over time."""
    board, best = leaderboard(store), best_technique(store)
    numbers = {
        f"{row['technique']}/{metric}": row[metric]
        for row in board.iter_rows(named=True)
        for metric in _HEADLINE
        if row[metric] is not None
    }
    return {
        **numbers,
        "leaderboard": dg.MetadataValue.md(markdown_table(board)),
        "best_technique": best,
        "summary": f"{best} leads on validation",
    }


@dg.asset(
    deps=["predictions", "items"],
    group_name="evaluation",
    kinds={"duckdb"},
    owners=OWNERS,
    code_version=COMPARISON_VERSION,
)
def technique_comparison(
    config: RefreshConfig, warehouse: WarehouseResource
) -> dg.MaterializeResult[None]:
    """One row a pair of techniques and split: how much better one is, and how surely."""
    store, seed = warehouse.open(), warehouse.settings().seed
    return refreshed_table(
        store,
        "evaluation.technique_comparison",
        lambda _folder: compare_techniques(store, seed=seed),
        inputs=inputs_fingerprint(store, COMPARISON_VERSION, _SCORED, seed),
        force=config.force,
    )


@dg.asset(
    deps=["chunk_embeddings", "facts"],
    group_name="evaluation",
    kinds={"duckdb", "postgres"},
    owners=OWNERS,
    code_version=RETRIEVAL_QUALITY_VERSION,
)
def retrieval_quality(
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
) -> dg.MaterializeResult[None]:
    """One row a category of questions and metric: how well retrieval finds what they ask for."""
    started, store, settings = time.perf_counter(), warehouse.open(), warehouse.settings()
    questions = configured_questions(settings)
    encoder = models.cached_encoder()
    with postgres.open() as server:
        refreshed = refresh(
            store,
            RETRIEVAL_TABLES,
            lambda _folder: evaluate_retrieval(server, encoder, questions, seed=settings.seed),
            inputs=fingerprint(
                RETRIEVAL_QUALITY_VERSION,
                SEARCH_VERSION,
                configured_knowledge(settings).language,
                questions,
                contents_version(server, "knowledge.chunk_embeddings", "chunk_id, fingerprint"),
                contents_version(server, "knowledge.fact_embeddings", "fact_id, fingerprint"),
                settings.seed,
            ),
            force=config.force,
        )
    seconds = time.perf_counter() - started
    return table_result(
        store,
        "evaluation.retrieval_quality",
        refreshed,
        seconds=seconds,
        metadata=_retrieval_headline(store),
    )


def _retrieval_headline(store: Warehouse) -> dict[str, Any]:
    """The means over all questions one by one, so that they plot over time."""
    quality = run_query(store, "retrieval_quality")
    overall = quality.filter(category=ALL_CATEGORIES)
    numbers = dict(overall.select("metric", "value").iter_rows())
    told = f"MRR {numbers['mrr']:.3f}" if numbers else "no questions are configured"
    return {**numbers, "quality": dg.MetadataValue.md(markdown_table(quality)), "summary": told}


@dg.asset(
    deps=["chunk_embeddings", "facts"],
    group_name="evaluation",
    kinds={"duckdb", "postgres"},
    owners=OWNERS,
    code_version=FRESHNESS_IMPACT_VERSION,
)
def freshness_impact(
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
) -> dg.MaterializeResult[None]:
    """One row a change of a copy of the documents: whether what is retrieved after it says so."""
    store, settings = warehouse.open(), warehouse.settings()
    knowledge, encoder = configured_knowledge(settings), models.cached_encoder()
    measured: list[FreshnessImpact] = []

    def measure(_folder: Path) -> pl.DataFrame:
        with postgres.open() as server, server.scratch() as scratch:
            measured.append(measure_freshness(scratch, encoder, knowledge, seed=settings.seed))
        return measured[0].changes

    with postgres.open() as server:
        documents = contents_version(server, "knowledge.documents", "document_id, content_hash")
    return refreshed_table(
        store,
        "evaluation.freshness_impact",
        measure,
        inputs=fingerprint(
            FRESHNESS_IMPACT_VERSION,
            SEARCH_VERSION,
            documents,
            encoder.identity,
            knowledge.rules.model_dump_json(),
            knowledge.language,
            settings.seed,
        ),
        force=config.force,
        metadata=lambda: _freshness_headline(store, measured),
    )


def _freshness_headline(store: Warehouse, measured: list[FreshnessImpact]) -> dict[str, Any]:
    """Rates out of the table, so that they are there also when it stands; costs when measured."""
    rates = run_query(store, "freshness_impact")
    told = "no document changed: there are none"
    numbers: dict[str, Any] = {}
    if rates["changes"].sum():
        numbers = {name: rates[name][0] for name in rates.columns}
        told = f"{numbers['stale_serve_rate']:.0%} served stale of {numbers['changes']} changes"
    for impact in measured:
        numbers |= {
            "chunks_changed": impact.changed_chunks,
            "chunks_embedded": impact.embedded_chunks,
            "seconds_from_change_to_retrieval": impact.refresh_seconds + impact.question_seconds,
        }
    return {**numbers, "summary": told}


@dg.asset(
    deps=[
        "technique_metrics",
        "technique_comparison",
        "context_sweep",
        "injection_resistance",
        "style",
        "learning_curve",
        "inference_cost",
        "rejected_listings",
        "price_leaks",
        "catalog_profile",
    ],
    group_name="evaluation",
    kinds={"html"},
    owners=OWNERS,
    code_version=REPORT_VERSION,
)
def evaluation_report(
    config: RefreshConfig, warehouse: WarehouseResource
) -> dg.MaterializeResult[None]:
    """One self-contained HTML file that tells what was compared, how, and what came of it."""
    started = time.perf_counter()
    store = warehouse.open()
    path = warehouse.settings().reports_folder / "evaluation.html"
    inputs = inputs_fingerprint(
        store,
        fingerprint(
            REPORT_VERSION, PICTURES_VERSION, STYLE_PICTURES_VERSION, TRAINING_PICTURES_VERSION
        ),
        [
            "evaluation.technique_metrics",
            "evaluation.technique_comparison",
            "evaluation.predictions",
            "evaluation.asked_items",
            "evaluation.llm_calls",
            "evaluation.context_sweep",
            "evaluation.injection_resistance",
            "evaluation.style",
            "evaluation.style_replies",
            *CURVE_TABLES,
            INFERENCE_COST,
            BREAK_EVEN,
            "raw.snapshots",
            "curated.listings",
            "curated.rejected_listings",
            "curated.price_leaks",
            "curated.item_families",
            "curated.items",
        ],
    )
    reused = is_report_of(path, inputs) and not config.force
    if not reused:
        write_report(store, path, fingerprint=inputs)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(inputs[:32]),
        metadata={
            "report": dg.MetadataValue.path(str(path)),
            "bytes": path.stat().st_size,
            "reused": reused,
            "seconds": time.perf_counter() - started,
            "summary": str(path),
            **pictures(
                warehouse.settings().cache_folder / "pictures" / "evaluation_report",
                inputs,
                lambda: draw_evaluation(store) | draw_style(store),
            ),
        },
    )
