"""The technique that is a ridge regression on the words of a text and on their parts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

import polars as pl

from pricing_platform.pricing.estimates import (
    Floats,
    Stopwatch,
    estimate_frame,
    log_prices,
    mean_absolute_error,
)
from pricing_platform.pricing.intervals import ConformalInterval
from pricing_platform.pricing.stored import read_json, write_json
from pricing_platform.pricing.technique import ItemSet, Progress, silent
from pricing_platform.pricing.text_model import TextModel, fit_text_model, texts_of


@dataclass(frozen=True)
class TfidfRidge:
    """Ridge regression of ``log(1 + price)`` on tf-idf of words, word pairs and word parts."""

    name: ClassVar[str] = "tfidf_ridge"
    version: ClassVar[str] = "1"

    text: TextModel
    interval: ConformalInterval
    measured: dict[str, float]

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,  # noqa: ARG003
        progress: Progress = silent,
    ) -> Self:
        """Learns vocabularies and coefficients; see :class:`Technique`."""
        watch = Stopwatch()
        text = fit_text_model(train, progress).model
        estimate = _log_estimates(text, validation)
        measured = {
            "validation_mae": mean_absolute_error(validation, estimate),
            "coefficients": float(len(text.ridge.coefficients)),
            "seconds": watch.seconds(),
        }
        return cls(text, ConformalInterval.fit(log_prices(validation), estimate), measured)

    @property
    def model(self) -> str:
        """See :class:`Technique`."""
        return "tf-idf, ridge regression"

    @property
    def metrics(self) -> dict[str, float]:
        """See :class:`Technique`."""
        return self.measured

    def save(self, folder: Path) -> None:
        """See :class:`Technique`."""
        self.text.save(folder)
        write_json(
            folder / "technique.json",
            {"interval": asdict(self.interval), "measured": self.measured},
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`."""
        stored = read_json(folder / "technique.json")
        interval = ConformalInterval(**stored["interval"])
        return cls(TextModel.load(folder), interval, stored["measured"])

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        """See :class:`Technique`."""
        watch = Stopwatch()
        estimate = _log_estimates(self.text, items)
        progress("items priced", len(items), len(items))
        return estimate_frame(items, estimate, self.interval, watch)


def _log_estimates(text: TextModel, items: ItemSet) -> Floats:
    return text.log_estimates(*text.vectors.transform(texts_of(items)))
