-- Records what stands in the temporary table observed, and folds the series in which that changes
-- something. Returns how many rows were new or changed. Postgres.
INSERT INTO pg_temp.wanted
SELECT DISTINCT ON (subject, attribute) subject, attribute, kind, cardinality, ttl, connector
FROM pg_temp.observed
ORDER BY subject, attribute, connector IS NULL, observed_at DESC, kind, connector;

-- Every writer adds series in the order of their names, and locks them in that of their numbers.
WITH new AS (
    INSERT INTO knowledge.fact_series (subject, attribute, kind, cardinality, ttl, connector)
    SELECT w.* FROM pg_temp.wanted AS w
    WHERE NOT EXISTS (
        SELECT FROM knowledge.fact_series AS s
        WHERE s.subject = w.subject AND s.attribute = w.attribute
    )
    ORDER BY w.subject, w.attribute
    ON CONFLICT (subject, attribute) DO NOTHING
    RETURNING series_id
)
INSERT INTO pg_temp.outcome (series) SELECT count(*) FROM new;

INSERT INTO pg_temp.locked
SELECT s.series_id, s.subject, s.attribute, s.cardinality <> w.cardinality
FROM knowledge.fact_series AS s JOIN pg_temp.wanted AS w USING (subject, attribute)
ORDER BY s.series_id
FOR UPDATE OF s;

UPDATE knowledge.fact_series AS s SET
    kind = w.kind, cardinality = w.cardinality, ttl = w.ttl,
    connector = coalesce(w.connector, s.connector), next_check_at = NULL
FROM pg_temp.locked AS l JOIN pg_temp.wanted AS w USING (subject, attribute)
WHERE s.series_id = l.series_id
    AND (s.kind, s.cardinality, s.ttl, s.connector)
    IS DISTINCT FROM (w.kind, w.cardinality, w.ttl, coalesce(w.connector, s.connector));

WITH new AS (
    INSERT INTO knowledge.observations (
        series_id, source, valid_from, observed_at, stated, chunk_id, start_character, end_character
    )
    SELECT
        l.series_id, o.source, o.valid_from, o.observed_at, o.stated,
        o.chunk_id, o.start_character, o.end_character
    FROM pg_temp.observed AS o JOIN pg_temp.locked AS l USING (subject, attribute)
    ORDER BY
        l.series_id, o.source, o.valid_from, o.observed_at, o.stated, o.chunk_id, o.start_character
    ON CONFLICT DO NOTHING
    RETURNING series_id, source, valid_from, observed_at, stated
)
INSERT INTO pg_temp.added SELECT * FROM new;

-- A repetition of what its source said before, known before, changes no version: folded leaves it out.
INSERT INTO pg_temp.folding
SELECT c.series_id, array(
    SELECT v.value FROM knowledge.fact_versions AS v
    WHERE v.series_id = c.series_id AND upper_inf(v.recorded) AND v.valid @> now()
    ORDER BY v.value
)
FROM (
    SELECT a.series_id
    FROM pg_temp.added AS a
    LEFT JOIN LATERAL (
        SELECT o.stated, o.observed_at FROM knowledge.observations AS o
        WHERE o.series_id = a.series_id AND o.source = a.source
            AND (o.valid_from, o.observed_at, o.stated) < (a.valid_from, a.observed_at, a.stated)
        ORDER BY o.valid_from DESC, o.observed_at DESC, o.stated DESC
        LIMIT 1
    ) AS before ON true
    WHERE before.stated IS DISTINCT FROM a.stated OR before.observed_at > a.observed_at
    UNION
    SELECT series_id FROM pg_temp.locked WHERE changed
) AS c;

UPDATE pg_temp.outcome SET versions = coalesce((
    SELECT knowledge.fold(array_agg(series_id ORDER BY series_id)) FROM pg_temp.folding
    HAVING count(*) > 0
), 0);

-- A series is verified by the newest statement of a value that is current. A late statement does not
-- take that back; a fold that ends in other values does, for nobody has stated these since.
WITH current AS (
    SELECT l.series_id, f.series_id IS NOT NULL AS folded, f.held, array(
        SELECT v.value FROM knowledge.fact_versions AS v
        WHERE v.series_id = l.series_id AND upper_inf(v.recorded) AND v.valid @> now()
        ORDER BY v.value
    ) AS holds
    FROM pg_temp.locked AS l LEFT JOIN pg_temp.folding AS f USING (series_id)
),
said AS (
    SELECT l.series_id, o.stated, o.observed_at
    FROM pg_temp.observed AS o JOIN pg_temp.locked AS l USING (subject, attribute)
    UNION ALL
    SELECT o.series_id, o.stated, o.observed_at
    FROM pg_temp.folding AS f JOIN knowledge.observations AS o USING (series_id)
),
newest AS (
    SELECT
        c.series_id, c.folded AND c.held <> c.holds AS other,
        max(s.observed_at) FILTER (WHERE c.holds = '{}' OR s.stated && c.holds) AS stated_at
    FROM current AS c JOIN said AS s USING (series_id)
    GROUP BY c.series_id, c.folded, c.held, c.holds
),
verified AS (
    SELECT
        s.series_id, s.next_check_at, s.connector, s.ttl,
        CASE
            WHEN n.other THEN coalesce(n.stated_at, s.verified_at)
            ELSE greatest(n.stated_at, s.verified_at)
        END AS verified_at,
        0.8 + 0.2 / 65535 * (hashtextextended(
            s.subject || s.attribute, extract(epoch FROM n.stated_at)::bigint
        ) & 65535) AS share
    FROM newest AS n JOIN knowledge.fact_series AS s USING (series_id)
)
UPDATE knowledge.fact_series AS s SET
    verified_at = v.verified_at,
    next_check_at = CASE
        WHEN v.connector IS NOT NULL
            THEN greatest(v.next_check_at, v.verified_at + v.ttl * v.share)
    END
FROM verified AS v
WHERE s.series_id = v.series_id AND (
    s.verified_at IS DISTINCT FROM v.verified_at
    OR (s.next_check_at IS NULL AND v.connector IS NOT NULL AND v.ttl IS NOT NULL)
);

SELECT (SELECT count(*) FROM pg_temp.added) AS observations, series, versions FROM pg_temp.outcome;
