"""The words of the bundled catalogue and what they are worth, read from the two TOML files.

Here belong the records of ``categories.toml`` and ``phrases.toml``. How worth becomes a price
belongs to ``hedonics``, how words become a listing to ``wording``.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Term(_Record):
    """One thing under several names, and its effect on the log price.

    ``slope`` is the change of that effect per unit of log size (the category's first measure).
    """

    words: tuple[str, ...]
    effect: float
    slope: float = 0.0


class Measure(_Record):
    """A number that a listing states: usual sizes by unit, and the reference in the base unit."""

    labels: tuple[str, ...]
    sizes: dict[str, tuple[float, ...]]
    reference: float
    elasticity: float
    curvature: float = 0.0
    title_form: str = "{size}"
    phrases: tuple[str, ...]


class CountChoice(_Record):
    """How many pieces a listing may hold, and the elasticity of the price to it."""

    elasticity: float
    choices: tuple[int, ...]


class Category(_Record):
    """A category of the catalogue. ``monthly_drift`` is in log price per snapshot."""

    name: str
    path: tuple[str, ...]
    median_price: float
    monthly_drift: float
    count: CountChoice
    used: bool
    brands: dict[str, float]
    kinds: tuple[Term, ...]
    material_labels: tuple[str, ...]
    materials: tuple[Term, ...]
    material_phrases: tuple[str, ...]
    measures: tuple[Measure, ...]
    features: tuple[Term, ...]
    colours: tuple[str, ...]
    chatter: tuple[str, ...]


class Condition(_Record):
    """A condition, its effect on the log price and how often it is drawn."""

    effect: float
    weight: int
    words: tuple[str, ...]


class Unit(_Record):
    """A unit: ``factor`` of the quantity's base unit, and the ways to write it."""

    quantity: str
    factor: float
    words: tuple[str, ...]


class FactPhrases(_Record):
    """How one kind of fact is put: as a detail, at the end of a title, as a sentence."""

    labels: tuple[str, ...]
    phrases: tuple[str, ...]
    tails: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


class Chatter(_Record):
    """Sentences that say nothing about the price."""

    openers: tuple[str, ...]
    lines: tuple[str, ...]
    edits: tuple[str, ...]
    price_mentions: tuple[str, ...]


class Phrases(_Record):
    """Everything of ``phrases.toml``."""

    generic_brand_syllables: tuple[str, ...]
    conditions: dict[str, Condition]
    units: dict[str, Unit]
    count: FactPhrases
    condition: FactPhrases
    feature: FactPhrases
    kind: FactPhrases
    chatter: Chatter
    distractor_details: dict[str, tuple[str, ...]]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((files(__package__) / name).read_text(encoding="utf-8"))


@cache
def categories() -> tuple[Category, ...]:
    """The categories, in the file's order."""
    return tuple(Category.model_validate(entry) for entry in _read("categories.toml")["category"])


@cache
def phrases() -> Phrases:
    """The phrases that all categories share."""
    return Phrases.model_validate(_read("phrases.toml"))
