-- For how long the listings' prices are fresh, by their source, where that is declared otherwise than
-- it stands. The rows are locked in the order of their numbers. Postgres; parameters: the sources,
-- their times to live, the connector.
WITH declared AS MATERIALIZED (
    SELECT s.series_id, d.life
    FROM knowledge.fact_series AS s
    JOIN unnest(%(sources)s::text[], %(lives)s::interval[]) AS d (source, life)
        ON s.ttl IS DISTINCT FROM d.life
    WHERE s.attribute = 'price' AND s.connector = %(connector)s AND EXISTS (
        SELECT FROM knowledge.observations AS o
        WHERE o.series_id = s.series_id AND o.source = d.source
    )
    ORDER BY s.series_id
    FOR UPDATE OF s
)
UPDATE knowledge.fact_series AS s SET ttl = d.life
FROM declared AS d
WHERE s.series_id = d.series_id;
