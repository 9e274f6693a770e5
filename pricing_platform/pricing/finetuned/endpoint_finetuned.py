"""A language model that an endpoint fine-tunes on the train items, and then prices with.

Here belongs what it is trained on and what it is asked. How an endpoint is made to train belongs to
``finetuning.hosted``, how its answers are read to ``language_technique``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import JsonValue

from pricing_platform.catalog.item_samples import stratified_sample
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError, told_as_not_asked
from pricing_platform.finetuning.hosted.configuration import HostedTraining
from pricing_platform.finetuning.hosted.training import HostedModel, fine_tune_at_endpoint
from pricing_platform.finetuning.hosted.training_file import price_chats
from pricing_platform.language import prompts
from pricing_platform.language.context_packing import FittedPrompt
from pricing_platform.language.endpoint import EndpointLanguageModel
from pricing_platform.language.model import Completion, Prompt
from pricing_platform.pricing.prompting.language_technique import LanguageContext, LanguageTechnique
from pricing_platform.pricing.prompting.reference_items import texts_of
from pricing_platform.progress import Progress, silent

_MOST_VALIDATION_ITEMS = 200
"""Of which the endpoint tells the loss; nothing that is chosen here follows from it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EndpointFinetuned(LanguageTechnique):
    """An endpoint's own fine-tuning, asked as the prompt without context asks its base model."""

    name: ClassVar[str] = "endpoint_finetuned"
    version: ClassVar[str] = "1"

    hosted: HostedModel | None = None

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        work_folder: Path | None = None,
        progress: Progress = silent,
        language: LanguageContext,
        training: HostedTraining | None = None,
    ) -> Self:
        """Has the endpoint train on ``train`` unless it has, then calibrates its model.

        The folder of the training is kept beside all checkpoints, and not in ``work_folder``: a
        model that was paid for outlives the checkpoint that it was made for.

        Raises:
            ModelNotAskedError: when no training is configured, the endpoint can't or must not do
                it, it has failed, or it still goes on.
            PlatformError: as of every technique that asks a language model.
        """
        base = language.model
        if training is None or not isinstance(base, EndpointLanguageModel):
            raise ModelNotAskedError(
                f"{cls.name} is fine-tuned by an endpoint, and none is asked to do so.",
                "Set PRICING_LLM_FINE_TUNING=true, PRICING_LLM_BASE_URL and PRICING_LLM_MODEL.",
            )
        _require_split(train, "train")
        _require_split(validation, "validation")
        shown = stratified_sample(train, training.items, seed=seed)
        watched = stratified_sample(validation, _MOST_VALIDATION_ITEMS, seed=seed)
        ledger = replace(language.ledger, model=training.base_model)

        def ended(completion: Completion) -> None:
            ledger.record(Prompt((), step="fine_tuning"), completion)

        with told_as_not_asked():
            hosted = fine_tune_at_endpoint(
                base.configuration,
                base.cache,
                price_chats(texts_of(shown), shown.prices().tolist(), language.currency),
                price_chats(texts_of(watched), watched.prices().tolist(), language.currency),
                training,
                count_tokens=base.count_tokens,
                seed=seed,
                progress=progress,
                on_end=ended,
            )
        fitted = super().fit(
            train,
            validation,
            seed=seed,
            work_folder=work_folder,
            progress=progress,
            language=language.asking(base.fine_tuned(hosted.name)),
        )
        took = {
            "trained_examples": float(hosted.examples),
            "examples_too_long": float(hosted.too_long),
            "trained_tokens": float(hosted.trained_tokens),
            "training_cost_usd": hosted.cost_usd,
            "endpoint_seconds": hosted.seconds,
        }
        measured = replace(fitted.measured, metrics=fitted.measured.metrics | took)
        return fitted.changed(hosted=hosted, measured=measured)

    @property
    def settings(self) -> dict[str, JsonValue]:
        """What the endpoint made of what."""
        return {} if self.hosted is None else asdict(self.hosted)

    def bound(self, language: LanguageContext) -> Self:
        """The same technique, asking its own model at the endpoint of this one.

        Raises:
            ModelNotAskedError: when that one is at no endpoint.
        """
        if not isinstance(language.model, EndpointLanguageModel):
            raise ModelNotAskedError(
                f"{self.name} asks {self.model_name} at an endpoint, and none is configured.",
                "Set PRICING_LLM_BASE_URL and PRICING_LLM_MODEL.",
            )
        own = language.model.fine_tuned(self.model_name)
        return replace(self, language=language.asking(own))

    def prompts(self, items: ItemSet) -> list[FittedPrompt]:
        """The prompt that it was trained on."""
        return self.fitted_alone(items, partial(_asked, self.context.currency))

    def save_parts(self, folder: Path) -> None:
        """Nothing is shown, so nothing is kept."""

    @classmethod
    def load_parts(cls, folder: Path, settings: dict[str, JsonValue]) -> dict[str, Any]:  # noqa: ARG003
        """See :class:`LanguageTechnique`."""
        return {"hosted": HostedModel(**settings)}  # type: ignore[arg-type]


def _asked(currency: prompts.Currency, text: str, item_id: str) -> Prompt:
    return prompts.zero_shot(text, currency, item_id=item_id)


def _require_split(items: ItemSet, split: str) -> None:
    """Refuses items of another split before anything leaves: they are what it is tested on."""
    others = set(items.frame["split"].unique()) - {split}
    if others:
        raise ValueError(f"of {split}, items of {', '.join(sorted(map(str, others)))} are given")
