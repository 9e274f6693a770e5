"""From a technique's name to its checkpoint, and from a checkpoint to predictions.

Here belongs what is the same for every technique: when to fit again, what the checkpoint's manifest
says, how validation and test are priced. How a technique learns belongs to its own module; where
the items come from belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import polars as pl

from pricing_platform.catalog.item_samples import stratified_sample
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError, PlatformError
from pricing_platform.finetuning.checkpoints import (
    Checkpoint,
    Manifest,
    checkpoint_label,
    data_hash,
    find_checkpoint,
    open_checkpoint,
    prune_checkpoints,
    read_manifest,
    unfinished_folder,
    write_checkpoint,
)
from pricing_platform.finetuning.hosted.configuration import HostedTraining
from pricing_platform.finetuning.training_loop import TrainingConfiguration
from pricing_platform.language.prompts import templates_version
from pricing_platform.pricing.prompting.prompt_knowledge import price_history_version
from pricing_platform.pricing.registry import (
    ASKING_TECHNIQUES,
    ENDPOINT_FINETUNED,
    ENSEMBLE,
    ENSEMBLE_MEMBERS,
    FINE_TUNED_LANGUAGE,
    RAG_FINETUNED,
    SAMPLED_TECHNIQUES,
    TECHNIQUES,
    technique_class,
)
from pricing_platform.pricing.tabular.ensemble import Ensemble
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA, Technique
from pricing_platform.progress import Progress, silent
from pricing_platform.resource_use import KeptMeter
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse, fingerprint, make_folder

if TYPE_CHECKING:
    from pricing_platform.pricing.finetuned.context import FineTuningContext
    from pricing_platform.pricing.prompting.language_technique import LanguageContext

FITTING_VERSION = "2"
FINE_TUNED = ("encoder_finetuned",)
"""The techniques that train a pretrained network, within a budget of tokens."""

MINIMUM_ITEMS = 100
CHECKPOINTS_KEPT = 3


@dataclass(frozen=True)
class Fitting:
    """What decides a technique's checkpoint, apart from its own code.

    ``items_version`` is the data version of ``curated.items``, ``encoder`` the identity of the
    encoder that made the embeddings, ``language_model`` tells that of the model which techniques
    ask (it is called for them alone: whoever asks no model needs none to be there),
    ``fine_tuned_model`` that of the model which is fine-tuned and of its budget, likewise,
    ``fine_tuning_tokens`` what an encoder's fine-tuning reads at most, ``checkpoints`` the folder
    of all checkpoints, ``hosted`` what an endpoint is to train, None where it is to train nothing,
    ``price_history`` the version of the prices over time that trained texts show.
    """

    items_version: str
    encoder: str
    language_model: Callable[[], str]
    fine_tuned_model: Callable[[], str]
    seed: int
    fine_tuning_tokens: int
    checkpoints: Path
    hosted: HostedTraining | None = None
    price_history: str = ""

    @classmethod
    def current(
        cls,
        warehouse: Warehouse,
        encoder: str,
        language_model: Callable[[], str],
        fine_tuned_model: Callable[[], str],
        settings: Settings,
    ) -> Self:
        """That of the items that now stand in the warehouse."""
        return cls(
            warehouse.data_version("curated.items"),
            encoder,
            language_model,
            fine_tuned_model,
            settings.seed,
            settings.fine_tuning_tokens,
            settings.checkpoints_folder,
            HostedTraining.from_settings(settings),
            price_history_version(warehouse),
        )

    def fingerprint(self, technique: str) -> str:
        """Equal for two fittings that give the same checkpoint."""
        version = technique_class(technique).version
        members = (
            [self.fingerprint(name) for name in ENSEMBLE_MEMBERS] if technique == ENSEMBLE else []
        )
        asked = (
            [self.language_model(), templates_version()] if technique in ASKING_TECHNIQUES else []
        )
        tuned = [self.fine_tuned_model()] if technique in FINE_TUNED_LANGUAGE else []
        told = [self.price_history] if technique == RAG_FINETUNED else []
        return fingerprint(
            FITTING_VERSION,
            technique,
            version,
            self.items_version,
            self.encoder,
            self.seed,
            self.options(technique),
            *members,
            *asked,
            *tuned,
            *told,
        )

    def options(self, technique: str) -> dict[str, Any]:
        """What settings decide of this technique alone, as arguments of its ``fit``."""
        if technique == ENDPOINT_FINETUNED:
            return {"training": self.hosted}
        if technique in FINE_TUNED:
            return {"training": TrainingConfiguration(token_budget=self.fine_tuning_tokens)}
        return {}

    def find(self, technique: str) -> Path | None:
        """The technique's checkpoint for these items, or None when it has to be fitted."""
        return find_checkpoint(self.checkpoints, technique, self.fingerprint(technique))

    def require(self, technique: str) -> Checkpoint:
        """The technique's verified checkpoint for these items.

        Raises:
            ModelNotAskedError: when it asks a language model and was not fitted on them with that
                model, or when an endpoint is to train it and none is asked to.
            PlatformError: when it was not fitted on them, or its files were changed since.
        """
        if technique == ENDPOINT_FINETUNED and self.hosted is None:
            raise ModelNotAskedError(
                f"{technique} is switched off: PRICING_LLM_FINE_TUNING is not set.",
                "Set PRICING_LLM_FINE_TUNING=true, PRICING_LLM_BASE_URL and PRICING_LLM_MODEL, and"
                " run `pricing-platform run`: the endpoint then trains a model, which costs money.",
            )
        path = self.find(technique)
        if path is None:
            asks = technique in SAMPLED_TECHNIQUES
            raise (ModelNotAskedError if asks else PlatformError)(
                f"There is no checkpoint of {technique} that was fitted on the current items"
                f"{', asking the model that is named now' * asks}.",
                "Materialize the training assets (the job retrain_and_evaluate does), or run"
                " `pricing-platform run`.",
            )
        return open_checkpoint(path)


