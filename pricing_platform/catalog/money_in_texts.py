"""What amounts of money look like inside texts, as patterns of RE2 that SQL uses.

Here belongs what an amount is among other words. What a field with a price and nothing else says
belongs to :mod:`pricing_platform.price_reading`; taking amounts out of texts belongs to
:mod:`pricing_platform.catalog.normalising`.

The large currencies' amounts are known in every catalogue. Those of the catalogue's own currency
are known beside them: elsewhere ``SAR 1.18`` says how a phone radiates, and ``12 ft`` is a length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from pricing_platform.currencies import currency_marks, parts_thousands_by_commas

_CODES = "usd|eur|gbp|cad|aud|chf|jpy|inr"
_NUMBER = r"(?:\d{1,3}(?:['’]\d{3})+(?:[.,]\d\d?)?|\d{1,3}(?: \d{3})+,\d\d\b|\d(?:[\d.,]*\d)?)"
_LEAD_IN = (
    "now|only|just|was|list|retail|sale|regular|everyday|special|our|price[ds]?|msrp|rrp|save"
    "|from|for|under|over|at"
)
_LEADING = rf"(?:\b(?:{_LEAD_IN})\b[ :=-]*){{0,4}}"
_WORDS = f"{_CODES}|dollars?|euros?|cents?"
_PRICE_WORDS = (
    r"price[ds]?|msrp|rrp|uvp|[a-zäöüß]*preis|prix|precio|prezzo|prijs|preço|preco|pris|cena"
)
_AMOUNT = (
    rf"(?:(?:us|ca|au|[acs])?\$|[€£¥₹]|\b(?:{_CODES})\b) ?{_NUMBER}(?: ?(?:{_CODES})\b)?"
    rf"|\b(?:{_CODES})\d+[.,]\d\d\b"
    rf"|\b{_NUMBER} ?(?:[$€£¥₹¢]|(?:{_WORDS})\b)"
    rf"|\b(?:{_PRICE_WORDS})\b(?: (?:is|was|of))? ?[:=] ?{_NUMBER}"
)
_CENTS_LAST = r"\b\d{1,3}(?:[.' ]?\d{3})? ?(?:€|euros?\b|eur\b) ?\d\d\b"
"""As in ``27 Euro 96`` and ``27€96``."""

_SHOE_SIZE = r"(\bsize[ :.,(-]{0,2}eur[ .:-]?\d+(?:[.,]5)?\b)"
_HINT = rf"[$€£¥₹¢]|(?:\b|\d)(?:{_WORDS}|{_PRICE_WORDS})(?:\b|\d)"
_MONEY_WORDS = (
    "[$€£¥₹¢]|usd|eur|gbp|cad|aud|chf|jpy|inr|dollar|cent|price|msrp|rrp|uvp|preis|prix|precio"
    "|prezzo|prijs|pre[çc]o|pris|cena|cost"
)

_THOUSANDS = r"\d{1,3}(?:[ '’]\d{3})+(?:[.,]\d\d?)?"
_NO_DECIMALS = r"(?:[.,][-–—]{1,2})?"
_UNMISTAKABLE = rf"(?:{_THOUSANDS}|\d+[.,]\d\d)\b"

_OF_ALL = "USD"
"""The currency of whose texts nothing more is known than of all."""

_ALSO_UNITS_AND_WORDS = frozenset(
    {"bucks", "pounds", "dollar", "dollars", "fr", "km", "da", "ar", "le", "db", "mk", "dt", "cf"}
)
_WORDS_IN_CAPITALS = re.compile(
    "all|amd|ang|ars|bam|bif|bob|cop|crc|cup|dop|ern|gel|lak|mad|mop|mro|mur|nio|pab|pen|php|ron"
    "|sar|sle|sos|std|stn|top|try|vef"
)
"""Codes that texts have as words: in capitals they are the currency's."""

PRICE_NAME = rf"(?i)(?:\b|_)(?:{_PRICE_WORDS}|costs?)(?:\b|_)"
"""Attributes that are named after the price are never part of an item."""


@dataclass(frozen=True)
class MoneyPatterns:
    """Patterns for the texts of a catalogue.

    ``amount`` is an amount of money, with the words that lead to it, and matches no end of a line;
    its one group is what is no amount after all, a shoe size, and is kept. ``hint`` is what every
    text with an amount has. Without any of the ``words`` no text has one.
    """

    amount: str
    hint: str
    words: str

    def is_in(self, column: str) -> str:
        """SQL for whether a text holds an amount: whether taking amounts out changes it.

        A CASE, because AND and OR ask both sides of every row.
        """
        hint, amount = quoted(self.hint), quoted(self.amount)
        return (
            f"CASE WHEN regexp_matches({column}, {hint}) THEN"
            rf" regexp_replace({column}, {amount}, '\1', 'g') <> {column} ELSE false END"
        )


def quoted(pattern: str) -> str:
    """A pattern as SQL writes a text."""
    return "'" + pattern.replace("'", "''") + "'"


@cache
def money_patterns(currency: str) -> MoneyPatterns:
    """The patterns for a catalogue whose prices are in the currency, an ISO 4217 code."""
    amounts, hints, words = [_AMOUNT], [_HINT], [_MONEY_WORDS]
    marks = [] if currency == _OF_ALL else currency_marks(currency)
    for mark in marks:
        if mark in _ALSO_UNITS_AND_WORDS:
            continue
        if len(mark) == 1 and mark.isascii() and mark.isalpha():
            amounts.append(rf"\b(?-i:{mark.upper()}) ?{_UNMISTAKABLE}")
            hints.append(rf"\b(?-i:{mark.upper()}) ?\d")
        else:
            amounts += _amounts_beside(mark, currency)
            hints.append(_bounded(mark, r"(?:\b|\d)"))
        words.append(re.escape(mark))
    # Those of the currency go first: the others would leave the first half of '1 299,00 €', and
    # both of them the cents that stand behind it.
    amount = "|".join([_CENTS_LAST, *reversed(amounts)])
    return MoneyPatterns(
        amount=f"(?i){_SHOE_SIZE}|{_LEADING}(?:{amount})",
        hint=f"(?i){'|'.join(hints)}",
        words="|".join(words),
    )


def _amounts_beside(mark: str, currency: str) -> list[str]:
    """A number with the mark on either side; where commas part thousands, blanks part numbers."""
    first, last = _bounded(mark, r"\b", ""), _bounded(mark, "", r"\b")
    grouped = _NUMBER if parts_thousands_by_commas(currency) else f"(?:{_THOUSANDS}|{_NUMBER})"
    before = [f"{first} ?{grouped}{_NO_DECIMALS}(?: ?{last})?"]
    if mark.upper() == currency:  # INR18650 is a battery
        before = [f"{first}{_UNMISTAKABLE}", f"{first} {grouped}{_NO_DECIMALS}(?: ?{last})?"]
    return [*before, rf"\b(?:{_THOUSANDS}|{_NUMBER}){_NO_DECIMALS} ?{last}"]


def _bounded(mark: str, first: str, last: str | None = None) -> str:
    """A mark between these patterns where it begins and ends with letters that words go on with."""
    written = re.escape(mark)
    if _WORDS_IN_CAPITALS.fullmatch(mark):
        written = f"(?-i:{mark.upper()})"
    elif mark == "ft":  # forints, not feet
        written = "(?-i:Ft)"
    before = first if mark[0].isascii() and mark[0].isalnum() else ""
    after = (first if last is None else last) if mark[-1].isascii() and mark[-1].isalnum() else ""
    return f"{before}{written}{after}"
