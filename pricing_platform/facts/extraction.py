"""What a document states: facts read from its structure and from a few safe sentences.

Here belongs what of all that is found is stated, where it is found more than once. Reading is the
same every time and executes nothing: text is data. Which source said what at which time belongs to
:mod:`pricing_platform.facts.document_statements`, what kind of fact an attribute is to
:mod:`pricing_platform.facts.kinds`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pricing_platform.facts.keyed_facts import VALUE_LIMIT, keyed_facts
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.sentence_facts import sentence_facts
from pricing_platform.facts.text_structure import ABBREVIATIONS, LINE_LIMIT, Found, Statement, Text
from pricing_platform.retrieval.documents import NAME_LIMIT, Document

EXTRACTION_VERSION = "3"
"""Raised when the same documents would give other facts."""

__all__ = ["EXTRACTION_VERSION", "LINE_LIMIT", "VALUE_LIMIT", "Statement", "extract"]

_LIST_BYTES = 1_500  # of all values of a statement: an index holds them
_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_SEMICOLON, _COMMA = re.compile(r";"), re.compile(r",(?=\s|$)")
_END = re.compile(r"(\w{2,20})[.!?](?:\s|$)")
_LAST = re.compile(r"\s+and\s+")
_TWO_NAMES = re.compile(r"\s+and\s+(?=[^\W_a-z])")


def extract(document: Document, rules: FactRules | None = None) -> list[Statement]:
    """The facts that a document states, in the order of their places in it.

    Read are lines of ``**Key:** value`` (in lists too), definition lists, tables of two columns and
    sentences such as "Y was founded by X in 2015". Keyed facts are about the document's subject,
    sentences about whom they name. A key that is a date or a tier says nothing alone and is put
    behind its heading: ``compensation history 2020``, ``pricing basic tier``. Values of more than
    200 characters, names of more than 300 and lines of more than 10,000 are passed over.

    Of several statements of one attribute of one subject the first wins that says no date, or else
    the one with the latest: who holds an office wins over who was appointed to it, of those the one
    appointed last wins, and who resigned from it holds it no longer.

    Of attributes that have several values at a time by the rules, all statements are united, in the
    place of the first, and lists such as "Alpha, Beta and Gamma" taken apart: at semicolons, where
    there are any, or else at commas. Sentences stay whole. What is more than 1,500 bytes of values
    is passed over.
    """

    def has_several(attribute: str) -> bool:
        return rules is not None and rules.cardinality_of(attribute) == "multi"

    text = Text(document.content)
    found = list(sentence_facts(text))
    if document.subject:
        found += keyed_facts(text, document.subject, has_several)
    decided = [
        statement
        for (_, attribute), same in _by_series(found).items()
        for statement in (_united(same) if has_several(attribute) else _decided(same))
    ]
    return sorted(decided, key=lambda at: (at.start_character, at.attribute))


def _by_series(found: list[Found]) -> dict[tuple[str, str], list[Found]]:
    """What is found of each attribute of each subject, in the order of its places."""
    by_series: dict[tuple[str, str], list[Found]] = {}
    for at in sorted(found, key=lambda at: at.statement.start_character):
        series = (at.statement.subject, at.statement.attribute)
        if max(map(len, series)) <= NAME_LIMIT:
            by_series.setdefault(series, []).append(at)
    return by_series


def _decided(same: Sequence[Found]) -> Iterator[Statement]:
    """The one statement of an attribute that has one value at a time."""
    resigned = {at.resigned.casefold() for at in same if at.resigned}
    holding = [
        at
        for at in same
        if not at.resigned
        and not resigned.intersection(value.casefold() for value in at.statement.values)
    ]
    decided = min(holding or [at for at in same if at.resigned], key=_precedence)
    yield replace(decided.statement, ended=decided.resigned)


def _united(same: Sequence[Found]) -> Iterator[Statement]:
    """The statements of an attribute that has several values at a time, as one."""
    values, size = [], 0
    items = (item for at in same for value in at.statement.values for item in _items(value))
    for value in dict.fromkeys(items):
        size += len(value.encode()) + 8
        if size <= _LIST_BYTES:
            values.append(value)
    if values:
        yield replace(same[0].statement, values=tuple(values))


def _items(value: str) -> Iterator[str]:
    """The items of a list, or the value itself: sentences are no lists."""
    is_prose = any(found[1] not in ABBREVIATIONS for found in _END.finditer(value))
    parts = [value] if is_prose else _split(value, _SEMICOLON)
    if not is_prose and len(parts) == 1:
        *others, last = _split(value, _COMMA)
        is_marked = last.lstrip().startswith("and ")
        parts = [*others, *([last] if is_marked else _split(last, _LAST if others else _TWO_NAMES))]
    if len(parts) > 1:
        parts[-1] = parts[-1].lstrip().removeprefix("and ")
    for item in map(str.strip, parts):
        if len(item) <= VALUE_LIMIT and any(map(str.isalnum, item)):
            yield item


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """The parts of a text between separators that stand in no brackets."""
    closed = [match.span() for match in _BRACKETED.finditer(text)]
    parts, begin = [], 0
    for match in separator.finditer(text):
        if not any(start < match.start() < end for start, end in closed):
            parts.append(text[begin : match.start()])
            begin = match.end()
    return [*parts, text[begin:]]


def _precedence(at: Found) -> tuple[bool, float, bool, int]:
    since = at.statement.valid_from
    newest = -since.timestamp() if since else math.inf
    is_now = not (at.appointed or since)
    return not is_now, newest, at.appointed, at.statement.start_character
