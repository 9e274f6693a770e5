"""Fine-tuning: a pretrained encoder that has read the training items and learnt what they cost.

Here belongs the technique: from items to the training and from the network's distributions to
estimates. The network, the histogram and the training loop belong to the package finetuning.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.base_models import (
    base_model_folder,
    check_weights,
    weights_sha256,
)
from pricing_platform.finetuning.price_histogram import PriceHistogram
from pricing_platform.finetuning.price_network import (
    NetworkConfiguration,
    PriceNetwork,
    Weights,
    load_weights,
    save_weights,
)
from pricing_platform.finetuning.text_batches import TextTokeniser, TokenisedTexts
from pricing_platform.finetuning.training_loop import (
    PricedTexts,
    TrainingConfiguration,
    train_price_network,
)
from pricing_platform.pricing.estimates import Floats, from_log
from pricing_platform.pricing.intervals import LEVEL, ConformalInterval
from pricing_platform.pricing.serialization import read_json, write_json
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA
from pricing_platform.progress import Progress, silent

_CONFIGURATION = "encoder_finetuned.json"
_PRICED_TOGETHER = 10_000
_SAME_ENCODER = 0.99
"""The median cosine above which two vectors are one encoder's: number formats differ by less."""


@dataclass(frozen=True, eq=False)
class EncoderFinetuned:
    """A fine-tuned encoder with a histogram head; the median of its distribution is the estimate.

    Its interval is the distribution's inner 80 %, moved on each side so that on validation it
    holds that share (conformalised quantile regression, Romano et al. 2019).
    """

    name: ClassVar[str] = "encoder_finetuned"
    version: ClassVar[str] = "2"

    network: NetworkConfiguration
    training: TrainingConfiguration
    histogram: PriceHistogram
    interval: ConformalInterval
    adapter: Weights
    head: Weights
    base_weights: dict[str, str]
    metrics: dict[str, float]

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        work_folder: Path | None = None,
        progress: Progress = silent,
        network: NetworkConfiguration | None = None,
        training: TrainingConfiguration | None = None,
    ) -> Self:
        """Trains within the budget of ``training``; see :func:`train_price_network`."""
        network, training = network or NetworkConfiguration(), training or TrainingConfiguration()
        histogram = PriceHistogram.covering(train.prices(), bins=network.bins)
        tokenise = TextTokeniser(base_model_folder(network.base_model), network.max_tokens)
        priced_validation = PricedTexts(tokenise(_texts(validation.frame)), validation.prices())
        trainee = PriceNetwork.to_train(network, histogram.prior(train.prices()), seed=seed)
        texts = tokenise(_texts(train.frame))
        trained = train_price_network(
            trainee,
            histogram,
            PricedTexts(texts, train.prices(), _vectors(trainee, texts, train)),
            priced_validation,
            training,
            seed=seed,
            work_folder=work_folder,
            progress=progress,
        )
        trainee.restore(trained.adapter, trained.head)
        return cls(
            network=network,
            training=training,
            histogram=histogram,
            interval=_calibrated(histogram, trainee, priced_validation),
            adapter=trained.adapter,
            head=trained.head,
            base_weights={network.base_model: weights_sha256(network.base_model)},
            metrics=trained.metrics,
        )

    @property
    def model(self) -> str:
        """The base model and the rank of its adapters."""
        return f"{Path(self.network.base_model).name} + LoRA r={self.network.rank}"

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """Network, training, bins and interval."""
        return {
            "network": self.network.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
            "histogram": asdict(self.histogram),
            "interval": asdict(self.interval),
        }

    def save(self, folder: Path) -> None:
        """Writes adapters, head and configuration; the base model is named, not copied."""
        save_weights(folder, self.adapter, self.head)
        write_json(
            folder / _CONFIGURATION,
            {
                "configuration": self.configuration,
                "base_weights": self.base_weights,
                "metrics": self.metrics,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what :meth:`save` wrote.

        Raises:
            PlatformError: when the base model is not the one that was trained on.
        """
        stored = read_json(folder / _CONFIGURATION)
        for name, sha256 in stored["base_weights"].items():
            check_weights(name, sha256)
        adapter, head = load_weights(folder)
        configuration = stored["configuration"]
        return cls(
            network=NetworkConfiguration(**configuration["network"]),
            training=TrainingConfiguration(**configuration["training"]),
            histogram=PriceHistogram(**configuration["histogram"]),
            interval=ConformalInterval(**configuration["interval"]),
            adapter=adapter,
            head=head,
            base_weights=stored["base_weights"],
            metrics=stored["metrics"],
        )

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        """One row an item; an item's latency is its share of its batch's time."""
        parts = [ESTIMATE_SCHEMA.to_frame()]
        for rows in items.frame.select("item_id", "text").iter_slices(_PRICED_TOGETHER):
            parts.append(self._price_rows(rows))
            progress("pricing", sum(part.height for part in parts), len(items))
        return pl.concat(parts)

    @cached_property
    def _reader(self) -> PriceNetwork:
        return PriceNetwork.to_read(self.network, self.adapter, self.head)

    @cached_property
    def _tokenise(self) -> TextTokeniser:
        return TextTokeniser(base_model_folder(self.network.base_model), self.network.max_tokens)

    def _price_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        texts = self._tokenise(_texts(rows))
        probabilities = np.empty((len(texts), self.network.bins), dtype=np.float32)
        latency = np.empty(len(texts))
        started = time.perf_counter()
        for indices, found in self._reader.batched_probabilities(texts):
            probabilities[indices] = found
            latency[indices] = 1000 * (time.perf_counter() - started) / len(indices)
            started = time.perf_counter()
        estimate = self.histogram.log_quantile(probabilities, 0.5)
        low, high = _interval_ends(self.histogram, probabilities, self.interval)
        return (
            rows.select("item_id")
            .with_columns(
                estimate=from_log(estimate),
                low=from_log(np.minimum(low, estimate)),
                high=from_log(np.maximum(high, estimate)),
                failure=None,
                tokens_in=texts.lengths,
                tokens_cached=0,
                tokens_out=0,
                latency_ms=latency,
                cost_usd=0.0,
                prompt_version=None,
                context_items=None,
                context_cut=None,
            )
            .select(ESTIMATE_SCHEMA.names())
            .cast(ESTIMATE_SCHEMA)
        )


def _texts(frame: pl.DataFrame) -> list[str]:
    return frame["text"].fill_null("").to_list()


def _vectors(
    network: PriceNetwork, texts: TokenisedTexts, items: ItemSet
) -> npt.NDArray[np.float32] | None:
    """The items' embeddings, if they are what the untrained network makes of the texts."""
    sample = np.linspace(0, len(items) - 1, num=min(len(items), 32), dtype=np.int64)
    expected, known = network.embed(texts.take(sample)), items.embeddings[sample]
    if expected.shape != known.shape:
        return None
    similarity = np.median((expected * known).sum(axis=1))
    return items.embeddings if similarity > _SAME_ENCODER else None


def _calibrated(
    histogram: PriceHistogram, network: PriceNetwork, validation: PricedTexts
) -> ConformalInterval:
    """How far either end of the interval is to be moved so that it holds its share of prices."""
    probabilities = network.probabilities(validation.texts)
    actual = np.log1p(validation.prices)
    low, high = _interval_ends(histogram, probabilities, ConformalInterval())
    return ConformalInterval(
        below=ConformalInterval.fit(actual, low).below,
        above=ConformalInterval.fit(actual, high).above,
    )


def _interval_ends(
    histogram: PriceHistogram, probabilities: npt.NDArray[np.float32], moved: ConformalInterval
) -> tuple[Floats, Floats]:
    outside = (1 - LEVEL) / 2
    low = histogram.log_quantile(probabilities, outside) + moved.below
    high = histogram.log_quantile(probabilities, 1 - outside) + moved.above
    return low, high
