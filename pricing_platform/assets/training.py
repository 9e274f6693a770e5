"""The assets that train: one checkpoint a technique, and the language model that some of them ask.

All of them read the train split; validation chooses between settings.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from pricing_platform.assets.reporting import OWNERS, RefreshConfig, pictures
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.checkpoints import Checkpoint
from pricing_platform.language.base_model.configuration import BASE_MODEL_VERSION
from pricing_platform.language.base_model.loss_picture import draw_loss_curve
from pricing_platform.pricing.asked_model import AskedModel, current_asked_model, language_context
from pricing_platform.pricing.base_model import BASE_MODEL, fit_base_model, read_documents
from pricing_platform.pricing.fitting import FITTING_VERSION, Fitting, fit
from pricing_platform.pricing.language_technique import LanguageContext
from pricing_platform.pricing.predictions import record_calls, taken_by_purpose
from pricing_platform.pricing.registry import LANGUAGE_TECHNIQUES
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.retrieval.item_embeddings import load_item_set
from pricing_platform.stores.warehouse import Warehouse, fingerprint

CLASSICAL = ("category_median", "tfidf_ridge", "comparables", "stack")


def current_asked(
    store: Warehouse, postgres: PostgresResource, models: ModelsResource
) -> AskedModel:
    """The language model that techniques ask about the current items."""
    with postgres.open() as server:
        return current_asked_model(
            store, server, models.cached_encoder().identity, models.settings()
        )


def current_fitting(store: Warehouse, models: ModelsResource, asked: AskedModel) -> Fitting:
    """What the checkpoints of the current items are named by."""
    return Fitting.current(
        store, models.cached_encoder().identity, lambda: asked.identity, models.settings()
    )


def asked_once(
    store: Warehouse,
    postgres: PostgresResource,
    asked: AskedModel,
    *,
    report: Callable[[str], None],
) -> Callable[[], LanguageContext]:
    """What techniques with a language model need, opened when it is first asked for."""

    @cache
    def context() -> LanguageContext:
        with postgres.open() as server:
            return language_context(asked, store, server, report)

    return context


@contextmanager
def kept_calls(
    store: Warehouse, language: Callable[[], LanguageContext], purpose: str
) -> Iterator[Callable[[], LanguageContext]]:
    """Opens the context with a ledger of its own, which is recorded in the end, whatever happens.

    Where nothing was asked, what was recorded before stands.
    """
    opened: list[LanguageContext] = []

    def context() -> LanguageContext:
        if not opened:
            opened.append(language().of(purpose))
        return opened[0]

    try:
        yield context
    finally:
        if opened and not opened[0].ledger.frame().is_empty():
            record_calls(store, opened[0].ledger)


def calls_taken(store: Warehouse, purposes: str) -> dict[str, float]:
    """Calls, tokens and USD by what they were made for: numbers that plot over time."""
    return {
        f"{purpose}/{name}": float(value or 0)
        for row in taken_by_purpose(store, purposes).iter_rows(named=True)
        for purpose in [row.pop("technique")]
        for name, value in row.items()
    }


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
    name: str,
    techniques: Sequence[str],
    description: str,
    kinds: set[str],
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
        asked = current_asked(store, postgres, models)
        fitting = current_fitting(store, models, asked)
        items = loaded_once(store, postgres, fitting)
        fitted = {
            technique: fit(
                technique, fitting, items, force=config.force, progress=progress.of(context)
            )
            for technique in techniques
        }
        return _fitted_result(fitted, started)

    return trained


def _fitted_result(
    fitted: Mapping[str, tuple[Checkpoint, bool]], started: float, **metadata: Any
) -> dg.MaterializeResult[None]:
    """What is told of techniques and their checkpoints, and whether they were there."""
    trained = sum(not reused for _, reused in fitted.values())
    metrics: dict[str, Any] = {
        f"{technique}/{metric}": value
        for technique, (checkpoint, _) in fitted.items()
        for metric, value in checkpoint.manifest.metrics.items()
    }
    return dg.MaterializeResult(
        data_version=dg.DataVersion(_version([c for c, _ in fitted.values()])),
        metadata={
            **metrics,
            "checkpoints": [str(checkpoint.path) for checkpoint, _ in fitted.values()],
            "trained": trained,
            "reused": trained == 0,
            "seconds": time.perf_counter() - started,
            **metadata,
        },
    )


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


@dg.asset(
    deps=["items", "item_embeddings", "knowledge_documents"],
    group_name="training",
    kinds={"pytorch", "huggingface"},
    owners=OWNERS,
    code_version=BASE_MODEL_VERSION,
    pool="training",
)
def base_model(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One checkpoint: a small language model, trained on the items' texts and the documents.

    Where another model is named (PRICING_BASE_MODEL, PRICING_LLM_BASE_URL), nothing is trained.
    """
    started, store = time.perf_counter(), warehouse.open()
    asked = current_asked(store, postgres, models)
    if not asked.is_own:
        return dg.MaterializeResult(
            data_version=dg.DataVersion(fingerprint(asked.identity)[:32]),
            metadata={"trained": 0, "summary": "another model is named", "reused": True},
        )
    fitting = current_fitting(store, models, asked)

    def documents() -> list[str]:
        with postgres.open() as server:
            return read_documents(server)

    checkpoint, reused = fit_base_model(
        asked.base_model,
        loaded_once(store, postgres, fitting),
        documents,
        force=config.force,
        progress=progress.of(context),
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(_version([checkpoint])),
        metadata={
            **checkpoint.manifest.metrics,
            **_described(checkpoint, models.settings().cache_folder),
            "checkpoint": str(checkpoint.path),
            "trained": int(not reused),
            "reused": reused,
            "seconds": time.perf_counter() - started,
        },
    )


def _described(checkpoint: Checkpoint, cache_folder: Path) -> dict[str, Any]:
    """The model's card, and the picture of its losses."""
    card = (checkpoint.path / "README.md").read_text(encoding="utf-8")
    losses = checkpoint.path / "loss_curve.json"
    return {
        "model_card": dg.MetadataValue.md(card),
        **pictures(
            cache_folder / "pictures" / BASE_MODEL,
            checkpoint.manifest.files[losses.name],
            lambda: {"loss_curve": draw_loss_curve(losses)},
        ),
    }


@dg.asset(
    deps=["items", "item_embeddings", "base_model", "facts"],
    group_name="training",
    kinds={"huggingface", "openai"},
    owners=OWNERS,
    code_version=FITTING_VERSION,
    pool="training",
)
def language_techniques(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One checkpoint a technique that asks a language model: shots or references, calibration.

    One that can't be fitted, because its model can't be asked, keeps the others from nothing: the
    predictions say so, item by item.
    """
    started, store = time.perf_counter(), warehouse.open()
    asked = current_asked(store, postgres, models)
    fitting = current_fitting(store, models, asked)
    items = loaded_once(store, postgres, fitting)
    language = asked_once(store, postgres, asked, report=context.log.info)
    fitted, unfitted = {}, {}
    for technique in LANGUAGE_TECHNIQUES:
        with kept_calls(store, language, f"fitting/{technique}") as told:
            try:
                fitted[technique] = fit(
                    technique,
                    fitting,
                    items,
                    language=told,
                    force=config.force,
                    progress=progress.of(context),
                )
            except PlatformError as error:
                context.log.error(f"{technique} was not fitted: {error}")
                unfitted[technique] = str(error)
    return _fitted_result(fitted, started, unfitted=unfitted, **calls_taken(store, "fitting/"))
