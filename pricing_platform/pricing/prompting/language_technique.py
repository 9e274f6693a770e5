"""What all techniques share that ask a language model what an item costs.

Here belongs the way from prompts to the rows that a technique returns: reading the answers, what
they cost, the interval, what is kept. What stands in the prompts belongs to each technique.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import polars as pl
from pydantic import JsonValue

from pricing_platform.catalog.item_samples import chosen_items, stratified_sample
from pricing_platform.catalog.item_set import ItemSet, family_names
from pricing_platform.errors import PlatformError
from pricing_platform.language import prompts
from pricing_platform.language.calls import CallLedger
from pricing_platform.language.context_packing import FittedPrompt, pack_context
from pricing_platform.language.model import LanguageModel, PriceAnswer, Prompt, PromptForm
from pricing_platform.language.price_text import parse_price
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.estimates import SMALLEST_ESTIMATE, Floats, Stopwatch, from_log
from pricing_platform.pricing.intervals import LEVEL, ConformalInterval
from pricing_platform.pricing.prompting.language_calls import LanguageCalls
from pricing_platform.pricing.prompting.reference_items import texts_of
from pricing_platform.pricing.serialization import read_json, write_json
from pricing_platform.pricing.tabular.log_price_technique import Measured
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA
from pricing_platform.progress import Progress, silent

ANSWER_TOKENS = 16
"""Room that is left in the window for a price."""

Ask = Callable[[str, str], Prompt]
"""The prompt for a text and an item id."""

Technique = TypeVar("Technique", bound="LanguageTechnique")

_SETTINGS = "language.json"
_OUTSIDE = (1 - LEVEL) / 2
_SHARPNESS = (1.0, 1.5, 2.0, 3.0)


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

    def asking(self, model: LanguageModel) -> LanguageContext:
        """The same with another model, whose calls go into the same ledger under its name."""
        return replace(self, model=model, ledger=replace(self.ledger, model=model.name))


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

    Chosen on validation are the form of its prompts, where the model reads several, and how much
    the distribution is sharpened before it is read: what a model gives is often broader than what
    it knows, and then its median leans towards the middle of all numbers.

    Its interval is the distribution's inner 80 %, moved on each side so that on validation it
    holds that share (conformalised quantile regression, Romano et al. 2019); where the model gives
    no probabilities, it is the estimate that is moved. Calibrated and measured is on the validation
    items that the technique is evaluated on, options are chosen on those of other families.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    calibration_items: ClassVar[int] = 100
    """Validation items that the interval is calibrated on at most: each of them costs calls."""
    choosing_items: ClassVar[int] = 30
    """Validation items that options are chosen on at most: each costs calls for each of them."""

    model_name: str
    base_weights: dict[str, str]
    form: PromptForm = "chat"
    sharpness: float = 1.0
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
        sample = cls.choosing_sample(validation, seed=seed)
        typical = float(np.median(train.prices()))
        choosing = Choosing(sample, validation, typical, seed, progress)
        formed, forms_tried = prepared.with_best_form(choosing)
        chosen, tried = formed.chosen(choosing)
        found = chosen.calibrated(
            validation, seed=seed, watch=watch, tried=forms_tried | tried, progress=progress
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
        return cls(**cls.bound_fields(language))

    @staticmethod
    def bound_fields(language: LanguageContext) -> dict[str, Any]:
        """What of a technique follows from the model that it is prepared for."""
        model = language.model
        return {
            "model_name": model.name,
            "base_weights": model.base_weights,
            "form": model.prompt_forms[0],
            "language": language,
        }

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

    def with_best_form(self, choosing: Choosing) -> tuple[Self, dict[str, float]]:
        """With the form and the sharpness of the lowest MAE, and what each form gave.

        Where the model reads but one form, nothing is asked for it.
        """
        forms = self.context.model.prompt_forms
        if len(forms) == 1:
            return self.changed(form=forms[0]), {}
        candidates = [self.changed(form=form) for form in forms]
        tried = [choosing.sharpened(candidate) for candidate in candidates]
        best, _ = min(tried, key=lambda at: float(at[1].mean()))
        return best, {f"tried_mae_{at.form}": float(errors.mean()) for at, errors in tried}

    def chosen(self, choosing: Choosing) -> tuple[Self, dict[str, float]]:  # noqa: ARG002
        """The best of the technique's own options, and what each that was tried gave."""
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
            **self._read_as,
            "prompt_version": prompts.templates_version(),
            "interval": {"below": interval.below, "above": interval.above},
        }

    @property
    def _read_as(self) -> dict[str, Any]:
        return {"form": self.form, "sharpness": self.sharpness}

    def save(self, folder: Path) -> None:
        """See :class:`Technique`."""
        kept = {"model": self.model, "base_weights": self.base_weights, "settings": self.settings}
        write_json(folder / _SETTINGS, kept | self._read_as)
        self.measured.write(folder)
        self.save_parts(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`; it is not bound to a model."""
        kept = read_json(folder / _SETTINGS)
        return cls(
            model_name=kept["model"],
            base_weights=kept["base_weights"],
            form=kept["form"],
            sharpness=kept["sharpness"],
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
        readings = self._readings(answers, last, self.sharpness)
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

    def errors_by_sharpness(
        self, sample: ItemSet, otherwise: float, progress: Progress
    ) -> dict[float, Floats]:
        """Absolute errors for each sharpness; an item without a price is estimated as said."""
        self.make_ready()
        calls = LanguageCalls(self.context.model, self.context.ledger, len(sample), progress)
        answers, last = self._asked(sample, calls)
        found = {}
        for sharpness in _SHARPNESS:
            readings = self._readings(answers, last, sharpness)
            estimates = np.array([at.estimate for at in readings], np.float64)
            estimates = np.where(np.isfinite(estimates), estimates, otherwise)
            found[sharpness] = np.abs(np.maximum(estimates, SMALLEST_ESTIMATE) - sample.prices())
        return found

    def _readings(
        self, answers: dict[int, PriceAnswer], last: Sequence[FittedPrompt], sharpness: float
    ) -> list[_Reading]:
        context = self.context
        return [
            _read(answers[place], context.currency, sharpness)
            if at.fits
            else _too_long(at, context.model)
            for place, at in enumerate(last)
        ]

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

    @classmethod
    def choosing_sample(cls, validation: ItemSet, *, seed: int) -> ItemSet:
        """The validation items that options are chosen on: not those that are calibrated on.

        Where others are too few, all may be chosen on.
        """
        calibrated = set(family_names(cls._calibration_sample(validation, seed=seed)))
        others = pl.Series([at not in calibrated for at in family_names(validation)])
        left = validation.where(others)
        enough = left if len(left) >= cls.choosing_items else validation
        return chosen_items(enough, cls.choosing_items, seed=seed)

    @classmethod
    def _calibration_sample(cls, validation: ItemSet, *, seed: int) -> ItemSet:
        """Those that the technique is evaluated on by default: they are asked about once."""
        return stratified_sample(validation, cls.calibration_items, seed=seed)

    def fitted_alone(
        self, items: ItemSet, ask: Ask, *, room: int = ANSWER_TOKENS
    ) -> list[FittedPrompt]:
        """Prompts that show nothing but the item."""
        texts, ids = texts_of(items), items.frame["item_id"].to_list()
        return pack_context(
            self.context.model,
            lambda place, _: ask(texts[place], ids[place]),
            [0] * len(items),
            answer_tokens=room,
        )


@dataclass(frozen=True)
class Choosing:
    """What options are chosen on: a sample where a model is asked, else all validation items.

    ``otherwise`` is the estimate that an item without one is charged for.
    """

    sample: ItemSet
    validation: ItemSet
    otherwise: float
    seed: int
    progress: Progress

    def sharpened(self, technique: Technique) -> tuple[Technique, Floats]:
        """The technique at its best sharpness, and its absolute errors there."""
        errors = technique.errors_by_sharpness(self.sample, self.otherwise, self.progress)
        best = min(errors, key=lambda at: float(errors[at].mean()))
        return technique.changed(sharpness=best), errors[best]


def _read(answer: PriceAnswer, currency: Currency, sharpness: float) -> _Reading:
    if answer.outcome != "answered":
        return _Reading(failure=f"{answer.outcome}: {answer.reason or 'no reason was given'}")
    if answer.distribution is not None:
        quantile = answer.distribution.sharpened(sharpness).quantile
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
