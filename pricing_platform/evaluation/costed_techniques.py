"""The techniques whose estimates are costed, opened so that each estimate is computed.

Here belong which techniques these are, what they are made of, and passing by what was answered
before. Timing them belongs to ``evaluation.inference_cost``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pricing_platform.errors import PlatformError, told_as_not_asked
from pricing_platform.evaluation.inference_cost import CostedTechnique
from pricing_platform.evaluation.pricer import Pricer
from pricing_platform.finetuning.base_models import base_model_folder
from pricing_platform.finetuning.checkpoints import Checkpoint
from pricing_platform.language.response_cache import CachedLanguageModel
from pricing_platform.pricing.finetuned.context import FineTuningContext
from pricing_platform.pricing.fitting import Fitting, load
from pricing_platform.pricing.prompting.language_technique import LanguageContext
from pricing_platform.pricing.registry import (
    FINE_TUNED_LANGUAGE,
    LANGUAGE_TECHNIQUES,
    SAMPLED_TECHNIQUES,
)
from pricing_platform.resource_use import folder_bytes
from pricing_platform.stores.warehouse import Warehouse

COSTED_TECHNIQUES = (
    "prompt_zero_shot",
    "prompt_multi_shot",
    "rag",
    "rag_finetuned",
    "language_finetuned",
    "encoder_finetuned",
    "stack",
)
_TRAINED = ("rag_finetuned", "language_finetuned", "encoder_finetuned")
_ANSWERS = """
SELECT estimate, tokens_in, tokens_cached, tokens_out, latency_ms
FROM evaluation.predictions
WHERE technique = ? AND split = 'test'
"""


@dataclass(frozen=True, eq=False)
class CostedInputs:
    """What the techniques are opened with.

    ``language`` and ``fine_tuning`` open what they need of a language model, ``model_folder`` tells
    where the one on this machine is; ``asks_endpoint`` says that prompts go elsewhere.
    """

    warehouse: Warehouse
    fitting: Fitting
    language: Callable[[], LanguageContext]
    fine_tuning: Callable[[], FineTuningContext]
    model_folder: Callable[[], Path]
    asks_endpoint: bool

    def identity(self, technique: str) -> str:
        """Equal where the technique's files and, at an endpoint, its answers are."""
        try:
            files = self.fitting.require(technique).manifest.files
        except PlatformError as error:
            return error.problem
        if not self._is_elsewhere(technique):
            return str(sorted(files.items()))
        state = self.warehouse.state("evaluation.predictions", technique)
        return f"answered {state.fingerprint if state else None}"

    def techniques(self) -> list[CostedTechnique]:
        """Those that are costed; one without a checkpoint says so when it is opened."""
        return [self._technique(name) for name in COSTED_TECHNIQUES]

    def _technique(self, name: str) -> CostedTechnique:
        asks = name in LANGUAGE_TECHNIQUES
        try:
            checkpoint = self.fitting.require(name)
        except PlatformError:
            # Opening it tells the same again, to whoever measures.
            return CostedTechnique(name, partial(self._open, name), asks)
        if self._is_elsewhere(name):
            answers = self.warehouse.frame(_ANSWERS, [name])
            return CostedTechnique(name, partial(self._open, name), asks, answers)
        metrics = checkpoint.manifest.metrics if name in _TRAINED else {}
        return CostedTechnique(
            name,
            partial(self._open, name),
            asks,
            model_bytes=folder_bytes(checkpoint.path, *self._base_folders(name, checkpoint)),
            training_seconds=metrics.get("training_seconds"),
            training_core_seconds=metrics.get("training_core_seconds"),
        )

    def _is_elsewhere(self, name: str) -> bool:
        return self.asks_endpoint and name in LANGUAGE_TECHNIQUES

    def _base_folders(self, name: str, checkpoint: Checkpoint) -> list[Path]:
        """Where the pretrained models are that it is built on."""
        if name in SAMPLED_TECHNIQUES:
            return [self.model_folder()]
        return [base_model_folder(at) for at in checkpoint.manifest.base_weights]

    def _open(self, name: str) -> Pricer:
        """The fitted technique, asking its model itself.

        Raises:
            ModelNotAskedError: when its language model is not there, or it was not fitted.
        """
        with told_as_not_asked():
            checkpoint = self.fitting.require(name)
        if name in LANGUAGE_TECHNIQUES:
            return load(name, checkpoint, self._uncached(f"inference_cost/{name}"))
        if name in FINE_TUNED_LANGUAGE:
            return load(name, checkpoint, fine_tuning=self.fine_tuning())
        return load(name, checkpoint)

    def _uncached(self, purpose: str) -> LanguageContext:
        context = self.language().of(purpose)
        model = context.model
        return replace(
            context, model=model.inner if isinstance(model, CachedLanguageModel) else model
        )
