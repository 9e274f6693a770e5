"""Facts with a key: lines of ``**Key:** value``, definition lists, tables of two columns.

Here belongs which keys name an attribute, and what its value is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pricing_platform.facts.kinds import normalise_attribute
from pricing_platform.facts.text_structure import (
    MARKER,
    MONTHS,
    TOP_LEVEL,
    Block,
    Found,
    Statement,
    Text,
    plain,
    words,
)

VALUE_LIMIT = 200
"""Characters of a value: what is longer is a clause, not a value."""

LIST_LIMIT = 1_500
"""Characters of a list of values."""

_RAW_LIMIT = 2 * LIST_LIMIT

_KEY = re.compile(
    r"(?P<mark>\*\*|__)(?P<key>[^\n*_:]{1,80})(?::(?P=mark)|(?P=mark)[ \t]{0,9}:)[ \t]*"
)
_BOLD = re.compile(r"\*\*(?P<name>[^\n*:]{1,80})(?::?\*\*)[ \t]*")
_DEFINITION = re.compile(r"[ \t>]*:[ \t]+")
_HARD_BREAK = re.compile(r"(?:  |\\)$")
_ENDS_VALUE = re.compile(r"[ \t>]*(?:[*_]|:[ \t])")

_PERIOD_WORDS = words(
    "sept present today now to since until spring summer autumn fall winter year month and fy"
).union(*((name.casefold(), name[:3].casefold()) for name in MONTHS))
_PERIOD_PART = re.compile(r"\d{1,4}|(?:fy|q|h)\d{1,4}")
_TIERS = words("tier plan edition package level grade class option membership subscription")
_PRICES = words("price pricing fee cost")
_GENERIC = words("name title date signature signed by place")
"""Keys that say nothing without what stands above them."""
_NO_HEADING = words(
    "attribute detail details fact field item key property specification value information"
) | {""}
_HEADCOUNT = frozenset({"employees", "number of employees", "headcount", "staff"})
_AMOUNT = re.compile(
    r"(?:(?:starting at|starts at|from|about) )?[$€£]\d[\d,]*(?:\.\d+)?[KMBkmb]?\b"
    r"(?: ?/ ?[a-z]{1,12}| (?:per|a) [a-z]{1,12}){0,3}",
    re.IGNORECASE,
)


def keyed_facts(text: Text, subject: str, is_list: Callable[[str], bool]) -> Iterator[Found]:
    """The facts about the subject that stand behind a key in the text.

    A list is given as one value, of ``LIST_LIMIT`` characters at most.
    """
    for key in _keys(text):
        value, (start, end) = key.value, key.characters
        attribute = key.attribute()
        if attribute in _HEADCOUNT and value[:1].isdigit():
            attribute = "employee count"
        if key.is_offer and (amount := _AMOUNT.match(value)):
            value = amount.group()
        if not attribute or not _is_value(value):
            continue
        if len(value) <= VALUE_LIMIT or is_list(attribute):
            yield Found(Statement(subject, attribute, (value,), start, end))


def _is_value(text: str) -> bool:
    """Whether a text says something: it is no gap to be filled in, and announces no list."""
    placeholder = (text.startswith("[") and text.endswith("]")) or text.endswith(":")
    return (
        len(text) <= LIST_LIMIT
        and "\0" not in text
        and not placeholder
        and any(character.isalnum() for character in text)
    )


@dataclass(frozen=True)
class _Key:
    """A key with what is written for it, below a heading or a key that is over it."""

    key: str
    above: str
    value: str
    characters: tuple[int, int]
    is_below_key: bool = False

    @property
    def is_offer(self) -> bool:
        """Whether it names something that has a price, or the price."""
        return normalise_attribute(self.key).rpartition(" ")[2] in _TIERS | _PRICES

    def attribute(self) -> str:
        """The attribute's name; empty where the key alone says nothing."""
        name = normalise_attribute(plain(self.key))
        if not name or not (self.is_below_key or _needs_heading(name)):
            return name
        above = normalise_attribute(plain(self.above))
        if not above:
            return "" if _is_period(name) else name
        return normalise_attribute(f"{above} {name}")


def _needs_heading(name: str) -> bool:
    return _is_period(name) or name in _GENERIC or name.rpartition(" ")[2] in _TIERS


def _is_period(name: str) -> bool:
    words = re.findall(r"\w+", name)
    return any(word[-1].isdigit() for word in words) and all(
        word in _PERIOD_WORDS or _PERIOD_PART.fullmatch(word) for word in words
    )


def _keys(text: Text) -> Iterator[_Key]:
    """All keys: those of a list below the key of its item, others below a line in bold."""
    above: dict[int, str] = {}
    bold, heading, term = "", "", ""
    for block in text.blocks:
        if block.heading != heading:
            above, bold, heading = {}, "", block.heading
        if block.cells:
            yield from _row(text, block)
            continue
        above = {level: key for level, key in above.items() if level < block.level}
        over = above[max(above)] if above else ""
        number = block.first
        while number < block.last:
            marked = MARKER.match(text.lines[number])
            begin = marked.end() if marked else 0
            keyed = _KEY.match(text.lines[number], begin)
            defined = _DEFINITION.match(text.lines[number])
            match = keyed or (defined if term else None)
            if match is None:
                named = _BOLD.fullmatch(text.lines[number], begin)
                bold = named["name"] if named else bold
                term = text.lines[number].strip()[: VALUE_LIMIT + 1]
                number += 1
                continue
            after = _last_line(text, block, number) + 1
            key = _Key(
                keyed["key"] if keyed else term,
                over or bold or heading,
                *_value(text, number, match.end(), after),
                is_below_key=bool(over),
            )
            if len(key.key) <= VALUE_LIMIT // 2:
                yield key
            if block.level > TOP_LEVEL:
                above[block.level] = key.attribute() or key.key
            elif not key.value:
                bold = key.key
            term, number = "", after


def _last_line(text: Text, block: Block, number: int) -> int:
    """The last line of a value that begins in a line: the paragraph's text goes on below it."""
    while (
        number + 1 < block.last
        and not _HARD_BREAK.search(text.lines[number])
        and not _ENDS_VALUE.match(text.lines[number + 1])
        and not (number + 2 < block.last and _DEFINITION.match(text.lines[number + 2]))
    ):
        number += 1
    return number


def _value(text: Text, number: int, column: int, after: int) -> tuple[str, tuple[int, int]]:
    """The value between a column of a line and another line, cleaned, and where it stands."""
    start = text.starts[number] + column
    end = text.starts[after - 1] + len(text.lines[after - 1])
    return _cleaned(text.content, start, max(start, end))


def _cleaned(content: str, start: int, end: int) -> tuple[str, tuple[int, int]]:
    written = content[start : min(end, start + _RAW_LIMIT + 1)]
    start += len(written) - len(written.lstrip())
    end = start + len(written.strip()) if len(written) <= _RAW_LIMIT else end
    too_long = "" if len(written) > _RAW_LIMIT else plain(written.strip())
    return too_long, (start, end)


def _row(text: Text, block: Block) -> Iterator[_Key]:
    """The second cell of a row under the first; what stands above is the column's own heading."""
    line, key, written = text.lines[block.first], block.cells[0], block.cells[1]
    column = line.find(written, line.find(key) + len(key)) if written else -1
    if column < 0:
        return
    start = text.starts[block.first] + column
    first, second = (plain(cell).casefold() for cell in block.header)
    above = block.heading if second in _NO_HEADING else second
    yield _Key(
        key,
        above,
        *_cleaned(text.content, start, start + len(written)),
        is_below_key=first not in _NO_HEADING and bool(above),
    )
