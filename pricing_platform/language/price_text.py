"""Reading the one price that a language model's answer gives, in words, digits or JSON.

Here belongs which amount of a text is the answer. What the digits of one amount mean (``1.299,00``)
and which currency a sign may stand for are the rules by which listings are read: the macros of
``sql/curation/reading.sql``.

What is decided here, and tested case by case:

- A range whose ends lie within a factor of 3 reads as its midpoint; a wider one says too little.
- Beside an amount with a currency, numbers without one are no prices (500 GB); without any
  currency, a number is a price only where nothing but words of an estimate stand around it.
- An amount after ``Price:``, ``Final price is`` or the like counts for more than others. Otherwise
  two different amounts are no answer, and neither is one whose digits can be read in two ways.
- An amount that bounds a price (under, at least, or more), is denied (does not cost), is paid again
  and again (per month) or taken off a price says nothing of what the price is.
"""

from __future__ import annotations

import atexit
import json
import math
import re
import threading
import unicodedata
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise

import duckdb

from pricing_platform.language.prompts import Currency
from pricing_platform.price_reading import prepare_price_reading

HIGHEST_PRICE = 1e9
WIDEST_RANGE = 3.0
"""High end over low end, up to which a range reads as its midpoint."""

_READ_AT_MOST = 4_000
_SHOWN = 60
_CODES = (
    "usd|eur|gbp|cad|aud|nzd|chf|jpy|cny|inr|sek|nok|dkk|isk|pln|czk|huf|ron|bgn|mxn|brl|clp|ars"
    "|sgd|hkd|krw|thb|idr|myr|php|vnd|twd|zar|ils|aed|sar|uah|rub|kwd|bhd"
)
"""Of the codes of currencies, those that are no words of a sentence, as ALL, TOP and TRY are."""

