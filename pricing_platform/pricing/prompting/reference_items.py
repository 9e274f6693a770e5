"""The training items that a language model is shown, and their prices as known at a time.

Here belongs what is kept of them and what each cost when. Which of them are shown for an item
belongs to the techniques.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.estimates import Floats
from pricing_platform.pricing.serialization import read_arrays, read_json, write_arrays, write_json
from pricing_platform.pricing.tabular.neighbours import FamilyCodes, Integers
from pricing_platform.pricing.tabular.text_model import families_of

UNKNOWN_TIME = np.iinfo(np.int64).min
"""Of an item that was observed no one knows when."""

DAY = 86_400_000_000
"""In microseconds."""

_TIME = pl.Datetime("us", "UTC")
_TEXTS = ("item_ids", "titles", "texts", "brands", "categories", "families")
_REMEMBERED = 16


@dataclass(frozen=True, eq=False)
class References:
    """Training items: lists of equal length; ``observed`` in microseconds since 1970, UTC."""

    item_ids: list[str]
    titles: list[str]
    texts: list[str]
    brands: list[str | None]
    categories: list[str | None]
    families: list[str | None]
    prices: Floats
    observed: Integers

    def __len__(self) -> int:
        return len(self.item_ids)

    @classmethod
    def of(cls, items: ItemSet) -> Self:
        """What is kept of the items, in their order."""
        frame = items.frame
        return cls(
            item_ids=frame["item_id"].to_list(),
            titles=frame["title"].fill_null("").to_list(),
            texts=texts_of(items),
            brands=frame["brand"].to_list(),
            categories=frame["category"].to_list(),
            families=families_of(items),
            prices=items.prices(),
            observed=observed_at(items),
        )

    def own(self, items: ItemSet) -> list[Integers]:
        """For each item the references that are the item itself or of its family."""
        of_family: dict[str | None, list[int]] = {}
        for place, family in enumerate(self.families):
            of_family.setdefault(family, []).append(place)
        place_of = {item_id: place for place, item_id in enumerate(self.item_ids)}
        own = []
        for item_id, family in zip(items.frame["item_id"], families_of(items), strict=True):
            places = set(of_family.get(family, [])) if family is not None else set()
            places |= {place_of[item_id]} if item_id in place_of else set()
            own.append(np.array(sorted(places), np.int64))
        return own

    def family_codes(self) -> FamilyCodes:
        """The families as integers."""
        return FamilyCodes(self.families)

    def save(self, folder: Path) -> None:
        """Writes what :meth:`load` reads."""
        write_json(folder / "references.json", {name: getattr(self, name) for name in _TEXTS})
        write_arrays(
            folder / "references.safetensors", {"prices": self.prices, "observed": self.observed}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what :meth:`save` wrote."""
        arrays = read_arrays(folder / "references.safetensors")
        texts = read_json(folder / "references.json")
        return cls(**texts, prices=arrays["prices"], observed=arrays["observed"])


@dataclass(frozen=True, eq=False)
class PricesAt:
    """What each reference cost by a time: NaN where that was not known yet; ages in whole days."""

    prices: Floats
    age_days: Integers

    @property
    def known(self) -> Integers:
        """The references whose price was known."""
        return np.flatnonzero(np.isfinite(self.prices))


@dataclass(eq=False)
class PriceHistory:
    """Every observed price of the references, so that none is told before it was known.

    A reference without an observation in the history has the price and the time of its own row. One
    whose time is unknown is told at any time, as of that day.
    """

    references: References
    history: pl.DataFrame
    _remembered: dict[int, PricesAt] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        place_of = {item_id: at for at, item_id in enumerate(self.references.item_ids)}
        seen = self.history.filter(pl.col("item_id").is_in(list(place_of)))
        seen = seen.drop_nulls(["price", "observed_at"])
        place = np.array([place_of[item_id] for item_id in seen["item_id"]], np.int64)
        times = seen["observed_at"].cast(_TIME).dt.epoch("us").to_numpy()
        # A reference's own row comes last, so that it decides between two prices of one time.
        self._place = np.concatenate([place, np.arange(len(self.references))])
        self._times = np.concatenate([times, self.references.observed]).astype(np.int64)
        self._prices = np.concatenate([seen["price"].to_numpy(), self.references.prices])
        order = np.argsort(self._times, kind="stable")
        self._place, self._times = self._place[order], self._times[order]
        self._prices = self._prices[order]

    @cached_property
    def known_from(self) -> Integers:
        """When each reference's first price was known, in microseconds since 1970."""
        first = np.full(len(self.references), np.iinfo(np.int64).max)
        priced = np.isfinite(self._prices)
        np.minimum.at(first, self._place[priced], self._times[priced])
        return first

    def at(self, moment: int) -> PricesAt:
        """What was known at a time in microseconds since 1970; an unknown one stands for now."""
        moment = _time_or_now(moment)
        if moment not in self._remembered:
            while len(self._remembered) >= _REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[moment] = self._read(moment)
        return self._remembered[moment]

    def _read(self, moment: int) -> PricesAt:
        known = int(np.searchsorted(self._times, moment, side="right"))
        place = self._place[:known]
        prices = np.full(len(self.references), np.nan)
        observed = np.full(len(self.references), UNKNOWN_TIME)
        # Of the rows of one reference the last is assigned: the newest, as they are in order.
        prices[place], observed[place] = self._prices[:known], self._times[:known]
        dated = observed != UNKNOWN_TIME
        age = np.zeros(len(self.references), np.int64)
        age[dated] = (moment - observed[dated]) // DAY
        return PricesAt(prices, age)


def texts_of(items: ItemSet) -> list[str]:
    """The items' texts; an empty one where there is none."""
    return items.frame["text"].fill_null("").to_list()


def observed_at(items: ItemSet) -> Integers:
    """When each item's price was observed, in microseconds since 1970; UNKNOWN_TIME where null."""
    if "price_observed_at" not in items.frame.columns:
        return np.full(len(items), UNKNOWN_TIME)
    times = items.frame["price_observed_at"].cast(_TIME).dt.epoch("us")
    return times.fill_null(UNKNOWN_TIME).to_numpy().astype(np.int64)


def priced_at(items: ItemSet) -> Integers:
    """The time as of which each item is priced: the end of today for an unknown one."""
    return np.array([_time_or_now(at) for at in observed_at(items).tolist()], np.int64)


def _time_or_now(moment: int) -> int:
    if moment != UNKNOWN_TIME:
        return moment
    return time.time_ns() // 1000 // DAY * DAY + DAY - 1
