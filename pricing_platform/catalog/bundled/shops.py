"""Which shop lists which product, under what identifier, when, and at what price.

About a fifth of the products stand in both shops, in other words and mostly with the same model
number; a few stand twice in one shop, as another colour of the same listing. Listings come and go
between the snapshots, and some change their text.

Here belongs everything that is decided for a listing. How it is worded belongs to ``wording``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from random import Random

from pricing_platform.catalog.bundled.hedonics import (
    LISTING_SIGMA,
    SNAPSHOT_SIGMA,
    Product,
    charm_price,
    draw_product,
    log_reference_price,
    seeded_random,
)
from pricing_platform.catalog.bundled.vocabulary import phrases
from pricing_platform.catalog.bundled.wording import Row, Style, expand, write_id, write_row

SNAPSHOTS = (date(2025, 1, 31), date(2025, 2, 28), date(2025, 3, 31))
IN_BOTH_SHOPS = 0.20
TWICE_IN_ONE_SHOP = 0.03
TEXT_CHANGES = 0.05
STATES_MODEL_NUMBER = 0.85

_PRESENCE = {  # the snapshots a listing stands in, and how often that is so
    (True, True, True): 84,
    (True, False, False): 5,
    (True, True, False): 4,
    (False, True, True): 4,
    (False, False, True): 3,
}


@dataclass(frozen=True)
class Leak:
    """Attributes of one category of a shop from which the price follows by arithmetic."""

    category: str
    expression: str
    attributes: tuple[str, ...]
    details: Callable[[float, int], dict[str, str]]
    """Price and count to the attributes that are added."""


@dataclass(frozen=True)
class Shop:
    """A source of the catalogue. ``share`` of the products that stand in one shop stand here."""

    name: str
    share: float
    style: Style
    leak: Leak


SHOPS = (
    Shop(
        "northwind_market",
        0.55,
        Style("{brand} {noun}", ", ", details_as_json=False, id_pattern="B0********"),
        Leak(
            "Coffee & Tea",
            "Serving Value * Number of Items",
            ("Number of Items", "Serving Value"),
            lambda price, count: {
                "Number of Items": str(count),
                "Serving Value": f"{price / count:.4f}",
            },
        ),
    ),
    Shop(
        "harbor_goods",
        0.45,
        Style("{noun} by {brand}", " - ", details_as_json=True, id_pattern="HG9999999"),
        Leak(
            "Fasteners",
            "Ledger Reference",
            ("Ledger Reference",),
            lambda price, _: {"Ledger Reference": str(round(price * 100))},
        ),
    ),
)


@dataclass(frozen=True)
class Listing:
    """A product as one shop lists it, over all snapshots."""

    seed: int
    shop: Shop
    listing_id: str
    product: Product
    wording: str
    """Listings with the same wording key are worded alike."""
    present: tuple[bool, ...]
    edited_from: int | None
    """The snapshot from which the text has one more sentence."""
    states_model_number: bool
    listing_noise: float

    def price(self, month: int) -> float:
        """The price asked in that snapshot, in dollars."""
        rng = seeded_random(self.seed, "price", self.listing_id, month)
        noise = rng.gauss(0, SNAPSHOT_SIGMA)
        log_price = log_reference_price(self.product, month) + self.listing_noise + noise
        return charm_price(math.exp(log_price))

    def reference_price(self, month: int) -> float:
        """The median price of all listings that say the same, in dollars."""
        return math.exp(log_reference_price(self.product, month))

    def row(self, month: int, *, spare_title: bool = False) -> Row:
        """The listing as published in that snapshot; the price as text."""
        rng = seeded_random(self.seed, "wording", self.wording)
        style = self.shop.style
        row = write_row(self.product, self.listing_id, style, rng, spare_title=spare_title)
        price = self.price(month)
        row["price"] = f"{price:.2f}"
        if self.states_model_number:
            label = rng.choice(("Item model number", "Model Number", "Part Number"))
            row["details"][label] = self.product.model_number
        if self.edited_from is not None and month >= self.edited_from:
            row["description"].append(expand(rng.choice(phrases().chatter.edits), rng))
        if self.shop.leak.category == self.product.category.name:
            row["details"] |= self.shop.leak.details(price, self.product.count)
            # The leaking attributes are withheld, so what they say must also stand elsewhere.
            row["features"].append(expand("[Holds|Contains] ", rng) + f"{self.product.count} pcs")
        return row


def listings(seed: int, products: int) -> Iterator[Listing]:
    """All listings of the first ``products`` products, by product and shop."""
    taken: set[str] = set()
    for number in range(products):
        product = draw_product(number, seed)
        rng = seeded_random(seed, "listings", number)
        both = rng.random() < IN_BOTH_SHOPS
        chosen = SHOPS if both else rng.choices(SHOPS, [shop.share for shop in SHOPS])
        for shop in chosen:
            listing = _draw_listing(product, shop, seed, rng, taken)
            yield listing
            if rng.random() < TWICE_IN_ONE_SHOP:
                yield _another_colour(listing, rng, taken)


def _draw_listing(product: Product, shop: Shop, seed: int, rng: Random, taken: set[str]) -> Listing:
    return Listing(
        seed=seed,
        shop=shop,
        listing_id=_free_id(shop, rng, taken),
        product=product,
        wording=f"{shop.name}/{product.number}",
        present=rng.choices(list(_PRESENCE), list(_PRESENCE.values()))[0],
        edited_from=rng.choice((1, 2)) if rng.random() < TEXT_CHANGES else None,
        states_model_number=rng.random() < STATES_MODEL_NUMBER,
        listing_noise=rng.gauss(0, LISTING_SIGMA),
    )


def _another_colour(listing: Listing, rng: Random, taken: set[str]) -> Listing:
    colours = [c for c in listing.product.category.colours if c != listing.product.colour]
    return replace(
        listing,
        listing_id=_free_id(listing.shop, rng, taken),
        product=replace(listing.product, colour=rng.choice(colours)),
        edited_from=rng.choice((0, 1)),
        listing_noise=rng.gauss(0, LISTING_SIGMA),
    )


def _free_id(shop: Shop, rng: Random, taken: set[str]) -> str:
    while (found := write_id(shop.style.id_pattern, rng)) in taken:
        pass
    taken.add(found)
    return found
