-- When the series of listings' prices were verified: one row a time, with how many there are and a
-- sum over all of their subjects. Postgres.
SELECT
    verified_at, count(*) AS rows,
    sum(('x' || left(md5(subject), 10))::bit(40)::bigint)::bigint AS digest
FROM knowledge.fact_series
WHERE attribute = 'price' AND connector = %(connector)s AND verified_at IS NOT NULL
GROUP BY verified_at;
