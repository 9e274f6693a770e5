"""The fold of observations as its definition says it, one pair of times after the other.

``held`` asks the definition at a time in the world and a time of our knowledge; ``breakpoints``
names the times at which anything can change, so that asking at and between them asks everywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise


@dataclass(frozen=True, order=True)
class Said:
    """One observation of a series."""

    source: str
    valid_from: datetime
    observed_at: datetime
    stated: tuple[str, ...]


@dataclass(frozen=True)
class _Statement:
    """What a source says at a time, since when it holds, and since when we have known it."""

    source: str
    valid_from: datetime
    observed_at: datetime
    stated: tuple[str, ...]


def held(
    observations: Sequence[Said], cardinality: str, valid: datetime, known: datetime
) -> frozenset[str]:
    """The values that hold at ``valid``, as far as was known at ``known``."""
    statements = [
        statement
        for source in {o.source for o in observations}
        if (statement := _says([o for o in observations if o.source == source], valid, known))
        and statement.stated
    ]
    if cardinality == "multi":
        return frozenset(value for s in statements for value in s.stated)
    if not statements:
        return frozenset()
    newest = max((s.valid_from, s.observed_at) for s in statements)
    tied = [s for s in statements if (s.valid_from, s.observed_at) == newest]
    return frozenset({min(tied, key=lambda s: s.source).stated[0]})


def breakpoints(observations: Sequence[Said]) -> tuple[list[datetime], list[datetime]]:
    """Times in the world and times of our knowledge: each change, and the middles between."""
    valid = sorted({o.valid_from for o in observations})
    known = sorted({o.observed_at for o in observations})
    return _and_between(valid), _and_between(known)


def _says(observations: list[Said], valid: datetime, known: datetime) -> _Statement | None:
    """What one source says: its last word for each time it spoke of, the latest of those times."""
    words: dict[datetime, list[Said]] = defaultdict(list)
    for o in observations:
        if o.observed_at <= known:
            words[o.valid_from].append(o)
    statement: _Statement | None = None
    for valid_from in sorted(words):
        if valid_from > valid:
            break
        last = max(words[valid_from], key=lambda o: (o.observed_at, o.stated))
        if statement is None or statement.stated != last.stated:
            since = _known_since(words[valid_from], last)
            statement = _Statement(last.source, valid_from, since, last.stated)
    return statement


def _known_since(words: list[Said], last: Said) -> datetime:
    """Since when the source has said nothing else of that time: to repeat it is no news."""
    since = last.observed_at
    for o in sorted(words, key=lambda o: (o.observed_at, o.stated), reverse=True):
        if o.stated != last.stated:
            break
        since = o.observed_at
    return since


def _and_between(times: list[datetime]) -> list[datetime]:
    middles = [a + (b - a) / 2 for a, b in pairwise(times)]
    day = timedelta(days=1)
    return sorted({times[0] - day, *times, *middles, times[-1] + day})
