"""What the techniques share that fine-tune a language model and read prices off its states.

Here belongs the way from items to a fitted model and from its distributions to rows. What an item
is told in belongs to each technique.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, JsonValue

from pricing_platform.catalog.item_samples import stratified_sample
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.language.adapters import ADAPTER_FOLDER
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.finetuning.language.plan import TrainingPlan, plan_training
from pricing_platform.finetuning.language.price_head import HEAD_FOLDER, PriceHead
from pricing_platform.finetuning.language.price_model import (
    SNAPSHOTS_FOLDER,
    FittedPriceModel,
    PricedExamples,
    fit_price_model,
)
from pricing_platform.finetuning.language.token_examples import (
    Integers,
    TokenExample,
    lengths_of,
)
from pricing_platform.language.local.local_model import LocalLanguageModel
from pricing_platform.language.model import Prompt
from pricing_platform.pricing.estimates import SMALLEST_ESTIMATE, Floats, Stopwatch, from_log
from pricing_platform.pricing.finetuned.context import FineTuningContext
from pricing_platform.pricing.finetuned.digits import (
    WrittenPrices,
    adapted_language_model,
    written_prices,
)
from pricing_platform.pricing.finetuned.forgetting.forgetting_gate import (
    GeneralAbility,
    largest_scale,
    require_measurable,
)
from pricing_platform.pricing.finetuned.item_examples import ItemTokens
from pricing_platform.pricing.intervals import LEVEL, ConformalInterval
from pricing_platform.pricing.prompting.reference_items import texts_of
from pricing_platform.pricing.serialization import read_json, write_json
from pricing_platform.pricing.tabular.log_price_technique import Measured
from pricing_platform.pricing.tabular.text_model import families_of
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA
from pricing_platform.progress import Progress, silent

Singles = npt.NDArray[np.float32]
_SETTINGS = "fine_tuned.json"
_OUTSIDE = (1 - LEVEL) / 2
_LEVELS = (_OUTSIDE, 0.5, 1 - _OUTSIDE)
_PRICED_TOGETHER = 2_048
ReadOut = Literal["histogram", "digits"]
"""How a price is read: by the head over the states, or as the numbers that would be written."""


class Reading(BaseModel):
    """How prices are read off a fitted model: how strongly its adapters act, and by which way."""

    model_config = ConfigDict(frozen=True)

    scale: float
    read_out: ReadOut


CALIBRATION_ITEMS = 100
"""Validation items that a read-out is chosen and an interval calibrated on at most."""

SNAPSHOTS_AT = (0.25, 0.5)
"""Shares of the training at which the model is kept as it is, to see what it forgot by then."""

PLAN_FILE = "plan.json"
"""In the work folder: what the training began with."""

_SPEED_STEPS = math.sqrt(2)
"""Speeds are rounded down to a power of this, so that like machines plan alike."""


@dataclass(frozen=True, eq=False)
class ReadItems:
    """What a model is given of some items: examples, numbers known of each, shape (items, any).

    ``shown``: how many comparables each example shows, shape (items,).
    """

    examples: list[TokenExample]
    numbers: Singles
    shown: Integers


@dataclass(frozen=True, kw_only=True, eq=False)
class FineTunedTechnique(ABC):
    """A language model whose states give a distribution over prices; its median is the estimate.

    There are two distributions: the histogram that the head gives, and the one over the numbers
    that the model would write. Where a technique can be read either way, the one with the lower
    error on validation is kept. Its interval is the distribution's inner 80 %, moved on each side
    so that on validation it holds that share (conformalised quantile regression, Romano et al.
    2019).
    """

    name: ClassVar[str]
    version: ClassVar[str]
    read_outs: ClassVar[tuple[ReadOut, ...]] = ("histogram",)
    """Of which one is chosen on validation."""

    model_name: str
    base_weights: dict[str, str]
    plan: TrainingPlan
    configuration_of_adapters: AdapterConfiguration
    training: AdapterTraining
    fitted: FittedPriceModel
    read_out: ReadOut = "histogram"
    measured: Measured = field(default_factory=Measured)
    context: FineTuningContext | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        work_folder: Path | None = None,
        progress: Progress = silent,
        fine_tuning: FineTuningContext,
        adapters: AdapterConfiguration | None = None,
        training: AdapterTraining | None = None,
    ) -> Self:
        """Trains within the budget of the context; see :func:`fit_price_model`.

        Raises:
            PlatformError: when the base model can't be loaded, or not be adapted.
        """
        raise NotImplementedError

    @abstractmethod
    def read(self, items: ItemSet) -> ReadItems:
        """What the model is given of each item; whatever has to be found for it is found once."""

    def examples(self, items: ItemSet) -> tuple[list[TokenExample], Singles]:
        """What is read of each item, and the numbers known of it, shape (items, any)."""
        read = self.read(items)
        return read.examples, read.numbers

    def prompts(self, items: ItemSet) -> list[Prompt]:
        """The same as prompts, for reading a price off what the model writes after them."""
        examples, _ = self.examples(items)
        return [self.tokens.prompt_of(at) for at in examples]

    @property
    def model(self) -> str:
        """The base model, the rank of its adapters, and how strongly they act where not fully."""
        scaled = f" x {self.fitted.scale:g}" if self.fitted.scale != 1 else ""
        return f"{self.model_name} + LoRA r={self.configuration_of_adapters.rank}{scaled}"

    @property
    def metrics(self) -> dict[str, float]:
        """See :class:`Technique`."""
        return dict(self.measured.metrics)

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """The plan, the adapters, the training and the interval."""
        interval = self.measured.interval
        return {
            "items": self.plan.items,
            "epochs": self.plan.epochs,
            "adapters": self.configuration_of_adapters.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
            "scale": self.fitted.scale,
            "quantization": self.fitted.quantization,
            "read_out": self.read_out,
            "interval": {"below": interval.below, "above": interval.above},
        }

    def bound(self, context: FineTuningContext) -> Self:
        """The same technique on the base model of this context.

        Raises:
            PlatformError: when it is not, byte for byte, the one that was trained on.
        """
        if context.base.content_sha256 not in self.base_weights.values():
            raise PlatformError(
                f"{self.name} was trained on {self.model_name}; the base model is now"
                f" {context.base.name}, whose content is another.",
                "Run `pricing-platform run` to train on it, or name the model of before.",
            )
        fitted = replace(self.fitted, base=context.base.folder)
        return replace(self, context=context, fitted=fitted)

    @property
    def known_context(self) -> FineTuningContext:
        """What it is bound to.

        Raises:
            PlatformError: when it was loaded and not bound yet.
        """
        if self.context is None:
            raise PlatformError(
                f"{self.name} was loaded without its base model.",
                "Bind it first: technique.bound(FineTuningContext(...)).",
            )
        return self.context

    @cached_property
    def tokens(self) -> ItemTokens:
        """How the base model's tokenizer writes items."""
        context = self.known_context
        return ItemTokens(context.base.folder, context.currency)

    def save(self, folder: Path) -> None:
        """See :class:`Technique`; adapters and head were written while they were fitted."""
        write_json(
            folder / _SETTINGS,
            {
                "model": self.model_name,
                "base_weights": self.base_weights,
                "plan": {"items": self.plan.items, "epochs": self.plan.epochs},
                "adapters": self.configuration_of_adapters.model_dump(mode="json"),
                "training": self.training.model_dump(mode="json"),
                "scale": self.fitted.scale,
                "quantization": self.fitted.quantization,
                "read_out": self.read_out,
            },
        )
        self.measured.write(folder)
        _copy(self.fitted.adapters, folder / ADAPTER_FOLDER)
        for share, part in self.fitted.snapshots.items():
            _copy(part, folder / SNAPSHOTS_FOLDER / f"{share:g}")
        self.fitted.head.save(folder / HEAD_FOLDER)
        self.save_parts(folder)

    def save_parts(self, folder: Path) -> None:  # noqa: B027
        """Writes what the technique shows besides."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`; it is not bound to a base model."""
        kept = read_json(folder / _SETTINGS)
        adapters = AdapterConfiguration(**kept["adapters"])
        head = PriceHead.load(folder / HEAD_FOLDER)
        snapshots = {float(at.name): at for at in (folder / SNAPSHOTS_FOLDER).glob("*")}
        return cls(
            model_name=kept["model"],
            base_weights=kept["base_weights"],
            plan=TrainingPlan(**kept["plan"]),
            configuration_of_adapters=adapters,
            training=AdapterTraining(**kept["training"]),
            fitted=FittedPriceModel(
                Path(),
                folder / ADAPTER_FOLDER,
                head,
                adapters,
                kept["scale"],
                kept["quantization"],
                snapshots,
            ),
            read_out=kept["read_out"],
            measured=Measured.read(folder),
            **cls.load_parts(folder),
        )

    @classmethod
    def load_parts(cls, folder: Path) -> dict[str, Any]:  # noqa: ARG003
        """The fields of the technique's own, as :meth:`save_parts` wrote them."""
        return {}

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        """See :class:`Technique`; an item's latency is its share of its batch's time."""
        parts = [ESTIMATE_SCHEMA.to_frame()]
        for start in range(0, len(items), _PRICED_TOGETHER):
            rows = list(range(start, min(start + _PRICED_TOGETHER, len(items))))
            parts.append(self._price_rows(items.take(rows)))
            progress("pricing", rows[-1] + 1, len(items))
        return pl.concat(parts)

    def _price_rows(self, items: ItemSet) -> pl.DataFrame:
        watch = Stopwatch()
        read = self.read(items)
        beside = 1000 * watch.seconds() / max(len(items), 1)
        found = self._read(self.read_out, read.examples, read.numbers)
        low, estimate, high = found.logs
        interval = self.measured.interval
        return (
            items.frame.select("item_id")
            .with_columns(
                estimate=np.maximum(from_log(estimate), SMALLEST_ESTIMATE),
                low=from_log(np.minimum(low + interval.below, estimate)),
                high=from_log(np.maximum(high + interval.above, estimate)),
                failure=pl.Series(found.failures, dtype=pl.String),
                tokens_in=np.array([at.start for at in read.examples], np.int64),
                tokens_cached=0,
                tokens_out=0,
                latency_ms=found.latency_ms + beside,
                cost_usd=0.0,
                prompt_version=None,
                context_items=pl.Series(read.shown, dtype=pl.Int64),
                context_cut=0,
            )
            .with_columns(pl.col("estimate", "low", "high").fill_nan(None))
            .select(ESTIMATE_SCHEMA.names())
            .cast(ESTIMATE_SCHEMA)
        )

    def _read(
        self, read_out: ReadOut, examples: Sequence[TokenExample], numbers: Singles
    ) -> WrittenPrices:
        """Log prices at the lower end, the middle and the upper end of each distribution."""
        if read_out == "digits":
            return written_prices(self._writer, self.tokens, examples, _LEVELS)
        logs, latency = np.empty((len(_LEVELS), len(examples))), np.empty(len(examples))
        watch = Stopwatch()
        for rows, anchored, probabilities in self.fitted.distributions(examples, numbers):
            for at, level in enumerate(_LEVELS):
                logs[at, rows] = self.fitted.head.log_quantile(anchored, probabilities, level)
            latency[rows] = 1000 * watch.seconds() / len(rows)
            watch = Stopwatch()
        return WrittenPrices(logs, latency, [None] * len(examples))

    @cached_property
    def _writer(self) -> LocalLanguageModel:
        """The model that the numbers are read of which it would write."""
        return adapted_language_model(self.fitted, self.known_context)

    def gated(self, *, seed: int) -> tuple[Self, dict[str, float]]:
        """With its adapters as strong as the limit of forgetting lets them be, and what was lost.

        Where nothing general is measured they stay as they were trained; where even the weakest
        forget too much, the head reads the untouched base.
        """
        context = self.known_context
        if context.general is None:
            return self, {}
        ability = GeneralAbility.of_base(
            context.base.folder,
            context.general,
            self.configuration_of_adapters,
            context.base.quantization,
        )
        decision = largest_scale(
            ability, self.fitted.adapters, limit=context.forgetting_limit, seed=seed
        )
        chosen = decision.chosen
        found = {"adapter_scale": 0.0 if chosen is None else chosen.adapter_scale}
        if chosen is not None:
            found |= {
                "accuracy_lost": chosen.forgetting.accuracy_lost.value,
                "perplexity_gained": chosen.forgetting.perplexity_gained.value,
            }
        return replace(self, fitted=self.fitted.scaled(found["adapter_scale"])), found

    def read_as(self, reading: Reading) -> Self:
        """The same model, read as another one is; its interval stays as it was calibrated."""
        fitted = self.fitted.scaled(reading.scale)
        return replace(self, fitted=fitted, read_out=reading.read_out)

    def calibrated(self, validation: ItemSet, metrics: dict[str, float], *, seed: int) -> Self:
        """Gated, read the better way, with an interval that holds its share, and with metrics."""
        gated, lost = self.gated(seed=seed)
        sample = stratified_sample(validation, CALIBRATION_ITEMS, seed=seed)
        return gated._calibrated(sample, metrics | lost)

    def _calibrated(self, validation: ItemSet, metrics: dict[str, float]) -> Self:
        examples, numbers = self.examples(validation)
        prices = validation.prices()
        tried = {way: self._read(way, examples, numbers).logs for way in self.read_outs}
        # Where a number is missing, so is the error: such a way of reading is not chosen.
        errors = {way: float(np.abs(from_log(at[1]) - prices).mean()) for way, at in tried.items()}
        best = min(errors, key=lambda way: (math.isnan(errors[way]), errors[way]))
        low, _, high = tried[best]
        actual = np.log1p(prices)
        interval = ConformalInterval(
            below=ConformalInterval.fit(actual, low).below,
            above=ConformalInterval.fit(actual, high).above,
        )
        told = {f"validation_mae_{way}": error for way, error in errors.items() if error == error}
        found = metrics | told | {"validation_mae": errors[best]}
        found["validation_items"] = float(len(validation))
        return replace(self, read_out=best, measured=Measured(interval, found))


