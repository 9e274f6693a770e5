"""The noise of real data, planted on purpose and counted.

Each kind takes a known number of rows of a snapshot, no row has two kinds. Here belongs what breaks
a row, and which rows are broken. Duplicated products are no noise of a row and belong to ``shops``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pricing_platform.catalog.bundled.vocabulary import phrases
from pricing_platform.catalog.bundled.wording import Row, expand

SHARES = {
    "price_null": 0.06,
    "price_in_text": 0.03,
    "html_description": 0.03,
    "price_number": 0.02,
    "price_missing": 0.01,
    "price_dollar_text": 0.01,
    "mojibake": 0.01,
    "price_from_text": 0.006,
    "exact_duplicate": 0.005,
    "price_zero": 0.004,
    "malformed_json": 0.004,
    "price_absurd": 0.003,
    "empty_title": 0.003,
    "title_number": 0.002,
    "price_object": 0.002,
    "price_negative": 0.002,
    "features_string": 0.002,
    "invalid_utf8": 0.0015,
}
"""The share of a snapshot's rows that each kind takes; at least one row each."""

HIDES_TITLE = frozenset({"empty_title", "title_number"})
"""Kinds after which a title says nothing: such a row states everything elsewhere."""

HUGE_DESCRIPTION = "huge_description"
"""Planted once in the whole catalogue."""

HUGE_CHARACTERS = 200_000


@dataclass
class Plan:
    """Which row of a snapshot gets which kind of noise."""

    by_row: dict[int, str] = field(default_factory=dict)

    def kind(self, row: int) -> str | None:
        """The kind planted in that row."""
        return self.by_row.get(row)

    def counts(self) -> dict[str, int]:
        """How many rows each kind has."""
        return dict(sorted(Counter(self.by_row.values()).items()))


def plan(rows: int, rng: Random, *, huge: bool) -> Plan:
    """Draws the rows for every kind, for a snapshot of that many rows."""
    kinds = [kind for kind, share in SHARES.items() for _ in range(max(1, round(share * rows)))] + [
        HUGE_DESCRIPTION
    ] * huge
    return Plan(dict(zip(rng.sample(range(rows), min(rows, len(kinds))), kinds, strict=False)))


def soil(row: Row, kind: str | None, price: float, rng: Random) -> bytes:
    """The row as JSON lines, spoilt as its kind says; a kind may yield two lines for one row."""
    if kind in _SPOILERS:
        _SPOILERS[kind](row, price, rng)
    line = json.dumps(row, ensure_ascii=False).encode()
    if kind == "exact_duplicate":
        return line + b"\n" + line + b"\n"
    if kind == "malformed_json":
        return line + b"\n" + _malformed(line, rng) + b"\n"
    if kind == "invalid_utf8":
        line = line.replace("Café".encode(), "Café".encode("latin-1")[:4] + b"\xff")
    return line + b"\n"


def _malformed(line: bytes, rng: Random) -> bytes:
    cut = rng.randint(20, 60)
    return rng.choice(
        [
            line[:cut].decode(errors="ignore").encode(),
            line[:-1],
            line.replace(b'"title": ', b'"title" ', 1),
            b"<html><body>502 Bad Gateway</body></html>",
            b"{'main_category': 'Unknown', 'title': None}",
        ]
    )


def _set_price(value: Callable[[float], Any]) -> Callable[[Row, float, Random], None]:
    def spoil(row: Row, price: float, _rng: Random) -> None:
        row["price"] = value(price)

    return spoil


def _drop_price(row: Row, _price: float, _rng: Random) -> None:
    del row["price"]


def _mention_price(row: Row, price: float, rng: Random) -> None:
    mention = expand(rng.choice(phrases().chatter.price_mentions), rng)
    row["description"].append(mention.replace("{price}", f"{price:,.2f}"))


def _wrap_in_html(row: Row, _price: float, rng: Random) -> None:
    row["description"] = [
        f'<div class="a-section"><p>{text.replace("&", "&amp;")}</p><br/><ul><li>'
        f"{rng.choice(('Details', 'More', 'Note'))}&nbsp;&ndash;&nbsp;see <b>below</b></li></ul>"
        "<script>var seen = 1 < 2;</script></div>"
        for text in row["description"]
    ]


def _garble(row: Row, _price: float, _rng: Random) -> None:
    row["title"] = _read_as_windows_1252(row["title"] + " – 100 % genuine")
    row["description"] = [
        _read_as_windows_1252(f"{text} It’s the shop’s choice™.") for text in row["description"]
    ]


def _read_as_windows_1252(text: str) -> str:
    return text.encode().decode("cp1252", errors="replace")


def _speak_latin(row: Row, _price: float, _rng: Random) -> None:
    row["description"].append("Café quality.")


def _empty_title(row: Row, _price: float, _rng: Random) -> None:
    row["title"] = ""


def _number_title(row: Row, _price: float, rng: Random) -> None:
    row["title"] = rng.randint(1000, 999_999)


def _join_features(row: Row, _price: float, _rng: Random) -> None:
    row["features"] = "; ".join(row["features"])


def _inflate(row: Row, _price: float, rng: Random) -> None:
    lines = phrases().chatter.lines
    grown = list(row["description"])
    length = sum(map(len, grown))
    while length < HUGE_CHARACTERS:
        grown.append(expand(rng.choice(lines), rng).replace("{other_material}", "the rest"))
        length += len(grown[-1]) + 1
    row["description"] = [" ".join(grown)]


_SPOILERS: dict[str, Callable[[Row, float, Random], None]] = {
    "price_null": _set_price(lambda _: None),
    "price_number": _set_price(lambda price: price),
    "price_object": _set_price(lambda price: {"value": price, "currency": "USD"}),
    "price_zero": _set_price(lambda _: "0.00"),
    "price_negative": _set_price(lambda price: f"-{price:.2f}"),
    "price_absurd": _set_price(lambda _: "999999.99"),
    "price_dollar_text": _set_price(lambda price: f"${price:,.2f}"),
    "price_from_text": _set_price(lambda price: f"from {price:.2f}"),
    "price_missing": _drop_price,
    "price_in_text": _mention_price,
    "html_description": _wrap_in_html,
    "mojibake": _garble,
    "invalid_utf8": _speak_latin,
    "empty_title": _empty_title,
    "title_number": _number_title,
    "features_string": _join_features,
    HUGE_DESCRIPTION: _inflate,
}
