"""The products of the bundled catalogue: their hedonic prices, their listings, their words."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.catalog.bundled.hedonics import (
    BRAND_MATERIAL,
    GENERIC_BRAND_EFFECT,
    Amount,
    Product,
    charm_price,
    draw_product,
    log_reference_price,
)
from pricing_platform.catalog.bundled.shops import SHOPS, SNAPSHOTS, Listing, listings
from pricing_platform.catalog.bundled.vocabulary import categories, phrases
from pricing_platform.catalog.bundled.wording import expand, facts_of, written_amount

PRODUCTS = st.builds(draw_product, st.integers(0, 50_000), st.integers(0, 3))


@pytest.fixture(scope="module")
def everything() -> list[Listing]:
    return list(listings(42, 2000))


def difference(one: Product, other: Product) -> float:
    return log_reference_price(one, 0) - log_reference_price(other, 0)


@given(PRODUCTS, st.integers(2, 6))
def test_the_count_has_a_constant_elasticity(product: Product, times: int) -> None:
    more = replace(product, count=product.count * times)
    expected = product.category.count.elasticity * math.log(times)
    assert difference(more, product) == pytest.approx(expected)


@given(PRODUCTS)
def test_each_month_drifts_by_what_the_category_says(product: Product) -> None:
    steps = [
        log_reference_price(product, month + 1) - log_reference_price(product, month)
        for month in range(2)
    ]
    assert steps == pytest.approx([product.category.monthly_drift] * 2)


@given(PRODUCTS)
def test_a_material_is_worth_more_under_a_dearer_brand(product: Product) -> None:
    best = max(product.category.materials, key=lambda term: term.effect)
    plain = min(product.category.materials, key=lambda term: term.effect)

    def premium(brand_effect: float) -> float:
        branded = replace(product, brand_effect=brand_effect)
        return difference(replace(branded, material=best), replace(branded, material=plain))

    spread = best.effect - plain.effect
    assert premium(0.3) - premium(0.0) == pytest.approx(BRAND_MATERIAL * 0.3 * spread)
    assert premium(0.3) > premium(0.0) > premium(-0.2)


@given(PRODUCTS, st.floats(0.5, 2.0))
def test_a_feature_is_worth_its_effect_and_its_slope_times_the_log_size(
    product: Product, scale: float
) -> None:
    first = product.amounts[0]
    resized = replace(
        product,
        amounts=(Amount(first.measure, first.value * scale, first.unit), *product.amounts[1:]),
    )
    for feature in product.category.features:
        worth = [
            difference(replace(one, features=(feature,)), replace(one, features=()))
            for one in (product, resized)
        ]
        assert worth[0] == pytest.approx(feature.effect + feature.slope * first.log_ratio)
        assert worth[1] - worth[0] == pytest.approx(feature.slope * math.log(scale))


@given(PRODUCTS)
def test_a_worse_condition_costs_less_most_so_under_a_cheap_brand(product: Product) -> None:
    prices = [
        log_reference_price(replace(product, condition=name), 0) for name in phrases().conditions
    ]
    assert prices == sorted(prices, reverse=True)

    def loss(brand_effect: float) -> float:
        branded = replace(product, brand_effect=brand_effect)
        return difference(replace(branded, condition="new"), replace(branded, condition="used"))

    assert loss(-0.2) > loss(0.3) > 0


@given(st.floats(0.01, 5000))
def test_charm_prices_stay_near_and_end_as_documented(price: float) -> None:
    charmed = charm_price(price)
    assert abs(charmed - price) <= (0.52 if price >= 25 else 0.011)
    assert charmed >= 0.01
    if price >= 25:
        assert f"{charmed:.2f}".endswith(".99")


@given(PRODUCTS, st.integers())
def test_an_amount_says_the_same_in_every_unit(product: Product, seed: int) -> None:
    units = phrases().units
    words = {word: unit.factor for unit in units.values() for word in unit.words}
    for amount in product.amounts:
        text = written_amount(amount, Random(seed))
        digits = text.rstrip("".join(set("".join(words))) + " -.²")
        word = text[len(digits) :].strip(" -")
        stated = float(digits.replace(",", "")) * words[word]
        assert stated == pytest.approx(amount.base_value, rel=0.006)


def test_the_vocabulary_is_large_enough_and_unambiguous() -> None:
    assert len(categories()) >= 8
    for category in categories():
        for terms in (category.kinds, category.materials, category.features):
            words = [word for term in terms for word in term.words]
            assert len(words) == len(set(words)), category.name
        for measure in category.measures:
            quantities = {phrases().units[unit].quantity for unit in measure.sizes}
            assert len(quantities) == 1, (category.name, measure.labels)


@given(st.integers())
def test_expanding_leaves_no_brackets(seed: int) -> None:
    text = expand("[a|b [c|d]] and {slot}", Random(seed))
    assert text in {"a and {slot}", "b c and {slot}", "b d and {slot}"}


def test_every_fact_of_a_product_stands_in_each_of_its_listings(everything: list[Listing]) -> None:
    for listing in everything[:600]:
        product = listing.product
        for spare_title in (False, True):
            row = listing.row(0, spare_title=spare_title)
            title = "" if spare_title else row["title"]
            shown = [title, *row["features"], *row["description"]]
            details = [f"{key}: {value}" for key, value in row["details"].items()]
            text = "\n".join([*shown, *details, row["store"]]).lower()
            terms = [product.kind, product.material, *product.features]
            for term in terms:
                bare = [word.removeprefix("a ").removeprefix("an ") for word in term.words]
                assert any(word.lower() in text for word in bare), (term, row)
            if product.condition != "new":
                assert any(word in text for word in phrases().conditions[product.condition].words)
            if product.count > 1:
                assert str(product.count) in text
            assert product.brand.lower() in text
            for amount in product.amounts:
                assert _states(amount, text), (amount, row)


def _states(amount: Amount, text: str) -> bool:
    units = phrases().units
    values = {f"{amount.value:.10g}", f"{amount.value:,g}"} | {
        written
        for unit in amount.measure.sizes
        for value in [float(f"{amount.base_value / units[unit].factor:.3g}")]
        for written in (f"{value:.10g}", f"{value:,g}")
    }
    return any(value in text for value in values)


def test_a_new_product_has_no_word_of_another_condition_in_its_details(
    everything: list[Listing],
) -> None:
    labels = set(phrases().condition.labels)
    new = [listing for listing in everything if listing.product.condition == "new"]
    assert all(not labels & listing.row(0)["details"].keys() for listing in new)


def test_facts_name_every_part_of_the_formula_that_varies() -> None:
    product = draw_product(5, 42)
    stated = {fact.slot for fact in facts_of(replace(product, count=3, condition="used"))}
    assert {"material", "size", "count", "condition"} <= stated


def test_about_a_fifth_of_the_products_stand_in_both_shops(everything: list[Listing]) -> None:
    shops: dict[int, set[str]] = {}
    for listing in everything:
        shops.setdefault(listing.product.number, set()).add(listing.shop.name)
    assert len(shops) == 2000
    both = sum(len(found) == 2 for found in shops.values())
    assert both / 2000 == pytest.approx(0.20, abs=0.03)


def test_shops_word_the_same_product_differently_and_colours_alike(
    everything: list[Listing],
) -> None:
    by_product: dict[tuple[int, str], list[Listing]] = {}
    for listing in everything:
        by_product.setdefault((listing.product.number, listing.shop.name), []).append(listing)
    twice = [found for found in by_product.values() if len(found) == 2]
    assert len(twice) > 20
    for one, other in twice:
        assert one.listing_id != other.listing_id
        assert one.row(0)["features"] == other.row(0)["features"]
        assert one.listing_noise != other.listing_noise
    across = [
        (found[0], by_product[number, SHOPS[1].name][0])
        for (number, shop), found in by_product.items()
        if shop == SHOPS[0].name and (number, SHOPS[1].name) in by_product
    ]
    assert all(one.row(0)["title"] != other.row(0)["title"] for one, other in across)


def test_listings_come_and_go_and_some_texts_change(everything: list[Listing]) -> None:
    present = [sum(listing.present[month] for listing in everything) for month in range(3)]
    assert all(0.85 < count / len(everything) < 0.97 for count in present)
    changed = 0
    for listing in everything:
        first, last = listing.row(0), listing.row(len(SNAPSHOTS) - 1)
        changed += first["description"] != last["description"]
        assert first["title"] == last["title"]
    assert 0.03 < changed / len(everything) < 0.10
    assert len({listing.listing_id for listing in everything}) == len(everything)


def test_generic_brands_are_worth_the_same_whatever_their_name(everything: list[Listing]) -> None:
    generic = {
        listing.product.brand: listing.product.brand_effect
        for listing in everything
        if listing.product.brand not in listing.product.category.brands
    }
    assert len(generic) > 50
    assert set(generic.values()) == {GENERIC_BRAND_EFFECT}


def test_rows_are_plain_json(everything: list[Listing]) -> None:
    row = everything[0].row(1)
    assert json.loads(json.dumps(row)) == row
