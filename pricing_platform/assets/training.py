"""The assets that train: one checkpoint a technique, and the language model that some of them ask.

All of them read the train split; validation chooses between settings.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from pricing_platform.assets.reporting import OWNERS, RefreshConfig, pictures
from pricing_platform.assets.technique_inputs import TechniqueInputs, calls_taken
from pricing_platform.errors import ModelNotAskedError
from pricing_platform.finetuning.checkpoints import Checkpoint
from pricing_platform.language.base_model.configuration import BASE_MODEL_VERSION
from pricing_platform.language.base_model.loss_picture import draw_loss_curve
from pricing_platform.pricing.base_model import BASE_MODEL, fit_base_model, read_documents
from pricing_platform.pricing.fitting import FITTING_VERSION, fit
from pricing_platform.pricing.registry import LANGUAGE_TECHNIQUES
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.stores.warehouse import fingerprint

CLASSICAL = ("category_median", "tfidf_ridge", "comparables", "stack")


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
        inputs = TechniqueInputs.current(context, warehouse, postgres, models)
        fitted = {
            technique: fit(
                technique,
                inputs.fitting,
                inputs.items,
                force=config.force,
                progress=progress.of(context),
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
    started = time.perf_counter()
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    if not inputs.asked.is_own:
        return _another_model(context, inputs)

    def documents() -> list[str]:
        with postgres.open() as server:
            return read_documents(server, inputs.asked.base_model.documents_version)

    checkpoint, reused = fit_base_model(
        inputs.asked.base_model,
        inputs.items,
        documents,
        force=config.force,
        progress=progress.of(context),
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(_version([checkpoint])),
        metadata={
            **checkpoint.manifest.metrics,
            **_described(checkpoint, inputs.settings.cache_folder),
            "checkpoint": str(checkpoint.path),
            "trained": int(not reused),
            "reused": reused,
            "seconds": time.perf_counter() - started,
        },
    )


def _another_model(
    context: dg.AssetExecutionContext, inputs: TechniqueInputs
) -> dg.MaterializeResult[None]:
    """What is told where the settings name a model, and of one that is not there."""
    told = "another model is named"
    try:
        version = inputs.asked.identity
    except ModelNotAskedError as error:
        context.log.error(f"The model that is named can't be asked: {error}")
        version = told = f"can't be asked: {error.problem}"
    return dg.MaterializeResult(
        data_version=dg.DataVersion(fingerprint(version)[:32]),
        metadata={"trained": 0, "summary": told, "reused": True},
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
    started = time.perf_counter()
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    fitted, unfitted = {}, {}
    for technique in LANGUAGE_TECHNIQUES:
        with inputs.kept_calls(f"fitting/{technique}") as language:
            try:
                fitted[technique] = fit(
                    technique,
                    inputs.fitting,
                    inputs.items,
                    language=language,
                    force=config.force,
                    progress=progress.of(context),
                )
            except ModelNotAskedError as error:
                context.log.error(f"{technique} was not fitted: {error}")
                unfitted[technique] = str(error)
    taken = calls_taken(inputs.store, "fitting/")
    told = {"summary": f"not fitted: {', '.join(unfitted)}"} if unfitted else {}
    return _fitted_result(fitted, started, unfitted=unfitted, **taken, **told)
