"""The technique that asks several others and weighs what they say.

Here belongs the technique. How the weights are fitted belongs to ``blend_weights``; what the
members say is their own affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.estimates import (
    Floats,
    Stopwatch,
    estimate_frame,
)
from pricing_platform.pricing.registry import ENSEMBLE, ENSEMBLE_MEMBERS, technique_class
from pricing_platform.pricing.serialization import read_json, write_json
from pricing_platform.pricing.tabular.blend_weights import Weighting, cross_fitted_average
from pricing_platform.pricing.tabular.log_price_technique import LogPriceTechnique, Measured
from pricing_platform.pricing.tabular.text_model import families_of
from pricing_platform.pricing.technique import Technique
from pricing_platform.progress import Progress, silent

_COSTS = ("tokens_in", "tokens_cached", "tokens_out", "latency_ms", "cost_usd")


@dataclass(frozen=True)
class Ensemble(LogPriceTechnique):
    """The weighted average of other techniques' estimates, the weights fitted on validation."""

    name: ClassVar[str] = ENSEMBLE
    version: ClassVar[str] = "2"

    members: dict[str, Technique]
    weighting: Weighting

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        work_folder: Path | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Fits every member and combines them; see :meth:`combining` for fitted ones."""
        members: dict[str, Technique] = {}
        for name in ENSEMBLE_MEMBERS:
            folder = work_folder / name if work_folder else None
            members[name] = technique_class(name).fit(
                train, validation, seed=seed, work_folder=folder, progress=progress
            )
        return cls.combining(members, validation, progress=progress)

    @classmethod
    def combining(
        cls,
        members: Mapping[str, Technique],
        validation: ItemSet,
        *,
        answers: Mapping[str, pl.DataFrame] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Weighs techniques that are already fitted; those without a weight are not kept.

        Args:
            members: fitted techniques by name, none of them fitted on the validation items.
            validation: the items that decide the weights.
            answers: what each member says of exactly these items in their order, with the columns
                of ``ESTIMATE_SCHEMA``; asked for when not given.
            progress: is told about members priced.
        """
        watch = Stopwatch()
        given = dict(answers or {})
        for number, (name, member) in enumerate(members.items(), start=1):
            if name not in given:
                given[name] = member.price(validation)
            progress("members asked", number, len(members))
        estimates = {name: _estimates(given[name]) for name in members}
        weighting = Weighting.fit(estimates, validation.prices(), families_of(validation))
        kept = {name: members[name] for name in weighting.weights}
        ensemble = cls(members=kept, weighting=weighting)
        average = _fair_average(weighting, estimates, validation)
        known = np.isfinite(average)
        return ensemble.measured_on(
            validation.where(pl.Series(known)),
            np.log1p(average[known]),
            watch,
            **{f"weight_{name}": weight for name, weight in weighting.weights.items()},
        )

    @property
    def model(self) -> str:
        """See :class:`Technique`."""
        parts = (f"{weight:.2f} {name}" for name, weight in self.weighting.weights.items())
        return " + ".join(parts)

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """See :class:`Technique`."""
        return {"scale": self.weighting.scale, "weights": dict(self.weighting.weights)}

    @property
    def base_weights(self) -> dict[str, str]:
        """Those of all members."""
        return {k: v for member in self.members.values() for k, v in member.base_weights.items()}

    def log_estimates(self, items: ItemSet) -> Floats:
        """``log(1 + price)`` of each item; NaN where no member has an answer."""
        answers = {name: _estimates(m.price(items)) for name, m in self.members.items()}
        return np.log1p(self.weighting.average(answers))

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        """See :class:`Technique`; tokens, latency and cost are the members' together."""
        answers: dict[str, pl.DataFrame] = {}
        for number, (name, member) in enumerate(self.members.items(), start=1):
            answers[name] = member.price(items)
            progress("members asked", number, len(self.members))
        return self.answer(items, answers)

    def answer(self, items: ItemSet, answers: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """What :meth:`price` says, from what the members already said of these very items."""
        watch = Stopwatch()
        average = self.weighting.average({n: _estimates(answers[n]) for n in self.members})
        return self._answer(items, answers, average, watch)

    def answer_validation(
        self, validation: ItemSet, answers: Mapping[str, pl.DataFrame]
    ) -> pl.DataFrame:
        """What it says of the items that decided its weights, each weighed without its family.

        With weights that know the answers it would beat its members on these items by construction,
        and could not be compared with them.
        """
        watch = Stopwatch()
        estimates = {name: _estimates(said) for name, said in answers.items()}
        average = _fair_average(self.weighting, estimates, validation)
        return self._answer(validation, answers, average, watch)

    def _answer(
        self,
        items: ItemSet,
        answers: Mapping[str, pl.DataFrame],
        average: Floats,
        watch: Stopwatch,
    ) -> pl.DataFrame:
        frame = estimate_frame(items, np.log1p(average), self.measured.interval, watch)
        nobody = pl.Series(~np.isfinite(average))
        return frame.with_columns(
            *(
                pl.when(nobody).then(None).otherwise(pl.col(name)).alias(name)
                for name in ("estimate", "low", "high")
            ),
            failure=pl.when(nobody).then(pl.lit("no member of the ensemble has an estimate")),
            **{c: sum(answers[n][c].fill_null(0) for n in self.members) + frame[c] for c in _COSTS},
        )

    def save(self, folder: Path) -> None:
        """See :class:`Technique`; the members are written too, each into a folder of its own."""
        write_json(folder / "weighting.json", self.configuration)
        self.measured.write(folder)
        for name, member in self.members.items():
            member_folder = folder / "members" / name
            member_folder.mkdir(parents=True)
            member.save(member_folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`."""
        weighting = Weighting(**read_json(folder / "weighting.json"))
        members = {
            name: technique_class(name).load(folder / "members" / name)
            for name in weighting.weights
        }
        return cls(members=members, weighting=weighting, measured=Measured.read(folder))


def _fair_average(
    weighting: Weighting, estimates: Mapping[str, Floats], validation: ItemSet
) -> Floats:
    return cross_fitted_average(weighting, estimates, validation.prices(), families_of(validation))


def _estimates(answers: pl.DataFrame) -> Floats:
    return answers["estimate"].cast(pl.Float64).fill_null(np.nan).to_numpy()
