-- What did we believe on a date? The facts that held then, as far as was known then; and whether we
-- know by now that something else was true on that day.
-- Postgres; %(date)s: the date, as 2026-01-31 (its first moment, in UTC); %(count)s: how many to show.
WITH moment AS (
    SELECT %(date)s::timestamp AT TIME ZONE 'UTC' AS at
),
known_now AS (
    SELECT f.series_id, f.value FROM moment AS m, knowledge.facts_as_of(m.at, now()) AS f
)
SELECT
    f.subject,
    f.attribute,
    f.value,
    f.valid_from AS held_since,
    f.known_from AS known_since,
    f.source,
    NOT EXISTS (
        SELECT FROM known_now AS k WHERE k.series_id = f.series_id AND k.value = f.value
    ) AS was_wrong
FROM moment AS m, knowledge.facts_as_of(m.at, m.at) AS f
ORDER BY f.subject, f.attribute, f.value
LIMIT %(count)s;