def fit(
    technique: str,
    fitting: Fitting,
    items: Callable[[], ItemSet],
    *,
    language: Callable[[], LanguageContext] | None = None,
    fine_tuning: Callable[[], FineTuningContext] | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> tuple[Checkpoint, bool]:
    """The technique's checkpoint, fitted now unless it is there; and whether it was there.

    Args:
        technique: a name of the registry.
        fitting: what decides the checkpoint.
        items: loads all items; called only when there is something to fit.
        language: opens what a technique with a language model needs; its ledger gets the calls.
        fine_tuning: opens what a technique needs that fine-tunes a language model.
        force: fit again although the checkpoint is there.
        progress: is told how far the fitting is.
    """
    existing = fitting.find(technique)
    if existing is not None and not force:
        return open_checkpoint(existing), True
    everything = items()
    require_enough_items(everything)
    train, validation = everything.split("train"), everything.split("validation")
    identity = fitting.fingerprint(technique)
    work_folder = unfinished_folder(fitting.checkpoints, technique, identity)
    make_folder(work_folder)
    asking: dict[str, Any] = {"language": language()} if language is not None else {}
    if fine_tuning is not None:
        asking["fine_tuning"] = fine_tuning()
    meter = KeptMeter.start(work_folder)
    fitted = technique_class(technique).fit(
        train,
        validation,
        seed=fitting.seed,
        work_folder=work_folder,
        progress=meter.noting(progress),
        **fitting.options(technique),
        **asking,
    )
    used = meter.used()
    manifest_metrics = {
        **fitted.metrics,
        "training_seconds": used.seconds,
        "training_core_seconds": used.core_seconds,
        **({} if used.joules is None else {"training_joules": used.joules}),
    }
    return _written(fitted, fitting, train, validation, manifest_metrics), False


def fit_ensemble(
    fitting: Fitting, items: ItemSet, answers: Mapping[str, pl.DataFrame]
) -> Checkpoint:
    """The ensemble's checkpoint, its weights fitted on what the members say of validation.

    Args:
        fitting: what decides the checkpoint; every member must have one for it already.
        items: all items.
        answers: each member's rows of ``evaluation.predictions``.
    """
    train, validation = items.split("train"), items.split("validation")
    members = {name: load(name, fitting.require(name)) for name in ENSEMBLE_MEMBERS}
    said = {name: answers_of(rows, validation) for name, rows in answers.items()}
    ensemble = Ensemble.combining(members, validation, answers=said)
    seconds = sum(_training_seconds(fitting, ENSEMBLE_MEMBERS).values())
    metrics = {**ensemble.metrics, "training_seconds": seconds}
    return _written(ensemble, fitting, train, validation, metrics)


def answers_of(predictions: pl.DataFrame, items: ItemSet) -> pl.DataFrame:
    """What a technique said of exactly these items, in their order, as it said it."""
    return (
        items.frame.select("item_id")
        .join(predictions, on="item_id", how="left", maintain_order="left", validate="1:1")
        .select(ESTIMATE_SCHEMA.names())
    )


def training_seconds(fitting: Fitting) -> dict[str, float]:
    """How long fitting took, for each technique that has a checkpoint for the current items.

    One whose checkpoint can't be found or read is left out: what it predicted stands.
    """
    return _training_seconds(fitting, TECHNIQUES)


def _training_seconds(fitting: Fitting, techniques: Iterable[str]) -> dict[str, float]:
    found = {}
    for name in techniques:
        with suppress(PlatformError):
            if (path := fitting.find(name)) is not None:
                found[name] = read_manifest(path).metrics["training_seconds"]
    return found


def _written(
    fitted: Technique,
    fitting: Fitting,
    train: ItemSet,
    validation: ItemSet,
    metrics: dict[str, float],
) -> Checkpoint:
    manifest = Manifest(
        fingerprint=fitting.fingerprint(fitted.name),
        data_hash=data_hash(train.frame, validation.frame),
        # A language model is verified where it is opened.
        base_weights=(
            {} if fitted.name in (*ASKING_TECHNIQUES, *FINE_TUNED_LANGUAGE) else fitted.base_weights
        ),
        configuration=fitted.configuration,
        metrics=metrics,
        seed=fitting.seed,
    )
    path = write_checkpoint(fitting.checkpoints, fitted.name, fitted.save, manifest)
    prune_checkpoints(fitting.checkpoints, fitted.name, keep=CHECKPOINTS_KEPT)
    return open_checkpoint(path)


def load(
    technique: str,
    checkpoint: Checkpoint,
    language: LanguageContext | None = None,
    fine_tuning: FineTuningContext | None = None,
) -> Technique:
    """The fitted technique; one that asks or adapts a language model does so with the one given."""
    fitted: Any = technique_class(technique).load(checkpoint.path)
    if technique in ASKING_TECHNIQUES and language is not None:
        fitted = fitted.bound(language)
    if technique in FINE_TUNED_LANGUAGE and fine_tuning is not None:
        fitted = fitted.bound(fine_tuning)
    return fitted  # type: ignore[no-any-return]


def predict(
    technique: str,
    checkpoint: Checkpoint,
    items: ItemSet,
    *,
    answers: Mapping[str, pl.DataFrame] | None = None,
    language: LanguageContext | None = None,
    fine_tuning: FineTuningContext | None = None,
    sample: EvaluationSample | None = None,
    progress: Progress = silent,
) -> pl.DataFrame:
    """The rows of ``evaluation.predictions`` for the items of validation and test.

    Args:
        technique: whose checkpoint it is.
        checkpoint: verified.
        items: all items.
        answers: for the ensemble, each member's predictions, so that no member is asked twice.
        language: for a technique that asks a language model; its ledger gets the calls.
        fine_tuning: for a technique that fine-tuned one.
        sample: how many items are asked about, of a technique that is asked for a sample.
        progress: is told how far the pricing is.
    """
    fitted = load(technique, checkpoint, language, fine_tuning)
    evaluated = evaluated_items(technique, items, sample)
    if isinstance(fitted, Ensemble) and answers is not None:
        estimates = _combined(fitted, items, answers)
    else:
        estimates = fitted.price(evaluated, progress=progress)
    return as_predictions(
        estimates,
        evaluated.frame,
        technique=technique,
        model=fitted.model,
        checkpoint=checkpoint_label(technique, checkpoint),
    )


@dataclass(frozen=True)
class EvaluationSample:
    """How many items of validation and test techniques with a language model are asked about."""

    validation: int | Literal["all"]
    test: int | Literal["all"]
    seed: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The configured numbers."""
        return cls(settings.language_validation_items, settings.language_test_items, settings.seed)


def evaluated_items(technique: str, items: ItemSet, sample: EvaluationSample | None) -> ItemSet:
    """The items of validation and test that a technique is asked about, in the items' order."""
    evaluated = items.where(items.frame["split"].is_in(["validation", "test"]))
    if technique not in SAMPLED_TECHNIQUES or sample is None:
        return evaluated
    chosen = [
        stratified_sample(evaluated.split(split), most, seed=sample.seed).frame["item_id"]
        for split, most in (("validation", sample.validation), ("test", sample.test))
    ]
    return evaluated.where(evaluated.frame["item_id"].is_in(pl.concat(chosen).to_list()))


def _combined(
    ensemble: Ensemble, items: ItemSet, answers: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """The ensemble's estimates of validation and test, from its members' predictions."""
    parts = []
    for split, answer in (("validation", ensemble.answer_validation), ("test", ensemble.answer)):
        asked = items.split(split)
        parts.append(answer(asked, {n: answers_of(rows, asked) for n, rows in answers.items()}))
    return pl.concat(parts)


def unpriced_items(warehouse: Warehouse, techniques: Sequence[str]) -> pl.DataFrame:
    """Items that a technique was asked about without exactly one row: both names, rows."""
    return warehouse.frame(
        """
        SELECT technique, item_id, count(predictions.item_id) AS rows
        FROM (
            SELECT technique, item_id FROM curated.items, (SELECT unnest(?::VARCHAR[]) AS technique)
            WHERE split <> 'train' AND (
                technique NOT IN (SELECT technique FROM evaluation.asked_items)
                OR (technique, split, item_id) IN (
                    SELECT (technique, split, item_id) FROM evaluation.asked_items
                )
            )
        )
        LEFT JOIN evaluation.predictions USING (technique, item_id)
        GROUP BY technique, item_id
        HAVING count(predictions.item_id) <> 1
        ORDER BY technique, item_id
        """,
        [list(techniques)],
    )


def as_predictions(
    estimates: pl.DataFrame,
    items: pl.DataFrame,
    *,
    technique: str,
    model: str,
    checkpoint: str | None,
) -> pl.DataFrame:
    """Estimates beside the truth, in the columns of ``evaluation.predictions``."""
    truth = items.select("item_id", "split", "price", pl.col("price_observed_at").alias("snapshot"))
    joined = estimates.join(truth, on="item_id", how="inner", validate="1:1")
    return joined.select(
        pl.lit(technique).alias("technique"),
        pl.lit(model).alias("model"),
        pl.all(),
        pl.lit(checkpoint, dtype=pl.String).alias("checkpoint"),
        pl.lit(datetime.now(UTC)).alias("created_at"),
    )


def require_enough_items(items: ItemSet) -> None:
    """Refuses what is too little to fit, validate and test on.

    Raises:
        PlatformError: with how many there are and how many are needed.
    """
    if len(items) < MINIMUM_ITEMS:
        raise PlatformError(
            f"The catalogue has {len(items)} priced items; at least {MINIMUM_ITEMS} are needed to"
            " fit, validate and test a technique.",
            "Add listings to the sources; `pricing-platform sql @sql/queries/rejected_by_rule.sql`"
            " shows which rows were refused and why.",
        )
    present = set(items.frame["split"].unique())
    if missing := {"train", "validation", "test"} - present:
        raise PlatformError(
            f"No item is in the split {', '.join(sorted(missing))}: the items form too few"
            " families of near-duplicates.",
            "Add listings of further products to the sources.",
        )
