-- Which source fails? Checks of the last days by connector: how many failed, how many facts are in
-- trouble now, and what the last failure was. No rows: nothing was checked.
-- Postgres; %(days)s: how many days back.
SELECT
    checks.connector,
    count(*) AS checks,
    count(*) FILTER (WHERE checks.outcome = 'failed') AS failed,
    round(100.0 * count(*) FILTER (WHERE checks.outcome = 'failed') / count(*), 1)
        AS percent_failed,
    count(DISTINCT checks.series_id) FILTER (WHERE series.failures > 0) AS facts_failing_now,
    max(checks.checked_at) FILTER (WHERE checks.outcome = 'failed') AS last_failed_at,
    max(checks.checked_at) FILTER (WHERE checks.outcome <> 'failed') AS last_answered_at,
    (array_agg(checks.detail ORDER BY checks.checked_at DESC)
        FILTER (WHERE checks.outcome = 'failed'))[1] AS last_failure,
    round(percentile_cont(0.95) WITHIN GROUP (ORDER BY checks.seconds)::numeric, 3) AS seconds_p95
FROM knowledge.checks AS checks
JOIN knowledge.fact_series AS series ON series.series_id = checks.series_id
WHERE checks.checked_at >= now() - make_interval(days => %(days)s::int)
GROUP BY checks.connector
ORDER BY failed DESC, checks.connector;
