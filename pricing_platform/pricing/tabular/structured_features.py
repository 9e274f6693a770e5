"""What stands in an item's columns, attributes and numbers, as a table of floats.

Here belong numbers read out of attributes and text, and the groups an item belongs to, encoded by
their prices. Vectors of the text as a whole, and neighbours, belong to ``features``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.pricing.estimates import Floats
from pricing_platform.pricing.tabular.target_encoding import (
    Encoded,
    TargetEncoding,
    encode_out_of_fold,
)

MOST_ATTRIBUTES = 96
MOST_UNITS = 48
_NUMBERS_AN_ATTRIBUTE = 3
_FEWEST_ITEMS = 12
"""An attribute, unit or group column that fewer training items have is left out."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_MEASURE = re.compile(r"(\d+(?:\.\d+)?)[\s\-]?([a-z]{1,12}|\"|%)(?![a-z])")
_WORD = re.compile(r"\w[\w.\-]*")

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Vocabulary:
    """The columns that the training items gave reason for, each list in the columns' order."""

    numeric: list[tuple[str, int]]
    categorical: list[str]
    units: list[str]
    sale_units: list[str]


@dataclass(frozen=True)
class StructuredFeatures:
    """Fitted columns: :meth:`fit` also gives the training items' own rows, out of fold."""

    vocabulary: Vocabulary
    encodings: dict[str, TargetEncoding]
    mean: float

    @classmethod
    def fit(
        cls, frame: pl.DataFrame, log_price: Floats, folds: npt.NDArray[np.int64]
    ) -> tuple[Self, Table]:
        """The columns and the training items' rows; encodings come from other folds only.

        Args:
            frame: the training items, with the columns of ``curated.items``.
            log_price: of each.
            folds: of each; a family stands in one fold only.
        """
        attributes = attributes_of(frame)
        vocabulary = _vocabulary(frame, attributes)
        groups = _groups(frame, attributes, vocabulary)
        encodings = {name: TargetEncoding.fit(g, log_price) for name, g in groups.items()}
        fitted = cls(vocabulary, encodings, float(log_price.mean()))
        means = {f: float(log_price[folds != f].mean()) for f in np.unique(folds).tolist()}
        overall = np.array([means[f] for f in folds.tolist()])

        def out_of_fold(name: str, prior: Floats) -> Encoded:
            return encode_out_of_fold(groups[name], log_price, prior, folds)

        return fitted, fitted._table(frame, attributes, overall, out_of_fold)

    def transform(self, frame: pl.DataFrame) -> Table:
        """The rows of items that are not training items; NaN stands for what is not known."""
        attributes = attributes_of(frame)
        groups = _groups(frame, attributes, self.vocabulary)

        def encoded(name: str, prior: Floats) -> Encoded:
            return self.encodings[name].encode(groups[name], prior)

        overall = np.full(frame.height, self.mean)
        return self._table(frame, attributes, overall, encoded)

    @property
    def names(self) -> list[str]:
        """The columns' names, in their order."""
        return [
            *(f"price of {name}" for name in self.encodings),
            *(f"items of {name}" for name in self.encodings),
            *(f"{key} {position}" for key, position in self.vocabulary.numeric),
            *(f"{unit} in text" for unit in self.vocabulary.units),
            *(f"sold by {unit}" for unit in self.vocabulary.sale_units),
            *("quantity", "characters", "words", "digits", "largest number", "smallest number"),
        ]

    def as_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads."""
        return {
            "vocabulary": asdict(self.vocabulary),
            "encodings": [[name, dict(e.sums)] for name, e in self.encodings.items()],
            "mean": self.mean,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """What :meth:`as_json` gave."""
        vocabulary = stored["vocabulary"]
        numeric = [(key, position) for key, position in vocabulary["numeric"]]
        encodings = {
            name: TargetEncoding({group: (total, count) for group, (total, count) in sums.items()})
            for name, sums in stored["encodings"]
        }
        return cls(Vocabulary(**vocabulary | {"numeric": numeric}), encodings, stored["mean"])

    def _table(
        self,
        frame: pl.DataFrame,
        attributes: list[dict[str, str]],
        overall: Floats,
        encode: Callable[[str, Floats], Encoded],
    ) -> Table:
        """All columns; a group's prior is the encoding of what the group lies in."""
        known: dict[str, Floats] = {}
        counts: list[Floats] = []
        for name in self.encodings:
            known[name], count = encode(name, known.get("category", known.get("source", overall)))
            counts.append(np.log1p(count))
            if name in ("source", "category"):
                prior = known.get("source", overall) if name == "category" else overall
                known[name] = np.where(np.isnan(known[name]), prior, known[name])
        return np.column_stack([*known.values(), *counts, *self._numbers(frame, attributes)])

    def _numbers(self, frame: pl.DataFrame, attributes: list[dict[str, str]]) -> Iterable[Table]:
        texts = [text or "" for text in frame["text"].to_list()]
        read = [{key: numbers_in(value) for key, value in row.items()} for row in attributes]
        for key, position in self.vocabulary.numeric:
            yield np.array([_at(row.get(key, []), position) for row in read])
        measured = [measures_in(text) for text in texts]
        for unit in self.vocabulary.units:
            yield np.array([row.get(unit, np.nan) for row in measured])
        for unit in self.vocabulary.sale_units:
            yield (frame["unit"] == unit).fill_null(value=False).to_numpy().astype(np.float64)
        yield frame["quantity"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        yield np.array([_summary(text) for text in texts]).reshape(-1, 5)


def attributes_of(frame: pl.DataFrame) -> list[dict[str, str]]:
    """Each item's attributes by name, without those that are null."""
    entries = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
    column = frame["attributes"]
    rows = (column.cast(entries) if column.dtype != pl.Null else column).to_list()
    return [{e["key"]: e["value"] for e in row or [] if e["value"] is not None} for row in rows]


def numbers_in(text: str) -> list[float]:
    """The numbers of a text in their order, ``1,024`` being one of them."""
    return [float(number) for number in _NUMBER.findall(_THOUSANDS.sub("", text))]


def measures_in(text: str) -> dict[str, float]:
    """Unit -> the first number that stands before it, as in ``16GB``, ``16 GB`` and ``16-inch``."""
    found: dict[str, float] = {}
    for number, unit in _MEASURE.findall(_THOUSANDS.sub("", text.lower())):
        found.setdefault(unit, float(number))
    return found


def _vocabulary(frame: pl.DataFrame, attributes: list[dict[str, str]]) -> Vocabulary:
    items = Counter(key for row in attributes for key in row)
    keys = sorted(
        key for key, _ in items.most_common(MOST_ATTRIBUTES) if items[key] >= _FEWEST_ITEMS
    )
    numbers: Counter[tuple[str, int]] = Counter()
    values: dict[str, Counter[str]] = {key: Counter() for key in keys}
    for row in attributes:
        for key in row.keys() & values.keys():
            values[key][row[key].casefold()] += 1
            count = min(len(numbers_in(row[key])), _NUMBERS_AN_ATTRIBUTE)
            numbers.update((key, position) for position in range(count))
    units = Counter(unit for text in frame["text"] for unit in measures_in(text or ""))
    sale_units = Counter(frame["unit"].drop_nulls().to_list())
    return Vocabulary(
        numeric=sorted(n for n, count in numbers.items() if count >= _FEWEST_ITEMS),
        categorical=[key for key in keys if _repeats(values[key])],
        units=sorted(u for u, n in units.most_common(MOST_UNITS) if n >= _FEWEST_ITEMS),
        sale_units=sorted(u for u, n in sale_units.items() if n >= _FEWEST_ITEMS),
    )


def _repeats(values: Counter[str]) -> bool:
    """Whether most items share their value with others, and there is more than one value."""
    shared = sum(count for count in values.values() if count >= _FEWEST_ITEMS)
    return len(values) > 1 and shared >= values.total() / 2


def _groups(
    frame: pl.DataFrame, attributes: list[dict[str, str]], vocabulary: Vocabulary
) -> dict[str, list[str | None]]:
    """Column -> each item's group; a group lies inside its source and category."""
    sources = [source or "" for source in frame["source"]]
    kinds = [
        f"{source}\n{category or ''}"
        for source, category in zip(sources, frame["category"], strict=True)
    ]
    titles = [_WORD.findall((title or "").casefold())[:3] for title in frame["title"]]
    brands = [brand.casefold() if brand else None for brand in frame["brand"]]
    makers = [b or (t[0] if t else None) for b, t in zip(brands, titles, strict=True)]

    def inside(values: Iterable[str | None]) -> list[str | None]:
        return [None if v is None else f"{k}\n{v}" for k, v in zip(kinds, values, strict=True)]

    groups: dict[str, list[str | None]] = {
        "source": list(sources),
        "category": list(kinds),
        "brand anywhere": list(brands),
        "brand": inside(brands),
        "first two words": inside(" ".join(t[:2]) if len(t) > 1 else None for t in titles),
        "first three words": inside(" ".join(t) if len(t) > 2 else None for t in titles),
        "first word": inside(t[0] if t else None for t in titles),
    }
    for key in vocabulary.categorical:
        values = [row[key].casefold() if key in row else None for row in attributes]
        groups[key] = inside(values)
        groups[f"maker, {key}"] = inside(
            f"{m}\n{v}" if m and v else None for m, v in zip(makers, values, strict=True)
        )
    return groups


def _at(numbers: list[float], position: int) -> float:
    return numbers[position] if position < len(numbers) else np.nan


def _summary(text: str) -> list[float]:
    numbers = numbers_in(text)[:30]
    return [
        len(text),
        len(text.split()),
        sum(character.isdigit() for character in text),
        max(numbers, default=0.0),
        min(numbers, default=0.0),
    ]
