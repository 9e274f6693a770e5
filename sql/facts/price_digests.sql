-- What stands of the listings' prices: one row a source and time, with how many values were observed
-- then and a sum over all of them. Postgres; parameters: the sources.
SELECT
    o.source, o.observed_at,
    count(*) FILTER (WHERE o.valid_from = o.observed_at AND o.stated <> '{}') AS rows,
    coalesce(sum(('x' || left(md5(s.subject || ' ' || o.stated[1]), 10))::bit(40)::bigint) FILTER (
        WHERE o.valid_from = o.observed_at AND o.stated <> '{}'
    ), 0)::bigint AS digest
FROM knowledge.observations AS o
JOIN knowledge.fact_series AS s USING (series_id)
WHERE s.attribute = 'price' AND o.source = ANY(%(sources)s)
GROUP BY o.source, o.observed_at;
