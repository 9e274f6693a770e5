"""``sql/curation/currencies.sql`` as it follows from CLDR, by way of babel.

``python -m pricing_platform_tests.unit.catalog.currency_table`` prints it. Here belongs how the
table is made; reading prices by it belongs to ``sql/curation/reading.sql``.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from babel import Locale, localedata
from babel.core import get_global

_FIRST_YEAR = 2015
_OFFICIAL = {"official", "de_facto_official"}
_NO_DECIMALS = set(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()  # noqa: SIM905
)
_THREE_DECIMALS = set("BHD IQD JOD KWD LYD OMR TND".split())  # noqa: SIM905

_WRITTEN_BESIDES = {
    "us$": "USD",
    "us $": "USD",
    "u$s": "USD",
    "au$": "AUD",
    "c$": "CAD",
    "can$": "CAD",
    "s$": "SGD",
    "₹": "INR",
    "rs": "INR",
    "rs.": "INR",
    "fr": "CHF",
    "fr.": "CHF",
    "sfr": "CHF",
    "sfr.": "CHF",
    "lei": "RON",
    "leu": "RON",
    "kc": "CZK",
    "zl": "PLN",
    "руб": "RUB",
    "руб.": "RUB",
    "грн": "UAH",
    "грн.": "UAH",
    "tl": "TRY",
    "円": "JPY",
    "元": "CNY",
    "원": "KRW",
    "nis": "ILS",
    "euro": "EUR",
    "euros": "EUR",
    "pounds": "GBP",
    "yen": "JPY",
    "rupees": "INR",
    "dirham": "AED",
}
"""What shops and people write that CLDR does not have."""

_DOLLARS = ("dollar", "dollars", "bucks")
_MORE_DOLLARS = ("HKD", "BRL", "DOP", "NIO", "TOP", "WST", "MOP")
_CROWNS = {"DKK", "ISK", "NOK", "SEK"}

_HEAD = """\
-- Currencies in use, as CLDR tells of them, and what stands for each beside a number.
-- decimals: of ISO 4217. groups_by_comma: whether its countries part thousands by commas.
-- Made by pricing_platform_tests/unit/catalog/currency_table.py; a mark is in lower case.
CREATE OR REPLACE TEMP TABLE currencies (
    code VARCHAR, decimals TINYINT, groups_by_comma BOOLEAN
);
INSERT INTO currencies VALUES
{currencies};
CREATE OR REPLACE TEMP TABLE currency_marks (mark VARCHAR, codes VARCHAR[]);
INSERT INTO currency_marks VALUES
{marks};

-- Mark -> the codes that it may stand for, whether a comma parts thousands beside it, and decimals.
-- A variable, because a macro that looked it up in a table would be a join for every price.
SET VARIABLE currency_marks = (
    SELECT map(list(mark), list(told))
    FROM (
        SELECT
            mark,
            {{
                'codes': any_value(codes),
                'groups_by_comma': bool_and(groups_by_comma) OR contains(mark, '$'),
                'decimals': max(decimals)
            }} AS told
        FROM currency_marks
        JOIN currencies ON list_contains(codes, code)
        GROUP BY mark
    )
);
"""


@cache
def territories() -> dict[str, list[str]]:
    """The countries in which each currency is tender now, or was in the last years."""
    found: dict[str, list[str]] = defaultdict(list)
    for territory, periods in sorted(get_global("territory_currencies").items()):
        for code, _, until, is_tender in periods:
            if is_tender and (until is None or until[0] >= _FIRST_YEAR):
                found[code].append(territory)
    return dict(sorted(found.items()))


def _locales(code: str) -> Iterator[Locale]:
    """Those of the official languages of its countries."""
    known = set(localedata.locale_identifiers())
    for territory in territories()[code]:
        for language, told in get_global("territory_languages").get(territory, {}).items():
            names = [name for name in (f"{language}_{territory}", language) if name in known]
            if told.get("official_status") in _OFFICIAL and names:
                yield Locale.parse(names[0])


def _decimals(code: str) -> int:
    if code in _NO_DECIMALS:
        return 0
    return 3 if code in _THREE_DECIMALS else 2


def _groups_by_comma(code: str) -> bool:
    signs = {at.number_symbols.get("latn", {}).get("group") for at in _locales(code)}
    return code in ("USD", "CAD") or signs == {","}


def marks() -> dict[str, list[str]]:
    """Mark -> the currencies that it may stand for, in the order of their codes."""
    found: dict[str, set[str]] = defaultdict(set)
    for code in territories():
        found[code.lower()] = {code}
    for code in territories():
        for locale in [*_locales(code), Locale("en")]:
            mark = locale.currency_symbols.get(code, "").strip("\u200b\u200e\u200f ").lower()
            if mark and mark.upper() not in territories():
                found[mark.replace("\u202f", " ")].add(code)
    for mark, code in _WRITTEN_BESIDES.items():
        found[mark].add(code)
    found["$"] |= set(_MORE_DOLLARS)
    for mark in _DOLLARS:
        found[mark] = found["$"]
    found["kr"] |= _CROWNS
    found["kr."] |= _CROWNS
    return {mark: sorted(codes) for mark, codes in sorted(found.items())}


def table() -> str:
    """The text of the file."""
    currencies = [
        f"    ('{code}', {_decimals(code)}, {str(_groups_by_comma(code)).lower()})"
        for code in territories()
    ]
    written = [
        "    ('{}', [{}])".format(mark.replace("'", "''"), ", ".join(f"'{code}'" for code in codes))
        for mark, codes in marks().items()
    ]
    return _HEAD.format(currencies=",\n".join(currencies), marks=",\n".join(written))


if __name__ == "__main__":
    sys.stdout.write(table())
