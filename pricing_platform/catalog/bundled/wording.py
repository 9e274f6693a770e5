"""How a listing of the bundled catalogue puts its product into words.

Every fact that the price depends on is stated at least once, in the title, a feature, the
description or the details; which of them, in which words, units and order is drawn for each
listing. Between the facts stand sentences that say nothing about the price, and some that mention a
material or a feature which the product does not have.

Here belongs the row as a tidy shop would publish it, in the format of the Amazon Reviews 2023 item
metadata (Hou et al., "Bridging Language and Items for Retrieval and Recommendation", 2024). What is
broken on purpose belongs to ``noise``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from pricing_platform.catalog.bundled.hedonics import Amount, Product, round_significant
from pricing_platform.catalog.bundled.vocabulary import Term, phrases

Row = dict[str, Any]

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_ARTICLE = re.compile(r"^an? ")
_PLACES = ("title", "features", "description", "details")
_PLACE_WEIGHTS = (0.34, 0.24, 0.22, 0.20)
_SECOND_MENTION = 0.50


@dataclass(frozen=True)
class Fact:
    """Something the price depends on, and the ways to say it.

    ``slot`` is the placeholder that the templates use; ``say`` draws a wording for it.
    """

    slot: str
    say: Callable[[Random], str]
    labels: tuple[str, ...]
    phrases: tuple[str, ...]
    title_forms: tuple[str, ...]
    leads: bool = False
    """Whether it may stand before the noun in a title."""

    def written(self, rng: Random, templates: tuple[str, ...]) -> str:
        """One of the templates, filled in."""
        return expand(rng.choice(templates), rng).format(**{self.slot: self.say(rng)})


@dataclass(frozen=True)
class Style:
    """How a shop arranges what it publishes."""

    title: str
    tail_separator: str
    details_as_json: bool
    id_pattern: str
    """``A`` stands for a letter, ``9`` for a digit, ``*`` for either."""


def expand(template: str, rng: Random) -> str:
    """The template with one alternative chosen in each ``[a|b]``, innermost first."""
    while match := _CHOICE.search(template):
        chosen = rng.choice(match[1].split("|"))
        template = template[: match.start()] + chosen + template[match.end() :]
    return template


def facts_of(product: Product) -> list[Fact]:
    """All that the price of the product depends on, the brand aside."""
    category, common = product.category, phrases()
    found = [
        Fact(
            "material",
            lambda rng: rng.choice(product.material.words),
            category.material_labels,
            category.material_phrases,
            ("{material}",),
            leads=True,
        )
    ]
    found += [_amount_fact(amount) for amount in product.amounts]
    if product.count > 1:
        count = common.count
        found.append(
            Fact("count", lambda _: str(product.count), count.labels, count.phrases, count.tails)
        )
    if product.condition != "new":
        words = common.conditions[product.condition].words
        condition = common.condition
        found.append(
            Fact(
                "condition",
                lambda rng: rng.choice(words),
                condition.labels,
                condition.phrases,
                condition.tails,
            )
        )
    return found + [_feature_fact(feature) for feature in product.features]


def write_row(
    product: Product, listing_id: str, style: Style, rng: Random, *, spare_title: bool
) -> Row:
    """A listing of the product; with ``spare_title`` the title holds nothing the price needs."""
    facts = facts_of(product)
    mentions = _place(facts, rng, spare_title=spare_title)
    kind = _kind_fact(product)
    features = [_sentence(fact.written(rng, fact.phrases)) for fact in mentions["features"]]
    features += [expand(rng.choice(product.category.chatter), rng)]
    rng.shuffle(features)
    described = list(mentions["description"])
    if spare_title or rng.random() < 0.3:
        described.append(kind)
    return {
        "main_category": product.category.name,
        "title": _title(product, kind, mentions["title"], style, rng),
        "average_rating": round(min(5.0, max(1.0, rng.gauss(4.2, 0.4))), 1),
        "rating_number": int(rng.lognormvariate(3.5, 1.6)) + 1,
        "features": features,
        "description": _description(product, described, rng),
        "price": None,
        "images": _images(rng),
        "videos": [],
        "store": product.brand,
        "categories": list(product.category.path),
        "details": _details(product, mentions["details"], rng),
        "parent_asin": listing_id,
        "bought_together": None,
    }


def write_id(pattern: str, rng: Random) -> str:
    """An identifier of the pattern's shape."""
    letters, digits = "ABCDEFGHJKLMNPQRSTUVWXYZ", "0123456789"
    alphabets = {"A": letters, "9": digits, "*": letters + digits}
    return "".join(
        rng.choice(alphabets[character]) if character in alphabets else character
        for character in pattern
    )


def written_amount(amount: Amount, rng: Random) -> str:
    """The amount in its own unit or another of the measure's, as "12 in", "12-inch", "30.5cm"."""
    units = phrases().units
    unit = amount.unit if rng.random() < 0.7 else rng.choice(list(amount.measure.sizes))
    value = amount.value
    if unit != amount.unit:
        value = round_significant(amount.base_value / units[unit].factor, 3)
    word = rng.choice(units[unit].words)
    digits = f"{value:,g}" if value >= 1000 and rng.random() < 0.4 else f"{value:.10g}"
    if word == "%":
        return f"{digits}%"
    return f"{digits}{rng.choice((' ', ' ', '-', '' if len(word) < 3 else ' '))}{word}"


