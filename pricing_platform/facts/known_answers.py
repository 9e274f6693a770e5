"""Questions whose answer is a fact that holds now: to see whether a model that writes keeps it.

Here belongs choosing them. Answering questions that people ask belongs to ``answers``.
"""

from __future__ import annotations

from pricing_platform.facts.answers import FoundAnswer
from pricing_platform.facts.sentences import name_of, sentence
from pricing_platform.facts.written_answers import AnswerGuard
from pricing_platform.stores.postgres import Postgres

_LONGEST_VALUE = 60  # characters: a longer one is a text
# Of each subject one before a second of any, so that the sample is not all about a few. What has
# changed comes first: a model can go wrong there in one way more.
_KNOWN = """
WITH known AS (
    SELECT
        f.*,
        (SELECT count(*) FROM knowledge.fact_versions AS v WHERE v.series_id = f.series_id) AS told
    FROM knowledge.current_facts AS f
    WHERE f.connector IS DISTINCT FROM 'snapshot_folder' AND f.cardinality = 'single'
        AND length(f.value) <= %(longest)s
),
undisputed AS (
    SELECT * FROM known WHERE series_id NOT IN (
        SELECT series_id FROM knowledge.differing((SELECT array_agg(series_id) FROM known))
    )
),
ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY subject ORDER BY told DESC, md5(subject || attribute)
    ) AS place
    FROM undisputed
)
SELECT * FROM ranked ORDER BY place, md5(subject || attribute), value LIMIT %(count)s
"""


def known_answers(postgres: Postgres, count: int) -> list[AnswerGuard]:
    """So many questions about current facts, as their answers are found; the same at every call."""
    rows = postgres.frame(_KNOWN, {"longest": _LONGEST_VALUE, "count": count})
    guards = []
    for row in rows.iter_rows(named=True):
        subject, attribute, value = row["subject"], row["attribute"], row["value"]
        found = FoundAnswer(
            question=f"I would like to know this about {name_of(subject)}: {attribute}.",
            answer=value,
            statement=sentence(subject, attribute, value),
            origin="fact",
            source=row["source"],
            valid_since=row["valid_since"],
            last_verified=row["verified_at"],
            freshness=row["freshness"],
            series_id=row["series_id"],
            passages=(),
        )
        guards.append(AnswerGuard.of(postgres, found))
    return guards
