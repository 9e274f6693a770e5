"""Which of the places in a document that may hold its rows does.

Here belongs the choice. Finding the places belongs to ``json_documents`` and ``xml_documents``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pricing_platform.errors import PlatformError

_MOST_KEYS = 200
_ENOUGH_COLUMNS = 2
_ALIKE = 0.5
"""The share of their keys that two kinds of rows share where they may be taken for one another."""


@dataclass
class Place:
    """A place in a document where objects stand one after the other.

    ``path`` as ``rows_at`` in sources.toml names it; ``around``: the places that it is within;
    ``columns``: those of the wanted columns that its rows have; ``keys``: of the first of them.
    """

    path: str
    around: frozenset[str]
    rows: int = 0
    columns: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    def see(self, key: str, wanted: Collection[str]) -> None:
        """Notes a key of the current row; ``wanted`` as :func:`plain` gives it."""
        if self.rows == 1 and len(self.keys) < _MOST_KEYS:
            self.keys.add(key)
        if wanted and (name := plain(key)) in wanted:
            self.columns.add(name)


def plain(column: str) -> str:
    """A column's name without what may differ: capitals, blanks, a prefix of XML."""
    return re.sub(r"^\w+:(?=\w)", "", column.strip().casefold()).replace(" ", "_")


def chosen_place(file: Path, places: Sequence[Place], wanted: Collection[str]) -> Place:
    """The place with most of the wanted columns, and of equals the one that comes first.

    Objects that are part of a row are none themselves, unless they have what is wanted and the row
    has not.

    Args:
        file: what is told of.
        places: one or more, in the order in which they are preferred.
        wanted: the columns.

    Raises:
        PlatformError: when another place may be meant as well.
    """
    rows = [
        place
        for place in places
        if all(
            _are_rather_rows(place, outer, wanted) for outer in places if outer.path in place.around
        )
    ]
    most = max(len(place.columns) for place in rows)
    first, *others = (place for place in rows if len(place.columns) == most)
    others = [place for place in others if most or _are_alike(first, place)]
    if not others:
        return first
    told = ", ".join(f"{place.path} ({place.rows:,})" for place in [first, *others])
    raise PlatformError(
        f"{file} has rows in several places: {told}.",
        f'Say in sources.toml which are meant, as rows_at = "{first.path}".',
    )


def declared_place(file: Path, places: Sequence[Place], declared: str) -> Place:
    """The place that is declared.

    Raises:
        PlatformError: when it holds no row.
    """
    for place in places:
        if place.path == declared:
            return place
    told = ", ".join(f"{place.path} ({place.rows:,})" for place in places)
    raise PlatformError(
        f'{file} has no rows at rows_at = "{declared}".',
        f"There are rows at: {told}." if told else "There are none anywhere in the file.",
    )


def _are_rather_rows(inner: Place, outer: Place, wanted: Collection[str]) -> bool:
    has_enough = len(inner.columns) >= min(_ENOUGH_COLUMNS, len(wanted))
    return has_enough and inner.columns > outer.columns


def _are_alike(one: Place, other: Place) -> bool:
    return len(one.keys & other.keys) >= _ALIKE * len(one.keys | other.keys)
