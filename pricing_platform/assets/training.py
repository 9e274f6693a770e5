"""The assets that train: one checkpoint a technique; and the language model that some of them ask.

What is trained reads the train split; validation chooses between settings.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from pricing_platform.assets.reporting import OWNERS, RefreshConfig
from pricing_platform.assets.technique_inputs import TechniqueInputs, calls_taken
from pricing_platform.errors import ModelNotAskedError, told_as_not_asked
from pricing_platform.finetuning.checkpoints import Checkpoint
from pricing_platform.language.pretrained.description import ModelDescription
from pricing_platform.language.pretrained.made_folder import CONVERSION_VERSION
from pricing_platform.language.pretrained.named_models import named_model
from pricing_platform.pricing.fitting import FITTING_VERSION, fit
from pricing_platform.pricing.registry import (
    ASKING_TECHNIQUES,
    FINE_TUNED_LANGUAGE,
    technique_names,
)
from pricing_platform.resources import (
    LoggedProgress,
    ModelsResource,
    PostgresResource,
    WarehouseResource,
)
from pricing_platform.settings import Settings
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
    group_name="training",
    kinds={"huggingface"},
    owners=OWNERS,
    code_version=CONVERSION_VERSION,
    pool="training",
)
def base_model(
    context: dg.AssetExecutionContext, models: ModelsResource
) -> dg.MaterializeResult[None]:
    """One language model: verified, and as a folder of safetensors that all else reads.

    It is the embedded one, or the one that PRICING_BASE_MODEL names. One that is not there keeps
    the techniques that ask it from being fitted, and nothing else.
    """
    started = time.perf_counter()
    settings = models.settings()
    try:
        with told_as_not_asked():
            model = named_model(settings)
            was_made = model.ready()
            described = ModelDescription.of(model)
    except ModelNotAskedError as error:
        context.log.error(f"There is no language model on this machine: {error}")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(fingerprint(error.problem)[:32]),
            metadata={"summary": f"not there: {error.problem}", "reused": True},
        )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(described.content_sha256[:32]),
        metadata={
            **_described(described),
            **_endpoint_told(settings),
            "reused": not was_made,
            "seconds": time.perf_counter() - started,
        },
    )


def _described(model: ModelDescription) -> dict[str, Any]:
    """A model's figures and its card."""
    return {
        "name": model.name,
        "licence": model.licence,
        "parameters": model.parameters,
        "layers": model.layers,
        "vocabulary": model.vocabulary,
        "context_window": model.context_window,
        "precision": model.precision,
        "bytes": model.size,
        "source_sha256": model.source_sha256,
        "folder": dg.MetadataValue.path(model.folder),
        "model_card": dg.MetadataValue.md(model.card()),
        "summary": f"{model.name}, {model.parameters / 1e6:,.1f} M parameters",
    }


def _endpoint_told(settings: Settings) -> dict[str, Any]:
    """That prompts go elsewhere, where an endpoint is named; what is fine-tuned is this model."""
    if settings.llm_base_url is None:
        return {}
    return {"summary": f"prompts go to {settings.llm_model} on an endpoint"}


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

    Where it is asked for, the endpoint fine-tunes a model first, for the last of them.
    One that can't be fitted, because its model can't be asked, keeps the others from nothing: the
    predictions say so, item by item.
    """
    started = time.perf_counter()
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    fitted, unfitted = {}, {}
    offered = technique_names(inputs.settings)
    for technique in (name for name in ASKING_TECHNIQUES if name in offered):
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


@dg.asset(
    deps=["items", "item_embeddings", "base_model"],
    group_name="training",
    kinds={"pytorch", "huggingface"},
    owners=OWNERS,
    code_version=FITTING_VERSION,
    pool="training",
)
def language_adapter(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    models: ModelsResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One checkpoint a technique that fine-tunes a language model: its adapters and price head."""
    started = time.perf_counter()
    inputs = TechniqueInputs.current(context, warehouse, postgres, models)
    fitted, unfitted = {}, {}
    for technique in FINE_TUNED_LANGUAGE:
        try:
            fitted[technique] = fit(
                technique,
                inputs.fitting,
                inputs.items,
                fine_tuning=inputs.fine_tuning,
                force=config.force,
                progress=progress.of(context),
            )
        except ModelNotAskedError as error:
            context.log.error(f"{technique} was not fitted: {error}")
            unfitted[technique] = str(error)
    told = {"summary": f"not fitted: {', '.join(unfitted)}"} if unfitted else {}
    return _fitted_result(fitted, started, unfitted=unfitted, **told)