def _amount_fact(amount: Amount) -> Fact:
    measure = amount.measure
    return Fact(
        "size",
        lambda rng: written_amount(amount, rng),
        measure.labels,
        measure.phrases,
        (measure.title_form,),
        leads=measure.title_form == "{size}",
    )


def _feature_fact(feature: Term) -> Fact:
    common = phrases().feature
    return Fact(
        "feature",
        lambda rng: rng.choice(feature.words),
        common.labels,
        common.phrases,
        common.tails,
    )


def _kind_fact(product: Product) -> Fact:
    common = phrases().kind
    return Fact(
        "kind",
        lambda rng: rng.choice(product.kind.words),
        common.labels,
        common.phrases,
        ("{kind}",),
    )


def _place(facts: list[Fact], rng: Random, *, spare_title: bool) -> dict[str, list[Fact]]:
    """Each fact in one place, or in two; the facts of a place in the order they stand there."""
    first = 1 if spare_title else 0
    mentions: dict[str, list[Fact]] = {place: [] for place in _PLACES}
    for fact in facts:
        chosen = rng.choices(_PLACES[first:], _PLACE_WEIGHTS[first:])
        if rng.random() < _SECOND_MENTION:
            chosen += rng.choices(_PLACES[first:])
        for place in dict.fromkeys(chosen):
            mentions[place].append(fact)
    for placed in mentions.values():
        rng.shuffle(placed)
    return mentions


def _title(product: Product, kind: Fact, facts: list[Fact], style: Style, rng: Random) -> str:
    leading = [fact for fact in facts if fact.leads and rng.random() < 0.7]
    tails = [fact.written(rng, fact.title_forms) for fact in facts if fact not in leading]
    if rng.random() < 0.5:
        tails.append(product.colour)
    if rng.random() < 0.2:
        tails.append(product.model_number)
    leads = [fact.written(rng, fact.title_forms) for fact in leading]
    noun = " ".join([*leads, kind.written(rng, kind.title_forms)])
    title = style.title.format(brand=product.brand, noun=noun)
    return _capitalised(style.tail_separator.join([title, *map(_without_article, tails)]))


def _description(product: Product, facts: list[Fact], rng: Random) -> list[str]:
    chatter = phrases().chatter
    sentences = [_sentence(fact.written(rng, fact.phrases)) + "." for fact in facts]
    sentences += [
        expand(line, rng).replace("{other_material}", _other_material(product, rng))
        for line in rng.sample(chatter.lines, rng.choice((1, 1, 2, 2)))
    ]
    if rng.random() < 0.15:
        sentences.append(_absent_feature(product, rng) + ".")
    rng.shuffle(sentences)
    if rng.random() < 0.5:
        opener = expand(rng.choice(chatter.openers), rng)
        sentences.insert(0, opener.replace("{brand}", product.brand))
    if rng.random() < 0.3 and len(sentences) > 2:
        return [" ".join(sentences[:2]), " ".join(sentences[2:])]
    return [" ".join(sentences)]


def _details(product: Product, facts: list[Fact], rng: Random) -> dict[str, str]:
    details: dict[str, str] = {}
    if rng.random() < 0.4:
        details[rng.choice(("Brand", "Brand Name", "Manufacturer"))] = product.brand
    for fact in facts:
        label, value = rng.choice(fact.labels), _without_article(fact.say(rng))
        details[label] = f"{details[label]}, {value}" if label in details else value
    distractors = phrases().distractor_details
    for label in rng.sample(list(distractors), rng.choice((1, 1, 2, 3))):
        details[label] = rng.choice(distractors[label])
    if rng.random() < 0.35:
        details["Color"] = product.colour
    return details


def _other_material(product: Product, rng: Random) -> str:
    others = [term for term in product.category.materials if term != product.material]
    return rng.choice(rng.choice(others).words)


def _absent_feature(product: Product, rng: Random) -> str:
    absent = [term for term in product.category.features if term not in product.features]
    words = rng.choice(rng.choice(absent).words)
    template = expand(rng.choice(phrases().feature.absent), rng)
    return _sentence(template.format(feature=words))


def _images(rng: Random) -> list[dict[str, str | None]]:
    base = f"https://images.example.com/I/{rng.getrandbits(40):010x}"
    return [{"thumb": f"{base}_40.jpg", "large": f"{base}.jpg", "variant": "MAIN", "hi_res": None}]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _capitalised(title: str) -> str:
    units = {word for unit in phrases().units.values() for word in unit.words}
    kept = units | {"with", "by", "of", "and"}
    return " ".join(word if word in kept else _sentence(word) for word in title.split())


def _without_article(text: str) -> str:
    return _ARTICLE.sub("", re.sub(r"^with an? ", "with ", text))
