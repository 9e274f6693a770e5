-- Prices that were seen again and are what is current: that verifies them, and changes nothing else.
-- Works on the temporary table confirmed; the rows are locked in the order of their numbers. Postgres.
WITH seen AS MATERIALIZED (
    SELECT
        s.series_id, c.observed_at, s.connector, s.next_check_at,
        c.observed_at + s.ttl * (0.8 + 0.2 / 65535 * (hashtextextended(
            s.subject || s.attribute, extract(epoch FROM c.observed_at)::bigint
        ) & 65535)) AS due_at
    FROM pg_temp.confirmed AS c
    JOIN knowledge.fact_series AS s ON s.subject = c.subject AND s.attribute = 'price'
    WHERE coalesce(s.verified_at < c.observed_at, true)
    AND EXISTS (
        SELECT FROM knowledge.fact_versions AS v
        WHERE v.series_id = s.series_id AND v.value = c.value AND upper_inf(v.recorded)
            AND lower(v.valid) <= now() AND coalesce(upper(v.valid) > now(), true)
    )
    ORDER BY s.series_id
    FOR UPDATE OF s
)
UPDATE knowledge.fact_series AS s SET
    verified_at = n.observed_at,
    -- Only a newer snapshot tells more of what is old already: then there is nothing to ask.
    next_check_at = CASE
        WHEN n.connector IS NOT NULL AND n.due_at > now()
            THEN greatest(n.next_check_at, n.due_at)
    END
FROM seen AS n
WHERE s.series_id = n.series_id;
