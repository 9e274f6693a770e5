"""What a fine-tuned price model has forgotten, and how strongly its adapters may act.

Here belongs measuring a technique's adapters at some strengths, and the strength that the limit
lets through. What is measured, and the rule, belong to ``finetuning.forgetting``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pricing_platform.catalog.item_samples import stratified_sample
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.forgetting.comparison import compare
from pricing_platform.finetuning.forgetting.configuration import ForgettingFiles
from pricing_platform.finetuning.forgetting.gate import (
    NONE,
    SCALED,
    Candidate,
    GateDecision,
    decide,
)
from pricing_platform.finetuning.forgetting.measuring import (
    BaseMeasure,
    ForgettingMeasure,
    GeneralTests,
)
from pricing_platform.finetuning.language.adapters import (
    adapter_scale,
    block_list,
    load_base,
    round_frozen_weights,
    with_adapters_of,
)
from pricing_platform.finetuning.language.configuration import AdapterConfiguration
from pricing_platform.finetuning.language.frozen_states import FrozenStates
from pricing_platform.finetuning.language.price_head import PriceHead
from pricing_platform.finetuning.language.price_model import lower_reading, quantile_of_states
from pricing_platform.finetuning.language.remembered_blocks import (
    LowerBlockMemory,
    remembered_lower_blocks,
)
from pricing_platform.finetuning.language.token_examples import TokenExample
from pricing_platform.finetuning.price_network import has_bfloat16
from pricing_platform.language.local.network import Network, default_device
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.language.local.quantization import Quantization

SCALES = (1.0, 0.75, 0.5, 0.25)
PRICED_ITEMS = 60
"""Validation items whose prices are compared at every strength."""

Floats = npt.NDArray[np.float64]


def require_measurable(folder: Path, files: ForgettingFiles) -> None:
    """Refuses files of probes and text that forgetting can't be measured with.

    A training takes minutes, and they are asked after it.

    Raises:
        PlatformError: naming the file that is wrong.
    """
    GeneralTests.read(files, PromptTokenizer(folder))


@dataclass(frozen=True, eq=False)
class GeneralAbility:
    """The probes and texts for one base model, and what the base itself does with them.

    Adapters that are measured against it are on the blocks from ``first`` on; what the others make
    of the probes and texts is computed once.
    """

    folder: Path
    quantization: Quantization
    first: int
    tests: GeneralTests
    base: BaseMeasure
    memory: LowerBlockMemory

    @classmethod
    def of_base(
        cls,
        folder: Path,
        files: ForgettingFiles,
        adapters: AdapterConfiguration,
        quantization: Quantization = "none",
    ) -> GeneralAbility:
        """Asks the base model of a folder, its weights held as those that were trained on.

        Raises:
            PlatformError: when a file of probes or text is wrong.
        """
        tests = GeneralTests.read(files, PromptTokenizer(folder))
        model = load_base(folder, quantization=quantization)
        first, memory = adapters.first_adapted(len(block_list(model))), LowerBlockMemory()
        with remembered_lower_blocks(model, first, memory):
            base = tests.measure_base(network_of(model))
        return cls(folder, quantization, first, tests, base, memory)

    @contextmanager
    def adapted(self, adapters: Path) -> Iterator[Any]:
        """The base model with adapters on it, for as long as it is measured."""
        yield with_adapters_of(load_base(self.folder, quantization=self.quantization), adapters)

    def measure(self, adapted: Any, scale: float) -> ForgettingMeasure:
        """What the model does with its adapters acting so strongly."""
        with (
            adapter_scale(adapted, scale),
            remembered_lower_blocks(adapted, self.first, self.memory),
        ):
            return self.tests.measure(network_of(adapted), self.base)


@dataclass(frozen=True, eq=False)
class PricedSample:
    """Items with their prices, and what the blocks below ``first`` make of them, computed once.

    ``numbers`` is what is known of each besides its text, shape (items, any).
    """

    first: int
    examples: list[TokenExample]
    numbers: npt.NDArray[np.float32]
    states: FrozenStates
    prices: Floats

    @classmethod
    def read(
        cls,
        ability: GeneralAbility,
        read: tuple[list[TokenExample], npt.NDArray[np.float32]],
        prices: Floats,
        folder: Path,
    ) -> PricedSample:
        """Of examples and numbers; their states are kept in the folder until it is removed."""
        model = network_of(load_base(ability.folder, quantization=ability.quantization)).module
        states = lower_reading(
            model,
            read[0],
            ability.first,
            identity=f"{ability.folder.name} {ability.quantization}",
            pooled_folder=folder / "pooled",
            states_folder=folder / "states",
        )
        return cls(ability.first, *read, states, prices)

    def errors(self, adapted: Any, head: PriceHead, scale: float) -> Floats:
        """Absolute errors of a model with its adapters at a scale, in the currency, (items,)."""
        with adapter_scale(adapted, scale):
            found = quantile_of_states(
                network_of(adapted).module,
                head,
                self.first,
                self.states,
                self.examples,
                self.numbers,
                0.5,
            )
        errors: Floats = np.abs(np.expm1(found) - self.prices)
        return errors


def priced_sample(validation: ItemSet, *, seed: int) -> ItemSet:
    """The validation items that prices are compared on."""
    return stratified_sample(validation, PRICED_ITEMS, seed=seed)


def largest_scale(
    ability: GeneralAbility, adapters: Path, *, limit: float, seed: int
) -> GateDecision:
    """The largest strength of the adapters that forgets no more than the limit.

    The full strength is looked at first, and smaller ones only where it forgets too much.
    """
    candidates: list[Candidate] = []
    with ability.adapted(adapters) as adapted:
        for scale in SCALES:
            forgetting = compare(ability.base.measure, ability.measure(adapted, scale), seed=seed)
            candidates.append(Candidate(NONE if scale == 1 else SCALED, scale, forgetting))
            if candidates[-1].is_within(limit):
                break
    return decide(candidates, limit)


def network_of(module: Any) -> Network:
    """The module in evaluation mode, computing as fast as this machine can."""
    import torch

    device = default_device()
    module = module.eval().requires_grad_(False)
    if not has_bfloat16(torch.device(device)):
        return Network(module, device, "float32")
    round_frozen_weights(module)
    return Network(module, device, "mixed")
