"""Current facts as lines of a prompt, with their age in words.

Here belongs which of a subject's facts a model is told, and how. What holds and whether it is
fresh is decided in ``facts``; that no price is among them, in ``prompt_knowledge``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from pricing_platform.facts.sentences import sentence
from pricing_platform.pricing.prompting.reference_items import DAY, UNKNOWN_TIME
from pricing_platform.retrieval.documents import normalise_subject

_DAYS_IN_WORDS = 60


@dataclass(frozen=True)
class _Fact:
    """In words; times in microseconds since 1970, ``valid_since`` null where it always held."""

    said: str
    verified_at: int
    valid_since: int | None


class KnownFacts:
    """The fresh ones of the current facts, by subject: what holds the shortest time first.

    So the order does not follow from when they were last verified. Of a fact that several spellings
    of a subject, or several sources, tell alike there is one.
    """

    def __init__(self, facts: pl.DataFrame) -> None:
        self._facts = facts

    def about(self, subject: str | None, count: int, moment: int = UNKNOWN_TIME) -> list[str]:
        """At most ``count`` facts of the subject in words; none where nothing fresh is known.

        Args:
            subject: in whatever case.
            count: how many at most.
            moment: microseconds since 1970; only what held by then is told, with its age as of
                then, or without one where it was verified later. An unknown one stands for now.
        """
        known = self._by_subject.get(normalise_subject(subject or ""), [])
        dated = moment != UNKNOWN_TIME
        now = moment if dated else time.time_ns() // 1000
        held = [at for at in known if at.valid_since is None or at.valid_since <= now]
        return [
            f"{at.said}{'' if dated and at.verified_at > now else _verified(now - at.verified_at)}"
            for at in held[:count]
        ]

    @cached_property
    def _by_subject(self) -> dict[str, list[_Fact]]:
        if self._facts.is_empty():
            return {}
        facts = self._facts
        if "valid_since" not in facts.columns:
            facts = facts.with_columns(valid_since=pl.lit(None, pl.Datetime("us", "UTC")))
        fresh = facts.filter(pl.col("freshness") == "fresh").sort(
            "valid_since",
            "attribute",
            "value",
            "subject",
            "verified_at",
            descending=[True, False, False, False, True],
            nulls_last=True,
        )
        found: dict[str, dict[tuple[str, str], _Fact]] = {}
        for subject, attribute, value, verified_at, valid_since in fresh.select(
            "subject",
            "attribute",
            "value",
            pl.col("verified_at", "valid_since").dt.epoch("us"),
        ).iter_rows():
            fact = _Fact(sentence(subject, attribute, value), verified_at, valid_since)
            found.setdefault(normalise_subject(subject), {}).setdefault((attribute, value), fact)
        return {subject: list(facts.values()) for subject, facts in found.items()}


def _verified(age: int) -> str:
    return f" (verified {age_in_words(age // DAY)})"


def age_in_words(days: int) -> str:
    """So many days ago: ``today``, ``yesterday``, ``12 days ago``, ``3 months ago``."""
    if days <= 0:
        return "today"
    if days == 1:
        return "yesterday"
    if days <= _DAYS_IN_WORDS:
        return f"{days} days ago"
    return f"{round(days / 30.4)} months ago"
