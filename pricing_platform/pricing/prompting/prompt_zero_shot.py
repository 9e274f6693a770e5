"""Prompting with nothing but the instructions and the product.

Here belongs what that prompt shows; how its answer is read belongs to ``language_technique``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.language import prompts
from pricing_platform.language.context_packing import FittedPrompt
from pricing_platform.language.model import Prompt, PromptForm
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.prompting.language_technique import LanguageTechnique


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptZeroShot(LanguageTechnique):
    """A language model that is told what to do and shown the product."""

    name: ClassVar[str] = "prompt_zero_shot"
    version: ClassVar[str] = "4"

    @property
    def settings(self) -> dict[str, JsonValue]:
        """None but how it is asked and read."""
        return {}

    def prompts(self, items: ItemSet) -> list[FittedPrompt]:
        """See :class:`LanguageTechnique`."""
        return self.fitted_alone(items, partial(_asked, self.context.currency, self.form))

    def save_parts(self, folder: Path) -> None:
        """Nothing is shown, so nothing is kept."""

    @classmethod
    def load_parts(cls, folder: Path, settings: dict[str, JsonValue]) -> dict[str, Any]:  # noqa: ARG003
        """See :class:`LanguageTechnique`."""
        return {}


def _asked(currency: Currency, form: PromptForm, text: str, item_id: str) -> Prompt:
    return prompts.zero_shot(text, currency, item_id=item_id, form=form)