_SIGNS = "".join(at for at in map(chr, range(0x10000)) if unicodedata.category(at) == "Sc")
_SIGN = rf"(?:us|ca|au|nz|hk|mx|nt|[acrs])?\$|[{re.escape(_SIGNS.replace('$', ''))}]|zł|kč"
_WORD = rf"\b(?:{_CODES}|dollars?|bucks|euros?|pounds|yen|rupees|rs|kr)\b"
_DIGITS = r"\d{1,3}(?:[ \u00a0\u202f'’]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d(?:[\d.,]*\d)?|[.,]\d+"
_AMOUNT = re.compile(
    rf"(?<![\w.,])(?P<minus>[-−–]\s?)?(?P<before>{_SIGN}|{_WORD})?\s?(?P<inner>[-−]\s?)?"
    rf"(?P<digits>{_DIGITS})"
    rf"(?P<scale>[^\S\n]?(?:k|hundred|thousand|mn|mln|million|bn|billion|trillion)\b|(?-i:[MB])\b)?"
    rf"[^\S\n]?(?:(?P<after>{_SIGN}|{_WORD})|(?P<percent>%|percent\b))?",
    re.IGNORECASE,
)
_SCALES = {"h": 1e2, "k": 1e3, "th": 1e3, "m": 1e6, "b": 1e9, "tr": 1e12}  # how a word begins
_ABOUT = r"(?:(?:about|around|approximately|roughly|just|only|exactly)\s+)*"
_BOUND_BEFORE = re.compile(
    r"(?:\b(?:under|below|over|above|beyond|up\sto|upwards?\sof|(?:at|no)\s(?:most|least)"
    r"|(?:less|more|lower|higher|cheaper|greater)\sthan"
    r"|exceed(?:s|ed|ing)?|(?:start|begin)(?:s|ing)?\s(?:at|from)"
    r"|as\s(?:low|high|much|little)\sas|(?:minimum|maximum)(?:\s(?:price|cost))?(?:\s(?:of|is))?)"
    rf"|(?:^|\s)(?:[<>]=|[<≤≥])|\w\s>)[\s:]*{_ABOUT}$",
    re.IGNORECASE,
)
_BOUND_AFTER = re.compile(
    r"(?:\+(?!\s?\w)|[ ,]*(?:(?:or|and)\s(?:more|less|above|below|up|upwards?|under|over|higher"
    r"|lower)|at\s(?:most|least)|max|min|maximum|minimum|tops)\b)",
    re.IGNORECASE,
)
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|cannot)|n['’]t)\s+(?:(?:be|been|cost|costs|costing|sell|sells|sold|selling"
    r"|go|priced|worth|valued|available|the|a|its|price|it|at|for|of|is)\s+)*"
    rf"{_ABOUT}$",
    re.IGNORECASE,
)
_AGAIN_AFTER = re.compile(
    r" *(?:(?:/|per\b|an?\b|each\b|every\b)\s*(?:single\s)?(?:hour|hr|h|day|night|week|wk|month|mo"
    r"|quarter|year|yr|annum)|(?:hourly|daily|nightly|weekly|monthly|quarterly|yearly|annually))\b",
    re.IGNORECASE,
)
_OFF_AFTER = re.compile(r" *(?:off|discount|cheaper|more\s(?:than|expensive))\b", re.IGNORECASE)
_CENTS = re.compile(
    r"\b(\d+)\s?(?:dollars?|euros?)\s?(?:and\s)?(\d{1,2})\s?cents?\b", re.IGNORECASE
)
_BARE_CENTS = re.compile(r"(?<![\w.,])(\d{1,2})\s?(?:¢|cents?\b)", re.IGNORECASE)
_BETWEEN_ENDS = re.compile(r"[^\S\n]*(?:-|–|—|to|and|until|bis)[^\S\n]*", re.IGNORECASE)
_LABEL = re.compile(
    r"(?:^|[.;,:\n{*\"'])[\s*\"']*(?:(?:my|the|its|final|estimated|best|fair|likely)\s+)*"
    r"(?:price|estimate|answer)(?:\s+range)?[\s*\"']*"
    r"(?:(?:is|of|would be|will be|should be)\b|[:=]|\s)[\s*:=\"']*"
    r"(?:(?:about|around|approximately|roughly|between|from|only|~|≈)\s*)*$",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"\b(?:about|around|approximately|approx|roughly|nearly|almost|circa|ca|maybe|probably|perhaps"
    r"|between|from|and|to|or|so|price|prices|range|final|estimate|estimated|answer|fair|likely"
    r"|best|guess|it|its|this|that|the|product|item|a|an|is|are|be|i|my|would|will|should|could"
    r"|may|might|cost|costs|costing|sell|sells|sold|for|at|of|say|think|only|just|s|d)\b"
    r"|[\s.,:;!~≈=*\"'’`()\[\]{}<>_+-]",
    re.IGNORECASE,
)
_JSON_START = re.compile(r"(?:```\w*\s*)?\{")
_NOTHING_BEFORE = re.compile(r"[\s*_\"'`#>(]*(?:(?:about|around|approximately|~|≈)\s*)*")
_SENTENCE_OVER = re.compile(r"[ *_\"'`)]*(?:\n|[.!][*_\"'`)]*\s)")
_AMOUNT_OVER = re.compile(
    r"[*_]*,?\s+(?:for|as|based|because|since|given|considering|due|which|this|it|with)\b",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
_PLAIN = re.compile(r"\d+(?:\.\d{1,2})?")


@dataclass(frozen=True)
class ParsedPrice:
    """A positive price in the catalogue's currency, or why there is none: exactly one of them."""

    price: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class _Amount:
    """An amount as it stands in a text: from ``start`` to ``end``."""

    value: float | None  # null where the digits can be read in two ways
    currency: str | None
    written: str
    labelled: bool
    start: int
    end: int
    doubt: str | None = None  # why it is not what the product costs


def parse_price(text: str, currency: Currency) -> ParsedPrice:
    """The one price that the text gives, or the reason why it gives none. Never raises.

    Args:
        text: what a model wrote, in whole or after ``Price: $``.
        currency: the catalogue's; an amount in another one is no price.
    """
    text = text[:_READ_AT_MOST].strip()
    if not text:
        return ParsedPrice(failure="the answer is empty")
    stated = _from_json(text, currency)
    return stated if stated is not None else _from_words(text, currency)


def finished_price(text: str, prefix: str = "") -> str | None:
    """The price that a text begins with, where the text itself was cut off; no more is to be read.

    It is one where nothing but its label or the prompt's ``prefix`` stands before it, as before no
    thoughts do, and where what follows says that the amount is over: the end of a sentence or a
    line, or a word that goes on to something else. Otherwise more of it may have followed, and the
    result is None.
    """
    text = text[:_READ_AT_MOST].lstrip()
    if (start := _JSON_START.match(text)) is not None:
        return _whole_json(text[start.end() - 1 :])
    label = prefix.strip()
    said = text[len(label) :] if label and text.startswith(label) else text
    found = _amounts(said)
    if not found:
        return None
    last = _ranges(found, said).get(found[0].start, found[0])
    before, end = said[: found[0].start], last.start + len(last.written)
    is_labelled = found[0].labelled or said is not text
    if not (_NOTHING_BEFORE.fullmatch(before) or (is_labelled and _LABEL.match(before))):
        return None
    is_price = is_labelled or found[0].currency is not None
    over = _SENTENCE_OVER.match(said, end) or (is_price and _AMOUNT_OVER.match(said, end))
    return (text[: len(text) - len(said)] + said[:end]).strip() if over else None


def states_money(text: str) -> bool:
    """Whether a text names an amount with a currency, as ``$49.99`` or ``ab 45 EUR``."""
    return any(at["before"] or at["after"] for at in _AMOUNT.finditer(text[:_READ_AT_MOST]))


def _from_json(text: str, currency: Currency) -> ParsedPrice | None:
    """What a JSON object in the text gives; null where the text has none."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        found = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    named = {str(name).lower(): value for name, value in found.items()}
    code = named.get("currency")
    if isinstance(code, str) and code and not _is_in(code.strip(), currency):
        return ParsedPrice(failure=f"the price is in {code[:_SHOWN]}, not in {currency.code}")
    price = named.get("price", named.get("estimate"))
    if isinstance(price, bool) or not isinstance(price, (int, float, str)):
        return ParsedPrice(failure="the JSON has no price")
    if isinstance(price, str):
        return _from_words(price.strip(), currency)
    return _usable(price)


def _whole_json(text: str) -> str | None:
    """The JSON object that the text begins with; null where it was cut off."""
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return text[:end]


def _from_words(text: str, currency: Currency) -> ParsedPrice:
    text = _digits_for_words(text)
    first_line = text.split("\n", 1)[0].strip().rstrip(".")
    if _AMOUNT.fullmatch(first_line):
        text = first_line
    found = _amounts(text)
    if not found:
        percent = " but a percentage" if "%" in text else ""
        return ParsedPrice(failure=f"no price{percent} in {_excerpt(text)}")
    ranges = _ranges(found, text)
    candidates = _candidates(_with_shared_marks(found, ranges), text)
    if not candidates:
        return ParsedPrice(failure=f"no amount of money in {_excerpt(text)}")
    for at in candidates:
        if not _is_in(at.currency, currency):
            return ParsedPrice(failure=f"{_excerpt(at.written)} is not in {currency.code}")
        if at.doubt is not None:
            return ParsedPrice(failure=f"{_excerpt(at.written)} {at.doubt} in {_excerpt(text)}")
        if at.value is None:
            return ParsedPrice(failure=f"{_excerpt(at.written)} can be read in two ways")
    values = {at.value for at in candidates if at.value is not None}
    if len(values) == 2 and len(candidates) == 2 and candidates[0].start in ranges:
        return _midpoint(min(values), max(values))
    if len(values) > 1:
        return ParsedPrice(failure=f"several different prices in {_excerpt(text)}")
    return _usable(values.pop())


def _midpoint(low: float, high: float) -> ParsedPrice:
    if low <= 0 or high > WIDEST_RANGE * low:
        return ParsedPrice(failure=f"from {low:g} to {high:g} is too wide a range for a price")
    return _usable((low + high) / 2)


def _usable(price: float) -> ParsedPrice:
    try:
        value = float(price)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value) or value > HIGHEST_PRICE:
        return ParsedPrice(failure="the number is too large for a price")
    if value < 0:
        return ParsedPrice(failure="the price is negative")
    # Half a cent is the least that any amount rounds up from.
    return ParsedPrice(value) if value >= 0.005 else ParsedPrice(failure="the price is 0")


def _digits_for_words(text: str) -> str:
    """The text with numbers in digits where it has none; dollars and cents as one amount."""
    if not _DIGIT.search(text):
        from text_to_num import alpha2digit

        text = alpha2digit(text, "en")
    text = _CENTS.sub(lambda found: f"${found[1]}.{int(found[2]):02d}", text)
    return _BARE_CENTS.sub(lambda found: f"$0.{int(found[1]):02d}", text)


def _amounts(text: str) -> list[_Amount]:
    """Every number of the text that is no percentage, with the currency beside it."""
    found = []
    for at in _AMOUNT.finditer(text):
        if at["percent"]:
            continue
        value = _value(at["digits"], at["after"] or "")
        if value is not None and at["scale"]:
            word = at["scale"].strip().lower()
            value *= next(by for begins, by in _SCALES.items() if word.startswith(begins))
        if value is not None and (at["inner"] or _is_minus(at, text)):
            value = -value
        marks = [mark.strip() for mark in (at["before"], at["after"]) if mark]
        exact = [mark for mark in marks if len(_codes_of(mark)) == 1]
        currency = next(iter(exact or marks), None)
        before = text[max(at.start() - 80, 0) : at.start()]
        end = at.start() + len(at[0].rstrip())
        label = bool(_LABEL.search(before))
        doubt = _doubt(before, text[end : end + 40])
        found.append(_Amount(value, currency, at[0].strip(), label, at.start(), at.end(), doubt))
    return found


def _doubt(before: str, after: str) -> str | None:
    """Why an amount between these texts is not what the product costs; null where it may be."""
    if _BOUND_BEFORE.search(before) or _BOUND_AFTER.match(after):
        return "bounds a price and is none"
    if _DENIED_BEFORE.search(before):
        return "is denied"
    if _AGAIN_AFTER.match(after):
        return "is paid again and again"
    return "is a difference of prices" if _OFF_AFTER.match(after) else None


def _is_minus(at: re.Match[str], text: str) -> bool:
    """Whether the dash before an amount is its sign: it is none after another amount."""
    before = text[: at.start()].rstrip()
    return bool(at["minus"]) and not (before and (before[-1].isalnum() or before[-1] in "$€£¥₹%"))


def _ranges(found: list[_Amount], text: str) -> dict[int, _Amount]:
    """Where a range starts -> its high end: two amounts with no more than ``to`` between them."""
    ranges = {}
    for low, high in pairwise(found):
        between = text[low.end : high.start]
        dashed = high.written[:1] in "-−–" and high.value is not None and high.value > 0
        if _BETWEEN_ENDS.fullmatch(between) or (dashed and not between.strip(" \t")):
            ranges[low.start] = high
    return ranges


def _candidates(found: list[_Amount], text: str) -> list[_Amount]:
    """The amounts that may be the answer: labelled ones, else those with a currency, else all."""
    if labelled := [at for at in found if at.labelled]:
        return labelled
    if marked := [at for at in found if at.currency is not None]:
        return marked
    around = text
    for at in reversed(found):
        around = f"{around[: at.start]} {around[at.end :]}"
    return [] if _FILLER.sub("", around) else found


def _with_shared_marks(found: list[_Amount], ranges: dict[int, _Amount]) -> list[_Amount]:
    """The amounts, the ends of a range with what only one of them has: currency and label."""
    shared = {at.start: at for at in found}
    for start, end in ranges.items():
        low, high = shared[start], shared[end.start]
        shared[start] = replace(low, currency=low.currency or high.currency)
        shared[end.start] = replace(
            high, currency=high.currency or low.currency, labelled=low.labelled
        )
    return list(shared.values())


def _is_in(mark: str | None, currency: Currency) -> bool:
    return mark is None or mark.upper() == currency.code or currency.code in _codes_of(mark)


def _value(digits: str, mark_after: str) -> float | None:
    """The number that digits and separators mean; null where they can be read in two ways."""
    joined = re.sub(r"[ \u00a0\u202f'’]", "", digits)
    if _PLAIN.fullmatch(joined):
        return float(joined)
    return _read(f"{joined} {mark_after.strip()}" if mark_after.strip() else f"${joined}")


@lru_cache(maxsize=10_000)
def _read(published: str) -> float | None:
    """The number of a price as published."""
    with _LOCK:
        row = _reader().execute("SELECT price_number(?)", [published]).fetchone()
    return row[0] if row is not None else None


@lru_cache(maxsize=1_000)
def _codes_of(mark: str) -> tuple[str, ...]:
    """The ISO codes that a sign, a word or a code may stand for."""
    with _LOCK:
        row = _reader().execute("SELECT mark_told(?)['codes']", [mark]).fetchone()
    return tuple(row[0] or ()) if row is not None else ()


_LOCK = threading.Lock()


@cache
def _reader() -> duckdb.DuckDBPyConnection:
    # A connection that outlives the interpreter is told of as a leak, on standard error.
    atexit.register(_reader.cache_clear)
    connection = duckdb.connect()
    prepare_price_reading(connection)
    return connection


def _excerpt(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= _SHOWN else f"{flat[: _SHOWN - 1]}…")
