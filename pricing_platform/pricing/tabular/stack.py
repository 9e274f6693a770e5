"""The technique that stacks: gradient boosting over what simpler models say, and over structure.

Here belongs the boosting. Its features, and how the training items get theirs without seeing their
own price, belong to ``features``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.estimates import Floats, Stopwatch, from_log
from pricing_platform.pricing.serialization import read_json, write_json
from pricing_platform.pricing.tabular.blend_weights import SCALES, Scale, Weighting
from pricing_platform.pricing.tabular.features import (
    TEXT_ESTIMATE,
    FeatureTable,
    ItemFeatures,
    fit_features,
)
from pricing_platform.pricing.tabular.log_price_technique import LogPriceTechnique, Measured
from pricing_platform.pricing.tabular.text_model import families_of
from pricing_platform.progress import Progress, silent

Answers = dict[str, Floats]

_MOST_TREES = 2000
_PATIENCE = 150
_SETTINGS: dict[str, JsonValue] = {
    "objective": "l1",
    "metric": "None",
    "learning_rate": 0.05,
    "num_leaves": 47,
    "min_data_in_leaf": 15,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 127,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


@dataclass(frozen=True)
class Stack(LogPriceTechnique):
    """LightGBM (Ke et al. 2017) over the features of an item, with absolute loss.

    Stacked generalisation (Wolpert 1992): the estimates of the simpler models are features, made
    out of fold for the training items. There are two boosters, one of the price and one of its
    logarithm; validation weighs them.
    They start from nothing and not from the text's estimate, which is a little better for new items
    than out of fold.
    """

    name: ClassVar[str] = "stack"
    version: ClassVar[str] = "2"

    features: ItemFeatures
    boosters: dict[Scale, str]
    weighting: Weighting

    @classmethod
    def fit(
        cls,
        train: ItemSet,
        validation: ItemSet,
        *,
        seed: int,
        work_folder: Path | None = None,  # noqa: ARG003
        progress: Progress = silent,
    ) -> Self:
        """Boosts until the validation MAE has not fallen for a while; the best round is kept."""
        watch = Stopwatch()
        fitted = fit_features(train, progress)
        table = fitted.features.transform(validation)
        learnt, checked = (fitted.table, train.prices()), (table, validation.prices())
        boosters = {scale: _boost(scale, learnt, checked, seed, progress) for scale in SCALES}
        answers: Answers = {s: _answers(boosters[s], s, table) for s in SCALES}
        weighting = Weighting.fit(answers, validation.prices(), families_of(validation))
        stack = cls(
            features=fitted.features,
            boosters={scale: _as_text(boosters[scale]) for scale in SCALES},
            weighting=weighting,
        )
        trees = {f"trees_{scale}": float(b.best_iteration) for scale, b in boosters.items()}
        weights = {f"weight_{scale}": w for scale, w in weighting.weights.items()}
        estimate = stack.estimates_from(table)
        return stack.measured_on(validation, estimate, watch, **trees, **weights)

    @property
    def model(self) -> str:
        """See :class:`Technique`."""
        return "LightGBM"

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """See :class:`Technique`."""
        return {**_SETTINGS, "most_trees": _MOST_TREES, "patience": _PATIENCE}

    @cached_property
    def _loaded(self) -> dict[Scale, Any]:
        import lightgbm

        return {s: lightgbm.Booster(model_str=text) for s, text in self.boosters.items()}

    def log_estimates(self, items: ItemSet) -> Floats:
        """``log(1 + price)`` of each item."""
        return self.estimates_from(self.features.transform(items))

    def estimates_from(self, table: FeatureTable) -> Floats:
        """``log(1 + price)`` of the items whose features these are."""
        answers: Answers = {s: _answers(self._loaded[s], s, table) for s in SCALES}
        return np.log1p(self.weighting.average(answers))

    def save(self, folder: Path) -> None:
        """See :class:`Technique`."""
        self.features.save(folder)
        for scale, text in self.boosters.items():
            (folder / f"booster_{scale}.txt").write_text(text, encoding="utf-8")
        write_json(folder / "weighting.json", asdict(self.weighting))
        self.measured.write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`Technique`."""
        return cls(
            features=ItemFeatures.load(folder),
            boosters={
                scale: (folder / f"booster_{scale}.txt").read_text(encoding="utf-8")
                for scale in SCALES
            },
            weighting=Weighting(**read_json(folder / "weighting.json")),
            measured=Measured.read(folder),
        )


def boosting_matrix(table: FeatureTable) -> npt.NDArray[np.float32]:
    """The columns that are boosted over; shape (items, columns)."""
    return np.hstack([table.numbers, table.components])


def _answers(booster: Any, scale: Scale, table: FeatureTable) -> Floats:
    """Prices; shape (items,)."""
    raw = np.asarray(booster.predict(boosting_matrix(table)), np.float64)
    return from_log(raw if scale == "log" else np.log1p(np.maximum(raw, 0.0)))


def _as_text(booster: Any) -> str:
    return str(booster.model_to_string(num_iteration=booster.best_iteration))


def _boost(
    scale: Scale,
    learnt: tuple[FeatureTable, Floats],
    checked: tuple[FeatureTable, Floats],
    seed: int,
    progress: Progress,
) -> Any:
    """The booster of a scale, from features and prices to learn from and to check the rounds on.

    On the log scale an item weighs by the root of what its text lets expect as its price, since the
    error that counts is one of price.
    """
    import lightgbm

    def dataset(table: FeatureTable, prices: Floats, reference: Any = None) -> Any:
        target = np.log1p(prices) if scale == "log" else prices
        expected = from_log(table.column(TEXT_ESTIMATE))
        return lightgbm.Dataset(
            boosting_matrix(table),
            target,
            weight=np.sqrt(expected / expected.mean()) if scale == "log" else None,
            reference=reference,
        )

    def error_in_price(raw: Floats, _data: Any) -> tuple[str, float, bool]:
        estimate = from_log(raw) if scale == "log" else raw
        return "mae", float(np.abs(estimate - checked[1]).mean()), False

    def report(environment: Any) -> None:
        progress(f"trees of the {scale}", environment.iteration + 1, _MOST_TREES)

    data = dataset(*learnt)
    return lightgbm.train(
        {**_SETTINGS, "seed": seed},
        data,
        num_boost_round=_MOST_TREES,
        valid_sets=[dataset(*checked, reference=data)],
        feval=error_in_price,
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False), report],
    )
