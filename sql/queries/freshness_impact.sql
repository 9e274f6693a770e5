-- Is what is retrieved true after a change? Of the seeded changes of a copy of the documents, after
-- one refresh: the share after which something superseded was served as current (should be 0), that
-- of which the new value is among the first three passages, and that whose old value is still there
-- for the time before.
-- DuckDB.
SELECT
    count(*) AS changes,
    avg(stale_served::DOUBLE) AS stale_serve_rate,
    avg((coalesce(rank, 1000000) <= 3)::DOUBLE) FILTER (WHERE new_value IS NOT NULL) AS new_among_first_3,
    avg(old_as_of::DOUBLE) AS old_as_of_rate
FROM evaluation.freshness_impact;
