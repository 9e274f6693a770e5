"""Reading what is known: the facts of a subject, and how old what is known is.

Here belong questions to which the answer is a frame of facts. How passages and facts are found for
a question in words belongs to :mod:`pricing_platform.retrieval.search`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from pricing_platform.errors import PlatformError
from pricing_platform.retrieval.documents import normalise_subject
from pricing_platform.stores.postgres import Postgres

_SUGGESTIONS = 5
_CURRENT = """
WITH series AS MATERIALIZED (
    SELECT series_id FROM knowledge.fact_series WHERE subject = %(subject)s
),
differing AS MATERIALIZED (
    SELECT series_id, string_agg(value || ' (' || source || ')', '; ' ORDER BY source) AS said
    FROM knowledge.differing((SELECT array_agg(series_id) FROM series))
    WHERE NOT holds GROUP BY series_id
)
SELECT
    attribute, value, kind, CASE WHEN said IS NULL THEN freshness ELSE 'disputed' END AS freshness,
    valid_since, verified_at, source, next_check_at, failures, last_failure, said AS differing
FROM knowledge.current_facts LEFT JOIN differing USING (series_id)
WHERE series_id IN (SELECT series_id FROM series)
ORDER BY attribute, value
"""
_AS_OF = """
SELECT attribute, value, kind, valid_from, valid_until, known_from, known_until, source
FROM knowledge.facts_as_of(%(valid_at)s, %(known_at)s)
WHERE subject = %(subject)s
ORDER BY attribute, value
"""
_HISTORY = """
SELECT attribute, value, kind, valid_from, valid_until, known_from, known_until, source
FROM knowledge.fact_history
WHERE subject = %(subject)s
ORDER BY attribute, valid_from, known_from, value
"""
_BY_KIND = """
SELECT
    kind,
    count(*) AS facts,
    count(*) FILTER (WHERE freshness = 'fresh') AS fresh,
    count(*) FILTER (WHERE freshness = 'stale') AS stale,
    count(*) FILTER (WHERE freshness = 'expired') AS expired,
    min(verified_at) AS oldest
FROM knowledge.current_facts
GROUP BY kind
ORDER BY kind
"""
_OLDEST = "SELECT min(verified_at) FROM knowledge.current_facts WHERE ttl IS NOT NULL"
_KNOWN = "SELECT 1 FROM knowledge.fact_series WHERE subject = %s LIMIT 1"
# Those with the most three-letter pieces in common; a prefix or a part of the name comes first.
_CLOSEST = """
WITH asked AS (
    SELECT DISTINCT substring('  ' || %(subject)s || ' ' FROM i FOR 3) AS piece
    FROM generate_series(1, length(%(subject)s) + 1) AS i
),
subjects AS (
    SELECT DISTINCT subject FROM knowledge.fact_series WHERE attribute <> 'price'
)
SELECT subject
FROM subjects
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE strpos('  ' || subject || ' ', piece) > 0) AS common FROM asked
) AS pieces
WHERE common > 1 OR strpos(subject, %(subject)s) > 0
ORDER BY
    strpos(subject, %(subject)s) = 0,
    common / (length(subject) + length(%(subject)s) + 2.0 - common) DESC, subject
LIMIT %(count)s
"""


def facts_of(
    postgres: Postgres,
    subject: str,
    *,
    history: bool = False,
    valid_at: datetime | None = None,
    known_at: datetime | None = None,
) -> pl.DataFrame:
    """What is known of a subject, by attribute and value.

    Args:
        postgres: where the facts are.
        subject: by its name, normalised or not.
        history: all that was ever believed, in place of what is current.
        valid_at: what held then, in place of now.
        known_at: as far as was known then, in place of now.

    Returns:
        ``attribute``, ``value``, ``kind`` and ``source``. Of what is current, ``freshness``,
        ``valid_since``, ``verified_at``, ``next_check_at``, ``failures``, ``last_failure`` and
        ``differing``: what other sources say that are not known to be older, for which the
        freshness is ``disputed``; of what held at another time or of the history, ``valid_from``,
        ``valid_until``, ``known_from`` and ``known_until``, where null is without an end. No rows
        where nothing held.

    Raises:
        PlatformError: when nothing was ever known of the subject; it names those most like it.
    """
    name = normalise_subject(subject)
    if history and (valid_at or known_at):
        raise PlatformError(
            "The history has what was believed at any time.", "Ask for it without a time."
        )
    for time in (valid_at, known_at):
        if time is not None and time.tzinfo is None:
            raise PlatformError(f"The time {time} has no time zone.", "Give it one.")
    now = datetime.now(UTC)
    as_of = valid_at is not None or known_at is not None
    query = _HISTORY if history else _AS_OF if as_of else _CURRENT
    times = {"valid_at": valid_at or now, "known_at": known_at or now} if as_of else {}
    found = postgres.frame(query, {"subject": name, **times})
    if found.is_empty() and postgres.frame(_KNOWN, [name]).is_empty():
        raise _unknown(postgres, subject, name)
    return found


def facts_past_time_to_live(postgres: Postgres) -> pl.DataFrame:
    """How old the current facts are, a row a kind.

    Returns:
        ``kind``, ``facts``, ``fresh``, ``stale``, ``expired`` (past twice the time to live) and
        ``oldest``: when the one was verified that was verified longest ago.
    """
    return postgres.frame(_BY_KIND)


def oldest_observation(postgres: Postgres) -> datetime | None:
    """When the current fact was verified that was so longest ago; None where none can go stale."""
    found: datetime | None = postgres.frame(_OLDEST).item()
    return found


def closest_subjects(postgres: Postgres, subject: str) -> list[str]:
    """Subjects whose names are most like this one, the closest first; products are left out."""
    name = normalise_subject(subject)
    if not name:
        return []
    return postgres.frame(_CLOSEST, {"subject": name, "count": _SUGGESTIONS})["subject"].to_list()


def _unknown(postgres: Postgres, subject: str, name: str) -> PlatformError:
    close = closest_subjects(postgres, name)
    return PlatformError(
        f"Nothing is known of {subject!r}.",
        f"Is it one of these? {', '.join(close)}"
        if close
        else "Nothing is called alike: `pricing-platform run` reads the documents and listings of"
        " sources.toml.",
    )
