"""Current facts as lines of a prompt, with their age in words.

Here belongs which of a subject's facts a model is told, and how. What holds and whether it is
fresh is decided in ``facts``; the prices of listings are no such facts, see ``references``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property

import polars as pl

from pricing_platform.facts.sentences import sentence
from pricing_platform.retrieval.documents import normalise_subject

_PRICE = "price"
_DAYS_IN_WORDS = 60


class KnownFacts:
    """The fresh ones of the current facts, by subject: newest first, then by attribute."""

    def __init__(self, facts: pl.DataFrame) -> None:
        self._facts = facts
        self._now = datetime.now(UTC)

    def about(self, subject: str | None, count: int) -> list[str]:
        """At most ``count`` facts of the subject in words; none where nothing fresh is known."""
        return self._lines.get(normalise_subject(subject or ""), [])[:count]

    @cached_property
    def _lines(self) -> dict[str, list[str]]:
        if self._facts.is_empty():
            return {}
        fresh = self._facts.filter(
            (pl.col("freshness") == "fresh") & (pl.col("attribute") != _PRICE)
        ).sort("verified_at", "attribute", "value", descending=[True, False, False])
        lines: dict[str, list[str]] = {}
        for subject, attribute, value, verified_at in fresh.select(
            "subject", "attribute", "value", "verified_at"
        ).iter_rows():
            said = f"{sentence(subject, attribute, value)} (verified {self._age(verified_at)})"
            lines.setdefault(normalise_subject(subject), []).append(said)
        return lines

    def _age(self, verified_at: datetime) -> str:
        return age_in_words((self._now - verified_at).days)


def age_in_words(days: int) -> str:
    """So many days ago: ``today``, ``yesterday``, ``12 days ago``, ``3 months ago``."""
    if days <= 0:
        return "today"
    if days == 1:
        return "yesterday"
    if days <= _DAYS_IN_WORDS:
        return f"{days} days ago"
    return f"{round(days / 30.4)} months ago"
