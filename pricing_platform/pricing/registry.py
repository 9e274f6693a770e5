"""The techniques by name. Listing them imports none of them, nor what they compute with.

Here belongs where a technique is found and in which order they run. What it does belongs to its
module.
"""

from __future__ import annotations

from importlib import import_module

from pricing_platform.errors import PlatformError
from pricing_platform.pricing.technique import Technique

TECHNIQUES: dict[str, str] = {
    "category_median": "pricing_platform.pricing.category_median:CategoryMedian",
    "tfidf_ridge": "pricing_platform.pricing.tfidf_ridge:TfidfRidge",
    "comparables": "pricing_platform.pricing.comparables:Comparables",
    "stack": "pricing_platform.pricing.stack:Stack",
    "learned_comparables": "pricing_platform.pricing.learned_comparables:LearnedComparables",
    "encoder_finetuned": "pricing_platform.pricing.encoder_finetuned:EncoderFinetuned",
    "ensemble": "pricing_platform.pricing.ensemble:Ensemble",
}
"""Name -> ``module:Class``, in the order in which they are fitted: the ensemble last."""


def technique_names() -> tuple[str, ...]:
    """All techniques, the ensemble last."""
    return tuple(TECHNIQUES)


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
