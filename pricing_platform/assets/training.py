"""The assets that fit techniques: one checkpoint a technique, fitted on the train split."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import dagster as dg

from pricing_platform.assets.reporting import OWNERS, RefreshConfig
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.checkpoints import Checkpoint
from pricing_platform.pricing.fitting import FITTING_VERSION, Fitting, fit
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.retrieval.item_embeddings import load_item_set
from pricing_platform.stores.warehouse import Warehouse, fingerprint

CLASSICAL = ("category_median", "tfidf_ridge", "comparables", "stack")


def current_fitting(store: Warehouse, models: ModelsResource) -> Fitting:
    """What the checkpoints of the current items are named by."""
    return Fitting.current(store, models.cached_encoder().identity, models.settings())


def loaded_once(
    store: Warehouse, postgres: PostgresResource, fitting: Fitting
) -> Callable[[], ItemSet]:
    """All items, read when they are first asked for: a run with nothing to do reads none."""

    @cache
    def items() -> ItemSet:
        with postgres.open() as server:
            found = load_item_set(store, server, fitting.encoder)
        if store.data_version("curated.items") != fitting.items_version:
            raise PlatformError(
                "The items were replaced while they were about to be learnt from.",
                "Run again when the run that replaced them has ended.",
            )
        return found

    return items


def training_asset(
    name: str, techniques: Sequence[str], description: str, kinds: set[str]
) -> dg.AssetsDefinition:
    """An asset that fits these techniques on the train split of the items."""

    @dg.asset(
        name=name,
        description=description,
        deps=["items", "item_embeddings"],
        group_name="training",
        kinds=kinds,
        owners=OWNERS,
        code_version=FITTING_VERSION,
        pool="training",
    )
    def trained(
        context: dg.AssetExecutionContext,
        config: RefreshConfig,
        warehouse: WarehouseResource,
        postgres: PostgresResource,
        models: ModelsResource,
        progress: dg.ResourceParam[LoggedProgress],
    ) -> dg.MaterializeResult[None]:
        started = time.perf_counter()
        store = warehouse.open()
        fitting = current_fitting(store, models)

        items = loaded_once(store, postgres, fitting)
        fitted = {
            technique: fit(
                technique, fitting, items, force=config.force, progress=progress.of(context)
            )
            for technique in techniques
        }
        trained = sum(not reused for _, reused in fitted.values())
        metadata: dict[str, Any] = {
            f"{technique}/{metric}": value
            for technique, (checkpoint, _) in fitted.items()
            for metric, value in checkpoint.manifest.metrics.items()
        }
        return dg.MaterializeResult(
            data_version=dg.DataVersion(_version([c for c, _ in fitted.values()])),
            metadata={
                **metadata,
                "checkpoints": [str(checkpoint.path) for checkpoint, _ in fitted.values()],
                "trained": trained,
                "reused": trained == 0,
                "seconds": time.perf_counter() - started,
            },
        )

    return trained


def _version(checkpoints: Sequence[Checkpoint]) -> str:
    return fingerprint(*(c.manifest.files for c in checkpoints))[:32]


classical_model = training_asset(
    "classical_model",
    CLASSICAL,
    "One checkpoint a classical technique: the category's median, ridge on tf-idf, nearest"
    " neighbours, gradient boosting over text, structure and neighbours.",
    {"scikitlearn", "lightgbm"},
)
learned_comparables_model = training_asset(
    "learned_comparables_model",
    ["learned_comparables"],
    "One checkpoint: a network that prices an item from its nearest neighbours in a space that it"
    " learns.",
    {"pytorch"},
)
encoder_adapter = training_asset(
    "encoder_adapter",
    ["encoder_finetuned"],
    "One checkpoint: a LoRA adapter of the encoder and a head over log-price bins.",
    {"pytorch", "huggingface"},
)