def require_trainable(context: FineTuningContext) -> None:
    """Refuses before a training what would be refused after it.

    Raises:
        PlatformError: when forgetting is to be measured, and can't be.
    """
    if context.general is not None:
        require_measurable(context.base.folder, context.general)


def planned(
    texts: Sequence[TokenExample], context: FineTuningContext, adapters: AdapterConfiguration
) -> TrainingPlan:
    """What of the examples the budget pays for."""
    tokens = float(lengths_of(texts).mean()) if len(texts) else 1.0
    return plan_training(
        len(texts),
        tokens,
        seconds=context.seconds,
        tokens_per_second=rounded_speed(context.base.tokens_per_second),
        adapted_share=adapters.adapted_share,
    )


def rounded_speed(tokens_per_second: float) -> float:
    """The speed, rounded down to a step of its kind, so that like machines plan alike."""
    steps = math.floor(math.log(max(tokens_per_second, 1.0), _SPEED_STEPS))
    return float(_SPEED_STEPS**steps)


def drawn(count: int, most: int, *, seed: int) -> Integers:
    """So many places out of ``count``, drawn at random, in order."""
    if most >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def family_numbers(items: ItemSet) -> Integers:
    """The number of each item's family, from 0; an item without one is a family of its own."""
    names = [
        family if family is not None else f"item {item}"
        for family, item in zip(families_of(items), items.frame["item_id"], strict=True)
    ]
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].astype(np.int64)


def priced_examples(
    items: ItemSet, tokens: ItemTokens, numbers: Singles | None = None
) -> PricedExamples:
    """The items with their prices written after them."""
    examples = [
        tokens.example(text, price)
        for text, price in zip(texts_of(items), items.prices(), strict=True)
    ]
    known = np.zeros((len(items), 0), np.float32) if numbers is None else numbers
    return PricedExamples(examples, items.prices(), family_numbers(items), known)


def _copy(source: Path, target: Path) -> None:
    import shutil

    if source != target:
        shutil.copytree(source, target)


__all__ = ["FineTunedTechnique", "Floats", "fit_price_model"]
