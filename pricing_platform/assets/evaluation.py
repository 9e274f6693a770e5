"""The assets that say what the predictions are worth."""

import time
from typing import Any

import dagster as dg

from pricing_platform.assets.reporting import (
    OWNERS,
    RefreshConfig,
    markdown_table,
    pictures,
    refreshed_table,
)
from pricing_platform.assets.training import current_fitting
from pricing_platform.evaluation.comparison import COMPARISON_VERSION, compare_techniques
from pricing_platform.evaluation.leaderboard import best_technique, leaderboard
from pricing_platform.evaluation.metrics import METRICS_VERSION, compute_technique_metrics
from pricing_platform.evaluation.pictures import PICTURES_VERSION, draw_evaluation
from pricing_platform.evaluation.report import REPORT_VERSION, is_report_of, write_report
from pricing_platform.pricing.fitting import training_seconds
from pricing_platform.resources import ModelsResource, WarehouseResource
from pricing_platform.stores.provenance import inputs_fingerprint
from pricing_platform.stores.warehouse import Warehouse, fingerprint

_HEADLINE = ("mae", "rmsle", "smape", "within_20_percent")


@dg.asset(
    deps=["predictions", "items"],
    group_name="evaluation",
    kinds={"duckdb"},
    owners=OWNERS,
    code_version=METRICS_VERSION,
)
def technique_metrics(
    config: RefreshConfig, warehouse: WarehouseResource, models: ModelsResource
) -> dg.MaterializeResult[None]:
    """One row a technique, split, segment and metric, with its interval."""
    store, seed = warehouse.open(), warehouse.settings().seed
    seconds = training_seconds(current_fitting(store, models))
    return refreshed_table(
        store,
        "evaluation.technique_metrics",
        lambda _folder: compute_technique_metrics(store, seed=seed, training_seconds=seconds),
        inputs=inputs_fingerprint(
            store,
            METRICS_VERSION,
            ["evaluation.predictions", "curated.items"],
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
        inputs=inputs_fingerprint(
            store, COMPARISON_VERSION, ["evaluation.predictions", "curated.items"], seed
        ),
        force=config.force,
    )


@dg.asset(
    deps=[
        "technique_metrics",
        "technique_comparison",
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
        fingerprint(REPORT_VERSION, PICTURES_VERSION),
        [
            "evaluation.technique_metrics",
            "evaluation.technique_comparison",
            "evaluation.predictions",
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
                lambda: draw_evaluation(store),
            ),
        },
    )
