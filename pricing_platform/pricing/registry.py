"""The techniques by name. Listing them imports none of them, nor what they compute with.

Here belongs where a technique is found and in which order they run. What it does belongs to its
module.
"""

from __future__ import annotations

from importlib import import_module

from pricing_platform.errors import PlatformError
from pricing_platform.pricing.technique import Technique
from pricing_platform.settings import Settings

TECHNIQUES: dict[str, str] = {
    "category_median": "pricing_platform.pricing.tabular.category_median:CategoryMedian",
    "tfidf_ridge": "pricing_platform.pricing.tabular.tfidf_ridge:TfidfRidge",
    "comparables": "pricing_platform.pricing.tabular.nearest_comparables:Comparables",
    "stack": "pricing_platform.pricing.tabular.stack:Stack",
    "learned_comparables": (
        "pricing_platform.pricing.tabular.learned_comparables.learned_comparables"
        ":LearnedComparables"
    ),
    "encoder_finetuned": "pricing_platform.pricing.finetuned.encoder_finetuned:EncoderFinetuned",
    "prompt_zero_shot": "pricing_platform.pricing.prompting.prompt_zero_shot:PromptZeroShot",
    "prompt_multi_shot": "pricing_platform.pricing.prompting.prompt_multi_shot:PromptMultiShot",
    "prompt_chain": "pricing_platform.pricing.prompting.prompt_chain:PromptChain",
    "prompt_tools": "pricing_platform.pricing.prompting.tool_use.prompt_tools:PromptTools",
    "rag": "pricing_platform.pricing.prompting.rag:Rag",
    "language_finetuned": (
        "pricing_platform.pricing.finetuned.language_finetuned:LanguageFinetuned"
    ),
    "rag_finetuned": "pricing_platform.pricing.finetuned.rag_finetuned:RagFinetuned",
    "endpoint_finetuned": (
        "pricing_platform.pricing.finetuned.endpoint_finetuned:EndpointFinetuned"
    ),
    "ensemble": "pricing_platform.pricing.tabular.ensemble:Ensemble",
}
"""Name -> ``module:Class``, in the order in which they are fitted: the ensemble last."""

ENSEMBLE = "ensemble"
LANGUAGE_TECHNIQUES = (
    "prompt_zero_shot",
    "prompt_multi_shot",
    "prompt_chain",
    "prompt_tools",
    "rag",
)
"""Those that prompt a language model, which may be one that is paid for by the call."""

ENDPOINT_FINETUNED = "endpoint_finetuned"
"""The one that an endpoint fine-tunes, for money: offered to those who ask for it."""

ASKING_TECHNIQUES = (*LANGUAGE_TECHNIQUES, ENDPOINT_FINETUNED)
"""Those that ask a language model, be it that of the prompts or one that was made of it."""

RAG_FINETUNED = "rag_finetuned"
"""The one that is trained on texts in which other products' prices stand."""

FINE_TUNED_LANGUAGE = ("language_finetuned", RAG_FINETUNED)
"""Those that fine-tune a language model on this machine."""

SAMPLED_TECHNIQUES = (*ASKING_TECHNIQUES, *FINE_TUNED_LANGUAGE)
"""Those that are evaluated on a sample of the items: each estimate takes a language model."""

ENSEMBLE_MEMBERS = tuple(
    name for name in TECHNIQUES if name != ENSEMBLE and name not in SAMPLED_TECHNIQUES
)
"""Whom the ensemble asks: what prices every item, and costs nothing a call."""


def technique_names(settings: Settings | None = None) -> tuple[str, ...]:
    """The techniques that are compared under these settings, the ensemble last.

    Without settings, those that are compared under any.
    """
    asked_for = settings is not None and settings.llm_fine_tuning
    return tuple(name for name in TECHNIQUES if name != ENDPOINT_FINETUNED or asked_for)


def technique_class(name: str) -> type[Technique]:
    """The class of a technique, imported now.

    Raises:
        PlatformError: when no technique has that name.
    """
    if name not in TECHNIQUES:
        raise PlatformError(
            f"There is no technique named {name!r}.", f"Choose one of: {', '.join(TECHNIQUES)}."
        )
    module, _, attribute = TECHNIQUES[name].partition(":")
    found: type[Technique] = getattr(import_module(module), attribute)
    return found
