"""Short trainings that differ in what they do against forgetting alone.

Here belongs what each mitigation adds to a training of the price model. How a model is measured
afterwards belongs to ``forgetting_curve``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.forgetting.divergence import kl_loss
from pricing_platform.finetuning.forgetting.gate import KL, LOWER_RANK, NONE, REPLAY
from pricing_platform.finetuning.forgetting.replay import write_replay
from pricing_platform.finetuning.language.adapters import adapter_scale, load_base
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.finetuning.language.frozen_states import (
    FrozenStates,
    compute_frozen_states,
)
from pricing_platform.finetuning.language.price_model import (
    FitFolders,
    FittedPriceModel,
    LearntExamples,
    PriceRecipe,
    fit_price_model,
)
from pricing_platform.finetuning.language.token_examples import TokenExample
from pricing_platform.finetuning.language.training import ExtraLoss
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.pricing.finetuned.context import FineTuningContext
from pricing_platform.pricing.finetuned.fine_tuned_technique import drawn, priced_examples
from pricing_platform.pricing.finetuned.forgetting.forgetting_gate import network_of
from pricing_platform.pricing.finetuned.item_examples import ItemTokens
from pricing_platform.progress import Progress, silent

MITIGATIONS = (NONE, REPLAY, KL, LOWER_RANK)
TRAINED_ITEMS = 256
_REPLAYED_TEXTS = 24
_REPLAYED_TOKENS = 64
_TOGETHER = 4
"""Replayed texts beside each batch of items."""

_WEIGHT = 0.5
"""Of the mitigation's loss beside that of the prices."""

_LOW_RANK = 2


@dataclass(frozen=True, eq=False)
class MitigatedTraining:
    """The same short training for every mitigation: the same items, steps and seed."""

    train: ItemSet
    context: FineTuningContext
    adapters: AdapterConfiguration
    seed: int
    folder: Path
    progress: Progress = silent

    def fit(self, mitigation: str) -> tuple[FittedPriceModel, dict[str, float]]:
        """The price model trained with one of ``MITIGATIONS``, and its metrics."""
        base = self.context.base
        tokens = ItemTokens(base.folder, self.context.currency)
        known = priced_examples(self.train, tokens)
        known = known.take(drawn(len(known), TRAINED_ITEMS, seed=self.seed))
        lower = {"rank": _LOW_RANK, "alpha": 2 * _LOW_RANK}
        losses = {REPLAY: self._replayed, KL: self._held}
        adapters = self.adapters.model_copy(update=lower if mitigation == LOWER_RANK else {})
        result = self.folder / mitigation
        return fit_price_model(
            base.adapted,
            LearntExamples.all_of(known),
            PriceRecipe(1.0, adapters, AdapterTraining(), self.seed),
            FitFolders(result, result / "work", base.pooled_folder, self.folder / "states"),
            extra_loss=losses.get(mitigation),
            progress=self.progress,
        )

    def _replayed(self, adapted: Any, first: int) -> ExtraLoss:
        """The loss of texts that the base model wrote (replay without any data)."""
        import torch

        def loss(part: Any, texts: _Texts) -> Any:
            logits, seen = texts.logits(part)
            wanted = texts.ids[:, 1:]
            return torch.nn.functional.cross_entropy(logits[:, :-1][seen], wanted[seen])

        return self._on_texts(adapted, first, loss)

    def _held(self, adapted: Any, first: int) -> ExtraLoss:
        """The divergence of the base model from the adapted one on such texts."""
        import torch

        def loss(part: Any, texts: _Texts) -> Any:
            with torch.no_grad(), adapter_scale(adapted, 0.0):
                base, _ = texts.logits(part)
            logits, seen = texts.logits(part)
            return kl_loss(logits[:, :-1], base[:, :-1], seen)

        return self._on_texts(adapted, first, loss)

    def _on_texts(self, adapted: Any, first: int, loss: Callable[[Any, _Texts], Any]) -> ExtraLoss:
        examples, states = self._texts(adapted, first)
        step = 0

        def extra(part: Any, _batch: dict[str, Any]) -> Any:
            nonlocal step
            rows = np.arange(step, step + _TOGETHER) % len(examples)
            step += _TOGETHER
            return _WEIGHT * loss(part, _Texts.of(examples, states, rows, adapted.device))

        return extra

    def _texts(self, adapted: Any, first: int) -> tuple[list[TokenExample], FrozenStates]:
        """Texts that the base model continued, and their states below the adapters."""
        examples = [TokenExample(ids, 1) for ids in self._replay]
        states = compute_frozen_states(
            adapted,
            examples,
            first,
            identity=f"{self.context.base.content_sha256} {adapted.device.type}",
            pooled_folder=self.folder / "texts" / "pooled",
            states_folder=self.folder / "texts" / "states",
        )
        return examples, states

    @cached_property
    def _replay(self) -> list[tuple[int, ...]]:
        """Texts that the base model wrote; the same for all that learn from them."""
        folder = self.context.base.folder
        return write_replay(
            network_of(load_base(folder, quantization=self.context.base.quantization)),
            PromptTokenizer(folder),
            texts=_REPLAYED_TEXTS,
            seed=self.seed,
            max_tokens=_REPLAYED_TOKENS,
        )


@dataclass(frozen=True, eq=False)
class _Texts:
    """Some texts: ids and mask of shape (texts, width), and their states below the adapters."""

    ids: Any
    mask: Any
    states: Any

    @classmethod
    def of(
        cls, examples: list[TokenExample], states: FrozenStates, rows: Any, device: Any
    ) -> _Texts:
        import torch

        found, mask = states.padded(rows, device)
        ids = torch.zeros(mask.shape, dtype=torch.long, device=device)
        for row, at in enumerate(rows):
            own = torch.tensor(examples[at].ids, device=device)
            ids[row, : len(own)] = own
        return cls(ids, mask, found)

    def logits(self, part: Any) -> tuple[Any, Any]:
        """Logits after every token, and which of the next tokens are there."""
        last = part.upper(
            inputs_embeds=self.states, attention_mask=self.mask, use_cache=False
        ).last_hidden_state
        return part.words(last).float(), self.mask[:, 1:].bool()
