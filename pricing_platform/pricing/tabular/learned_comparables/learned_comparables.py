"""The technique that learns what makes items comparable, and what their differences are worth.

Here belongs the way from items to the network and back. The network belongs to
``retrieval_network``, its training to ``retrieval_training``, what it reads to ``features``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.price_histogram import PriceHistogram
from pricing_platform.pricing.estimates import Floats, Stopwatch, from_log
from pricing_platform.pricing.serialization import (
    Arrays,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
)
from pricing_platform.pricing.tabular.features import TEXT_ESTIMATE, ItemFeatures, fit_features
from pricing_platform.pricing.tabular.learned_comparables.network_inputs import InputScaling
from pricing_platform.pricing.tabular.learned_comparables.retrieval_network import (
    NetworkSizes,
    RetrievalNetwork,
    Singles,
)
from pricing_platform.pricing.tabular.learned_comparables.retrieval_training import (
    Schedule,
    Validation,
    train_retrieval_network,
)
from pricing_platform.pricing.tabular.log_price_technique import LogPriceTechnique, Measured
from pricing_platform.pricing.tabular.text_model import families_of
from pricing_platform.progress import Progress, silent

_SMOOTHING = 0.12


@dataclass(frozen=True)
class LearnedComparables(LogPriceTechnique):
    """The median of what a retrieval network says; see ``retrieval_network``."""

    name: ClassVar[str] = "learned_comparables"
    version: ClassVar[str] = "2"

    features: ItemFeatures
    scaling: InputScaling
    histogram: PriceHistogram
    sizes: NetworkSizes
    schedule: Schedule
    weights: Arrays
    keys: Singles

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        work_folder: Path | None = None,
        progress: Progress = silent,
        sizes: NetworkSizes | None = None,
        schedule: Schedule | None = None,
    ) -> Self:
        """Trains the network; the epoch with the smallest validation MAE is kept."""
        watch = Stopwatch()
        sizes, schedule = sizes or NetworkSizes(), schedule or Schedule()
        fitted = fit_features(train, progress)
        references, scaling = fitted.features.references, InputScaling.fit(fitted.table)
        histogram = PriceHistogram.covering(train.prices(), bins=sizes.bins, smoothing=_SMOOTHING)
        inputs, prices = scaling.transform(fitted.table), np.expm1(references.log_price)
        network = RetrievalNetwork(
            inputs.shape[1], sizes, histogram, prices, references.families.reference
        )
        checked = Validation(
            scaling.transform(fitted.features.transform(validation)),
            references.families.of(families_of(validation)),
            validation.prices(),
        )
        errors = train_retrieval_network(
            network,
            inputs,
            from_log(fitted.table.column(TEXT_ESTIMATE)),
            checked,
            schedule,
            seed=seed,
            work_folder=work_folder,
            progress=progress,
        )
        technique = cls(
            features=fitted.features,
            scaling=scaling,
            histogram=histogram,
            sizes=sizes,
            schedule=schedule,
            weights={k: v.numpy() for k, v in network.parts.state_dict().items()},
            keys=network.keys.numpy(),
        )
        by_epoch = {f"validation_mae_epoch_{n:02d}": e for n, e in enumerate(errors, start=1)}
        estimate = network.log_estimates(checked.inputs, checked.families)
        return technique.measured_on(validation, estimate, watch, **by_epoch)

    @property
    def model(self) -> str:
        """See :class:`Technique`."""
        return f"retrieval network, {self.sizes.neighbours} neighbours"

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """See :class:`Technique`."""
        return {
            "sizes": asdict(self.sizes),
            "schedule": asdict(self.schedule),
            "histogram": asdict(self.histogram),
        }

    @cached_property
    def _network(self) -> RetrievalNetwork:
        import torch

        references = self.features.references
        network = RetrievalNetwork(
            self.scaling.width,
            self.sizes,
            self.histogram,
            np.expm1(references.log_price),
            references.families.reference,
        )
        network.parts.load_state_dict({k: torch.from_numpy(v) for k, v in self.weights.items()})
        network.keys = torch.from_numpy(self.keys)
        return network

    def log_estimates(self, items: ItemSet) -> Floats:
        """``log(1 + price)`` of each item."""
        inputs = self.scaling.transform(self.features.transform(items))
        families = self.features.references.families.of(families_of(items))
        return self._network.log_estimates(inputs, families)

    def save(self, folder: Path) -> None:
        """See :class:`Technique`."""
        self.features.save(folder)
        write_arrays(folder / "scaling.safetensors", self.scaling.arrays())
        write_arrays(folder / "weights.safetensors", self.weights)
        write_arrays(folder / "keys.safetensors", {"keys": self.keys})
        write_json(folder / "network.json", self.configuration)
        self.measured.write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`."""
        configuration = read_json(folder / "network.json")
        scaling: dict[str, Any] = read_arrays(folder / "scaling.safetensors")
        return cls(
            features=ItemFeatures.load(folder),
            scaling=InputScaling(**scaling),
            histogram=PriceHistogram(**configuration["histogram"]),
            sizes=NetworkSizes(**configuration["sizes"]),
            schedule=Schedule(**configuration["schedule"]),
            weights=read_arrays(folder / "weights.safetensors"),
            keys=read_arrays(folder / "keys.safetensors")["keys"],
            measured=Measured.read(folder),
        )
