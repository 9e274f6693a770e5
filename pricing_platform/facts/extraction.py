"""What a document states: facts read from its structure and from a few safe sentences.

Here belongs what of all that is found is stated, where it is found more than once. Reading is the
same every time and executes nothing: text is data. Which source said what at which time belongs to
:mod:`pricing_platform.facts.documents`, what kind of fact an attribute is to
:mod:`pricing_platform.facts.kinds`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pricing_platform.facts.keyed_facts import VALUE_LIMIT, keyed_facts
from pricing_platform.facts.text_structure import LINE_LIMIT, Found, Statement, Text
from pricing_platform.facts.told_facts import told_facts
from pricing_platform.retrieval.documents import NAME_LIMIT, Document

EXTRACTION_VERSION = "2"
"""Raised when the same documents would give other facts."""

__all__ = ["EXTRACTION_VERSION", "LINE_LIMIT", "VALUE_LIMIT", "Statement", "extract"]


def extract(document: Document) -> list[Statement]:
    """The facts that a document states, in the order of their places in it.

    Read are lines of ``**Key:** value`` (in lists too), definition lists, tables of two columns and
    sentences such as "Y was founded by X in 2015". Keyed facts are about the document's subject,
    sentences about whom they name. A key that is a date or a tier says nothing alone and is put
    behind its heading: ``compensation history 2020``, ``pricing basic tier``. Values of more than
    200 characters, names of more than 300 and lines of more than 10,000 are passed over.

    Of several statements of one attribute of one subject the first wins that says no date, or else
    the one with the latest: who holds an office wins over who was appointed to it, of those the one
    appointed last wins, and who resigned from it holds it no longer.
    """
    text = Text(document.content)
    found = list(told_facts(text))
    if document.subject:
        found += keyed_facts(text, document.subject)
    return sorted(_decided(found), key=lambda at: (at.start_character, at.attribute))


def _decided(found: list[Found]) -> Iterator[Statement]:
    """One statement for each attribute of each subject."""
    by_series: dict[tuple[str, str], list[Found]] = {}
    for at in found:
        series = (at.statement.subject, at.statement.attribute)
        if max(map(len, series)) <= NAME_LIMIT:
            by_series.setdefault(series, []).append(at)
    for same in by_series.values():
        resigned = {at.resigned.casefold() for at in same if at.resigned}
        holding = [
            at
            for at in same
            if not at.resigned
            and not resigned.intersection(value.casefold() for value in at.statement.values)
        ]
        yield min(holding or [at for at in same if at.resigned], key=_precedence).statement


def _precedence(at: Found) -> tuple[bool, float, bool, int]:
    since = at.statement.valid_from
    newest = -since.timestamp() if since else math.inf
    is_now = not (at.appointed or since)
    return not is_now, newest, at.appointed, at.statement.start_character
