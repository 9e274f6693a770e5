"""Whether numbers in the finished texts of items are their prices, more often than by chance.

Independent of the search for leaks: nothing is known here of attributes, and nothing is withheld.
Of a sample of texts every number is read, in every way in which it may be meant, and compared with
the item's own price and with those of other items, dealt to it at random: within its category and
over the whole source, since a category may itself tell the price. What hits its own price clearly
more often than others' does, in one of the two, tells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.stores.warehouse import Warehouse

Floats = npt.NDArray[np.float64]
Leak = tuple[str, str | None, str, list[str], int, float]
"""A row as ``curated.price_leaks`` has it."""

_SAMPLE = 600
_FEWEST = 60
"""Items of a source that are looked at, at most and at least."""

_DEALS = 20
_SEED = 42
_MOST_NUMBERS = 24
_HALF_A_CENT = 0.0051
_RELATIVE = 0.004
"""How near a product or quotient has to be: its factors are rounded."""

_MORE_THAN_CHANCE = 0.05
_MORE_THAN_CHANCE_OF_TWO = 0.2
"""Of all items, how many more than by chance are a finding; pairs of numbers hit more easily."""

_DEVIATIONS = 5.0

# Drawn from the other end of the order in which the search draws its sample.
_ITEMS = """
SELECT source, coalesce(category, 'unknown') AS category, text, price
FROM curated.items
WHERE price > 0
QUALIFY row_number() OVER (PARTITION BY source ORDER BY hash(source, listing_id) DESC) <= $sample
ORDER BY source, category, item_id
"""
_WRITTEN = re.compile(r"\d(?:[\d.,'’ \u00a0\u202f]*\d)?")
_NUMBER_WORDS = {
    language: re.compile(words, re.IGNORECASE)
    for language, words in {
        "en": r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen"
        r"|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy"
        r"|eighty|ninety|hundred|thousand)\b",
        "de": r"\b(?:zehn|elf|zwölf)\b|[a-zäöüß]*(?:zehn|zig|ßig|hundert|tausend)\b",
        "fr": r"\b(?:dix|onze|douze|treize|quatorze|quinze|seize|vingts?|trente|quarante|cinquante"
        r"|soixante|cents?|mille)\b",
        "es": r"\b(?:diez|once|doce|trece|catorce|quince|dieci\w+|veint\w+|treinta|cuarenta"
        r"|cincuenta|sesenta|setenta|ochenta|noventa|cien\w*|mil)\b",
        "it": r"\b(?:dieci|\w+dici|dicia\w+|diciotto|vent\w+|trent\w+|quarant\w+|cinquant\w+"
        r"|sessant\w+|settant\w+|ottant\w+|novant\w+|\w*cento|mille)\b",
        "nl": r"\b(?:tien|elf|twaalf)\b|\w*(?:tien|tig|honderd|duizend)\b",
    }.items()
}
"""What a text has that tells a number in words, by language."""

_HUNDREDTHS = re.compile(r"(\d+)\D{1,20}?\b(\d{1,2})\s*(?:cents?|hundredths)\b", re.IGNORECASE)


def price_in_texts(warehouse: Warehouse) -> list[Leak]:
    """A row a source whose texts tell the price by a number, or by two of them together."""
    items = warehouse.frame(_ITEMS, {"sample": _SAMPLE})
    return [
        leak
        for (source,), own in items.group_by("source", maintain_order=True)
        if own.height >= _FEWEST
        for leak in _told(str(source), own)
    ]


def numbers_in(text: str) -> Floats:
    """Every number of a text in every way in which it may be meant, above 0 and without repeats."""
    told = _in_digits(text)
    found = dict.fromkeys(
        value for written in _WRITTEN.findall(told) for value in _meanings(written) if value > 0
    )
    for whole, cents in _HUNDREDTHS.findall(told):
        found[int(whole) + int(cents) / 100] = None
    return np.array(list(found), np.float64)


def _told(source: str, items: pl.DataFrame) -> Iterator[Leak]:
    numbers = [numbers_in(text) for text in items["text"]]
    prices = items["price"].to_numpy()
    cents = np.full(len(prices), _HALF_A_CENT)
    one, two = _MORE_THAN_CHANCE, _MORE_THAN_CHANCE_OF_TWO
    for expression, values, near, least in (
        ("a number in the text", numbers, cents, one),
        (
            "a product or quotient of two numbers in the text",
            [_products(found) for found in numbers],
            np.maximum(_RELATIVE * prices, cents),
            two,
        ),
        (
            "a sum or difference of two numbers in the text",
            [_sums(found) for found in numbers],
            cents,
            two,
        ),
    ):
        hits = _hits(values, prices, near)
        for dealt in (_dealt(items, "category"), _dealt(items)):
            chance = np.array([_hits(values, prices[at], near[at]) for at in dealt])
            excess = hits - chance.mean()
            if excess > max(least * len(prices), _DEVIATIONS * chance.std() + 1):
                yield source, None, expression, [], hits, hits / len(prices)
                return


def _hits(values: list[Floats], prices: Floats, near: Floats) -> int:
    """Of how many items a value is the price."""
    return sum(
        bool((np.abs(found - price) <= within).any())
        for found, price, within in zip(values, prices, near, strict=True)
    )


def _dealt(items: pl.DataFrame, *within: str) -> list[npt.NDArray[np.int64]]:
    """Orders in which prices are dealt to the items anew, by default over all of them."""
    random = np.random.default_rng(_SEED)
    at = items.with_row_index("at")
    groups = (
        at.group_by(within, maintain_order=True).agg("at")
        if within
        else at.select(pl.implode("at"))
    )
    places = [np.array(group.to_list(), np.int64) for group in groups["at"]]
    deals = []
    for _ in range(_DEALS):
        order = np.arange(items.height)
        for group in places:
            order[group] = random.permutation(group)
        deals.append(order)
    return deals


def _products(numbers: Floats) -> Floats:
    """All products and quotients of two different numbers."""
    one, other = _pairs(numbers)
    return np.concatenate([one * other, one / other, other / one])


def _sums(numbers: Floats) -> Floats:
    """All sums and differences of two different numbers."""
    one, other = _pairs(numbers)
    return np.concatenate([one + other, np.abs(one - other)])


def _pairs(numbers: Floats) -> tuple[Floats, Floats]:
    few = numbers[:_MOST_NUMBERS]
    first, second = np.triu_indices(len(few), 1)
    return few[first], few[second]


def _meanings(written: str) -> Iterator[float]:
    """``1,299`` may be 1299 or 1.299, and ``2 45`` two numbers or one."""
    parts = re.split(r"[ \u00a0\u202f'’]", written)
    for part in dict.fromkeys([*parts, "".join(parts)]):
        yield from _values(part)


def _values(digits: str) -> Iterator[float]:
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        yield from _floats(digits)
        return
    whole, decimals = re.sub(r"[.,]", "", digits[:last]), digits[last + 1 :]
    yield from _floats(f"{whole or '0'}.{decimals or '0'}")
    yield from _floats(whole + decimals)
    for part in re.split(r"[.,]", digits):
        yield from _floats(part)


def _floats(digits: str) -> Iterator[float]:
    if digits.replace(".", "", 1).isdigit() and len(digits) < 16:
        yield float(digits)


def _in_digits(text: str) -> str:
    """The text, and once more in each language of whose number words it has any, in digits."""
    languages = [name for name, words in _NUMBER_WORDS.items() if words.search(text)]
    if not languages:
        return text
    from text_to_num import alpha2digit

    return "\n".join([text, *(alpha2digit(text, language) for language in languages)])
