-- What changed last week? What was learnt in the last days, newest first, beside what was believed
-- just before. No value: nobody states it any more. No value before: it was not known.
-- Postgres; %(days)s: how many days back, 7 for a week; %(count)s: how many to show.
WITH learnt AS (
    SELECT series_id, unnest(ARRAY[known_from, known_until]) AS learnt_at
    FROM knowledge.fact_history
),
moments AS (
    SELECT DISTINCT series_id, learnt_at
    FROM learnt
    WHERE learnt_at BETWEEN now() - make_interval(days => %(days)s::int) AND now()
)
SELECT
    m.learnt_at,
    s.subject,
    s.attribute,
    before.value AS value_before,
    after.value,
    CASE
        WHEN after.value IS NULL THEN 'gone'
        WHEN before.value IS NULL THEN 'new'
        ELSE 'changed'
    END AS change
FROM moments AS m
JOIN knowledge.fact_series AS s ON s.series_id = m.series_id
CROSS JOIN LATERAL (
    SELECT string_agg(h.value, '; ' ORDER BY h.value) AS value
    FROM knowledge.fact_history AS h
    WHERE h.series_id = m.series_id
        AND h.known_from < m.learnt_at AND coalesce(h.known_until >= m.learnt_at, true)
        AND h.valid_from < m.learnt_at AND coalesce(h.valid_until >= m.learnt_at, true)
) AS before
CROSS JOIN LATERAL (
    SELECT string_agg(h.value, '; ' ORDER BY h.value) AS value
    FROM knowledge.fact_history AS h
    WHERE h.series_id = m.series_id
        AND h.known_from <= m.learnt_at AND coalesce(h.known_until > m.learnt_at, true)
        AND h.valid_from <= m.learnt_at AND coalesce(h.valid_until > m.learnt_at, true)
) AS after
WHERE after.value IS DISTINCT FROM before.value
ORDER BY m.learnt_at DESC, s.subject, s.attribute
LIMIT %(count)s;
