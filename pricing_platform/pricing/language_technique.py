"""What all techniques share that ask a language model what an item costs.

Here belongs the way from prompts to the rows that a technique returns: reading the answers, what
they cost, the interval, what is kept. What stands in the prompts belongs to each technique.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import polars as pl
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.evaluation.pricer import chosen_items, family_names
from pricing_platform.evaluation.resampling import FamilyResampling
from pricing_platform.language import prompts
from pricing_platform.language.calls import CallLedger
from pricing_platform.language.context_fit import FittedPrompt, fit_context
from pricing_platform.language.model import LanguageModel, PriceAnswer, Prompt
from pricing_platform.language.price_text import parse_price
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.estimates import SMALLEST_ESTIMATE, Floats, Stopwatch, from_log
from pricing_platform.pricing.intervals import LEVEL, ConformalInterval
from pricing_platform.pricing.language_calls import LanguageCalls
from pricing_platform.pricing.log_price_technique import Measured
from pricing_platform.pricing.references import texts_of
from pricing_platform.pricing.stored import read_json, write_json
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA
from pricing_platform.progress import Progress, silent

ANSWER_TOKENS = 16
"""Room that is left in the window for a price."""

Ask = Callable[[str, str], Prompt]
"""The prompt for a text and an item id."""

Choice = TypeVar("Choice")

_SETTINGS = "language.json"
_SIGNIFICANCE = 0.05
_FEWEST_LEFT = 100
"""Items besides those that options were chosen on that are enough to calibrate on."""

_OUTSIDE = (1 - LEVEL) / 2


@dataclass(frozen=True)
class LanguageContext:
    """What such a technique needs besides the items; none of it is saved with it.

    ``brand_facts`` has the columns subject, attribute, value, source, valid_since, verified_at and
    freshness: current versions only; without a time in valid_since, or without that column, a fact
    held at any time. ``price_history`` has item_id, price and observed_at (UTC): every
    observation of every training item. Either may be empty.
    """

    model: LanguageModel
    currency: Currency
    brand_facts: pl.DataFrame
    price_history: pl.DataFrame
    ledger: CallLedger

    def of(self, technique: str) -> LanguageContext:
        """The same, with an empty ledger for the calls of this technique."""
        return replace(self, ledger=CallLedger(technique, self.model.name))


@dataclass(frozen=True)
class _Reading:
    """What one answer says before the interval is calibrated; NaN where there is a failure."""

    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    failure: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageTechnique(ABC):
    """A technique that asks a language model; the median of its distribution is the estimate.

    Its interval is the distribution's inner 80 %, moved on each side so that on validation it
    holds that share (conformalised quantile regression, Romano et al. 2019); where the model gives
    no probabilities, it is the estimate that is moved. Calibrated and measured is on validation
    items whose families the options were not chosen on; where fewer than 100 such are left, on all.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    calibration_items: ClassVar[int] = 300
    """Validation items that the interval is calibrated on at most: each of them costs calls."""
    choosing_items: ClassVar[int] = 0
    """Validation items that options are chosen on at most; 0 where there is nothing to choose."""

    model_name: str
    base_weights: dict[str, str]
    measured: Measured = field(default_factory=Measured)
    language: LanguageContext | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        work_folder: Path | None = None,  # noqa: ARG003
        progress: Progress = silent,
        language: LanguageContext,
    ) -> Self:
        """Keeps what the prompts show of ``train``; chooses and calibrates on ``validation``.

        Raises:
            PlatformError: when more than 2 % of the calls failed for reasons that may pass: what
                was chosen and calibrated would follow from the hour.
        """
        watch = Stopwatch()
        prepared = cls.prepared(train, seed=seed, language=language)
        chosen, tried = prepared.chosen(validation, seed=seed, progress=progress)
        found = chosen.calibrated(
            validation, seed=seed, watch=watch, tried=tried, progress=progress
        )
        language.ledger.require_answers()
        return found

    @classmethod
    def prepared(
        cls,
        train: ItemSet,  # noqa: ARG003
        *,
        seed: int,  # noqa: ARG003
        language: LanguageContext,
        count: int | None = None,  # noqa: ARG003
    ) -> Self:
        """With nothing chosen and nothing calibrated.

        Args:
            train: what the prompts may show.
            seed: of what is drawn.
            language: what it is bound to.
            count: how many shots or comparables a prompt shows, where the technique has such.
        """
        model = language.model
        return cls(model_name=model.name, base_weights=model.base_weights, language=language)

    @abstractmethod
    def prompts(self, items: ItemSet) -> list[FittedPrompt]:
        """The first prompt for each item, fitted into the model's window."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, JsonValue]:
        """What was chosen or given, apart from the calibration."""

    @abstractmethod
    def save_parts(self, folder: Path) -> None:
        """Writes what the technique shows, beside its settings."""

    @classmethod
    @abstractmethod
    def load_parts(cls, folder: Path, settings: dict[str, JsonValue]) -> dict[str, Any]:
        """The fields of the technique's own, as :meth:`save_parts` wrote them."""

    def make_ready(self) -> None:  # noqa: B027
        """Makes what is made once and kept for all items, such as an index."""

    def chosen(
        self,
        validation: ItemSet,  # noqa: ARG002
        *,
        seed: int,  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> tuple[Self, dict[str, float]]:
        """The best settings by validation MAE, and what each that was tried gave."""
        return self, {}

    @property
    def context(self) -> LanguageContext:
        """What it is bound to.

        Raises:
            PlatformError: when it was loaded and not bound to a model yet.
        """
        if self.language is None:
            raise PlatformError(
                f"{self.name} was loaded without a language model to ask.",
                "Bind it first: technique.bound(LanguageContext(...)).",
            )
        return self.language

    def bound(self, language: LanguageContext) -> Self:
        """The same technique, asking this model."""
        return replace(self, language=language)

    def changed(self, **changes: Any) -> Self:
        """The same technique and model with other settings; indices that were made are kept."""
        other = replace(self, **changes)
        own = {at.name for at in fields(self)}
        other.__dict__.update({name: at for name, at in self.__dict__.items() if name not in own})
        return other

    @property
    def model(self) -> str:
        """See :class:`Technique`."""
        return self.language.model.name if self.language is not None else self.model_name

    @property
    def metrics(self) -> dict[str, float]:
        """See :class:`Technique`."""
        return dict(self.measured.metrics)

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """See :class:`Technique`."""
        interval = self.measured.interval
        return {
            **self.settings,
            "prompt_version": prompts.templates_version(),
            "interval": {"below": interval.below, "above": interval.above},
        }

    def save(self, folder: Path) -> None:
        """See :class:`Technique`."""
        kept = {"model": self.model, "base_weights": self.base_weights, "settings": self.settings}
        write_json(folder / _SETTINGS, kept)
        self.measured.write(folder)
        self.save_parts(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`; it is not bound to a model."""
        kept = read_json(folder / _SETTINGS)
        return cls(
            model_name=kept["model"],
            base_weights=kept["base_weights"],
            measured=Measured.read(folder),
            **cls.load_parts(folder, kept["settings"]),
        )

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        """See :class:`Technique`; what could not be priced has its reason in ``failure``.

        An item's latency is that of its calls and its share of the time that all else took:
        retrieval, prompts, tools.
        """
        context = self.context
        self.make_ready()
        watch = Stopwatch()
        calls = LanguageCalls(context.model, context.ledger, len(items), progress)
        answers, last = self._asked(items, calls)
        readings = [
            _read(answers[place], context.currency) if at.fits else _too_long(at, context.model)
            for place, at in enumerate(last)
        ]
        estimate, low, high = _moved(readings, self.measured.interval)
        beside = 1000 * max(watch.seconds() - calls.seconds, 0) / max(len(items), 1)
        columns = {
            "item_id": items.frame["item_id"],
            "estimate": estimate,
            "low": low,
            "high": high,
            "failure": pl.Series([at.failure for at in readings], dtype=pl.String),
            "context_items": [at.shown for at in last],
            "context_cut": [at.cut for at in last],
        }
        return (
            pl.DataFrame(columns)
            .with_columns(pl.col("estimate", "low", "high").fill_nan(None))
            .with_columns(calls.usage(), prompt_version=pl.lit(prompts.templates_version()))
            .with_columns(pl.col("latency_ms") + beside)
            .select(ESTIMATE_SCHEMA.names())
            .cast(ESTIMATE_SCHEMA)
        )

    def conversations(self, items: ItemSet) -> list[FittedPrompt]:
        """For each item the prompt that its price was read after, with all that was said before.

        Where one prompt follows from the answer to another, the model is asked again: it answers
        from the cache.
        """
        context = self.context.of(self.name)
        calls = LanguageCalls(context.model, context.ledger, len(items), silent)
        return self._asked(items, calls)[1]

    def _asked(
        self, items: ItemSet, calls: LanguageCalls
    ) -> tuple[dict[int, PriceAnswer], list[FittedPrompt]]:
        """The answers by the place of the item, and for each item the last prompt."""
        fitted = self.prompts(items)
        asked = {place: at for place, at in enumerate(fitted) if at.fits}
        answers, shown = self.answers(items, asked, calls)
        return answers, [shown.get(place, at) for place, at in enumerate(fitted)]

    def answers(
        self,
        items: ItemSet,  # noqa: ARG002
        asked: dict[int, FittedPrompt],
        calls: LanguageCalls,
    ) -> tuple[dict[int, PriceAnswer], dict[int, FittedPrompt]]:
        """The price for each item, and the prompt that asked for it where that is not the first.

        There is no answer for an item whose last prompt does not fit into the window.
        """
        return calls.read_prices({place: at.prompt for place, at in asked.items()}), {}

    def calibrated(
        self,
        validation: ItemSet,
        *,
        seed: int,
        watch: Stopwatch,
        tried: dict[str, float],
        progress: Progress,
    ) -> Self:
        """With the interval that holds its share of the validation items, and the metrics."""
        sample = self._calibration_sample(validation, seed=seed)
        uncalibrated = self.changed(measured=Measured())
        answered = uncalibrated.price(sample, progress=progress)
        priced = answered.with_columns(price=sample.prices()).drop_nulls("estimate")
        actual = np.log1p(priced["price"].to_numpy())
        metrics = {
            **tried,
            **_mean_absolute_error(priced),
            "validation_items": float(len(sample)),
            "validation_failures": float(answered["failure"].is_not_null().sum()),
            "seconds": watch.seconds(),
        }
        low, high = (np.log1p(priced[name].to_numpy()) for name in ("low", "high"))
        interval = ConformalInterval(
            below=ConformalInterval.fit(actual, low).below,
            above=ConformalInterval.fit(actual, high).above,
        )
        return self.changed(measured=Measured(interval, metrics))

    def _calibration_sample(self, validation: ItemSet, *, seed: int) -> ItemSet:
        chosen_on = chosen_items(validation, self.choosing_items, seed=seed)
        seen = set(family_names(chosen_on))
        left = validation.where(pl.Series([at not in seen for at in family_names(validation)]))
        enough = left if len(left) >= _FEWEST_LEFT else validation
        return chosen_items(enough, self.calibration_items, seed=seed)

    def errors_on(self, sample: ItemSet, otherwise: float, progress: Progress) -> Floats:
        """Absolute errors, an item without a price being estimated as ``otherwise``."""
        answered = self.changed(measured=Measured()).price(sample, progress=progress)
        estimate = answered["estimate"].fill_null(otherwise).to_numpy()
        return np.abs(estimate - sample.prices())

    def fitted_alone(
        self, items: ItemSet, ask: Ask, *, room: int = ANSWER_TOKENS
    ) -> list[FittedPrompt]:
        """Prompts that show nothing but the item."""
        texts, ids = texts_of(items), items.frame["item_id"].to_list()
        return fit_context(
            self.context.model,
            lambda place, _: ask(texts[place], ids[place]),
            [0] * len(items),
            answer_tokens=room,
        )


def not_worse(errors: Mapping[Choice, Floats], sample: ItemSet, *, seed: int) -> list[Choice]:
    """The choices that are not significantly worse than the best, in their order.

    Args:
        errors: absolute errors of each choice, shape (items,).
        sample: the items; they are compared in pairs, by family, at a level of 5 %.
        seed: of the test's permutations.
    """
    families = FamilyResampling.of(family_names(sample), seed=seed)
    best = min(errors.values(), key=lambda at: float(at.mean()))
    return [
        choice
        for choice, error in errors.items()
        if families.p_value(error - best) >= _SIGNIFICANCE
    ]


def _read(answer: PriceAnswer, currency: Currency) -> _Reading:
    if answer.outcome != "answered":
        return _Reading(failure=f"{answer.outcome}: {answer.reason or 'no reason was given'}")
    if answer.distribution is not None:
        quantile = answer.distribution.quantile
        return _Reading(quantile(0.5), quantile(_OUTSIDE), quantile(1 - _OUTSIDE))
    found = parse_price(answer.text or "", currency)
    if found.price is None:
        return _Reading(failure=found.failure)
    return _Reading(found.price, found.price, found.price)


def _too_long(fitted: FittedPrompt, model: LanguageModel) -> _Reading:
    return _Reading(
        failure=f"too_long: {fitted.tokens:,} tokens without any context, where"
        f" {model.context_window:,} are the window with its answer"
    )


def _moved(
    readings: Sequence[_Reading], interval: ConformalInterval
) -> tuple[Floats, Floats, Floats]:
    """Estimates, and the ends of their intervals moved by what the calibration found."""
    numbers = np.array([(at.estimate, at.low, at.high) for at in readings], np.float64)
    estimate, low, high = np.maximum(numbers.reshape(-1, 3), SMALLEST_ESTIMATE).T
    low, high = from_log(np.log1p(low) + interval.below), from_log(np.log1p(high) + interval.above)
    return estimate, np.minimum(low, estimate), np.maximum(high, estimate)


def _mean_absolute_error(priced: pl.DataFrame) -> dict[str, float]:
    """Over rows with an estimate and a price, as a metric; over none there is none."""
    error = (priced["estimate"] - priced["price"]).abs().mean()
    return {"validation_mae": error} if isinstance(error, float) else {}
