"""What a product of the bundled catalogue is, and the price that follows from it.

The price is hedonic (Rosen, "Hedonic Prices and Implicit Markets", 1974): a sum over attributes in
log price, with interactions. With ``x_m`` the product's measures, ``r_m`` their references, ``n``
the count, and ``s = log(x_1 / r_1)`` its log size:

    log price = log(median_price) + kind + brand + material
              + BRAND_MATERIAL * brand * material
              + sum over m of elasticity_m * log(x_m / r_m) - curvature_m * log(x_m / r_m)^2
              + count_elasticity * log(n)
              + condition * (1 - BRAND_HOLDS_VALUE * brand)
              + sum over features of (effect + slope * s)
              + monthly_drift * month
              + listing noise + snapshot noise

Every effect stands in ``categories.toml`` and ``phrases.toml``. Each listing draws its own noise:
normal with ``LISTING_SIGMA``, the same in all its snapshots, and ``SNAPSHOT_SIGMA``, drawn anew in
each. The reference price is the formula without noise: noise has median zero, so that is the
median price of all listings that say the same. No model can have a smaller expected absolute error.

All that enters the formula is stated in each listing, with two harmless roundings that count as
noise: a measure shown in another unit keeps three digits (at most 0.5 % of the measure), and prices
from 25 dollars are moved to the nearest .99. A condition that is not stated is ``new``. The month
is the snapshot's.

Here belongs the product and its price; how either is written down does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from pricing_platform.catalog.bundled.vocabulary import Category, Measure, Term, categories, phrases

BRAND_MATERIAL = 1.2
"""How much more a material is worth under a dearer brand."""
BRAND_HOLDS_VALUE = 0.6
"""How much less a dearer brand loses by its condition."""
GENERIC_BRAND_EFFECT = -0.25
"""The effect of every brand that has no name in its category."""
GENERIC_BRAND_SHARE = 0.08
USUAL_SIZE_SHARE = 0.7
"""How many products come in one of the usual sizes; the others lie somewhere in between."""
LISTING_SIGMA = 0.14
"""Standard deviation of a listing's own noise, in log price."""
SNAPSHOT_SIGMA = 0.03
"""Standard deviation of the noise of a single snapshot, in log price."""


@dataclass(frozen=True)
class Amount:
    """A measure as its maker states it: ``value`` in ``unit``."""

    measure: Measure
    value: float
    unit: str

    @property
    def base_value(self) -> float:
        """The value in the quantity's base unit."""
        return self.value * phrases().units[self.unit].factor

    @property
    def log_ratio(self) -> float:
        """The log of the value over the measure's reference."""
        return math.log(self.base_value / self.measure.reference)


@dataclass(frozen=True)
class Product:
    """A product, apart from any listing of it."""

    number: int
    category: Category
    kind: Term
    brand: str
    brand_effect: float
    material: Term
    amounts: tuple[Amount, ...]
    count: int
    condition: str
    features: tuple[Term, ...]
    colour: str
    model_number: str


def seeded_random(*parts: object) -> Random:
    """A generator that depends on nothing but the parts; no draw elsewhere can shift its draws."""
    return Random("/".join(map(str, parts)))  # noqa: S311


def draw_product(number: int, seed: int) -> Product:
    """The product of that number; it depends on nothing but its number and the seed."""
    rng = seeded_random(seed, "product", number)
    category = categories()[number % len(categories())]
    brand, brand_effect = _draw_brand(rng, category)
    conditions = phrases().conditions
    weights = [condition.weight for condition in conditions.values()]
    return Product(
        number=number,
        category=category,
        kind=rng.choice(category.kinds),
        brand=brand,
        brand_effect=brand_effect,
        material=rng.choice(category.materials),
        amounts=tuple(_draw_amount(rng, measure) for measure in category.measures),
        count=rng.choice(category.count.choices),
        condition=rng.choices(list(conditions), weights)[0] if category.used else "new",
        features=tuple(rng.sample(category.features, rng.choice((0, 1, 1, 2, 2, 3)))),
        colour=rng.choice(category.colours),
        model_number=_draw_model_number(rng, brand, number),
    )


def log_reference_price(product: Product, month: int) -> float:
    """The log of the median price, in dollars, ``month`` snapshots after the first."""
    category = product.category
    material, brand = product.material.effect, product.brand_effect
    condition = phrases().conditions[product.condition].effect
    size = product.amounts[0].log_ratio
    return (
        math.log(category.median_price)
        + product.kind.effect
        + brand
        + material
        + BRAND_MATERIAL * brand * material
        + sum(_amount_effect(amount) for amount in product.amounts)
        + category.count.elasticity * math.log(product.count)
        + condition * (1 - BRAND_HOLDS_VALUE * brand)
        + sum(feature.effect + feature.slope * size for feature in product.features)
        + category.monthly_drift * month
    )


def charm_price(price: float) -> float:
    """The price in whole cents; from 25 dollars the nearest that ends in .99."""
    return round(price) - 0.01 if price >= 25 else max(round(price, 2), 0.01)


def _amount_effect(amount: Amount) -> float:
    ratio = amount.log_ratio
    return amount.measure.elasticity * ratio - amount.measure.curvature * ratio**2


def _draw_brand(rng: Random, category: Category) -> tuple[str, float]:
    if rng.random() < GENERIC_BRAND_SHARE:
        syllables = rng.choices(phrases().generic_brand_syllables, k=3)
        return "".join(syllables).upper(), GENERIC_BRAND_EFFECT
    return rng.choice(list(category.brands.items()))


def _draw_amount(rng: Random, measure: Measure) -> Amount:
    unit, usual = rng.choice(list(measure.sizes.items()))
    if rng.random() < USUAL_SIZE_SHARE:
        return Amount(measure, rng.choice(usual), unit)
    between = rng.uniform(math.log(0.8 * usual[0]), math.log(1.25 * usual[-1]))
    return Amount(measure, round_significant(math.exp(between), 2), unit)


def _draw_model_number(rng: Random, brand: str, number: int) -> str:
    letters = "".join(character for character in brand.upper() if "A" <= character <= "Z")
    tail = rng.choice(["", "B", "X", "-S", "-PRO", "W"])
    return f"{letters[:2]}{rng.randint(10, 99)}-{number:05d}{tail}"


def round_significant(value: float, digits: int) -> float:
    """The value with that many significant digits."""
    return float(f"{value:.{digits}g}")
