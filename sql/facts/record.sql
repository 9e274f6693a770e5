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
INSERT INTO pg_temp.outcome (series, new) SELECT count(*), array_agg(series_id) FROM new;

INSERT INTO pg_temp.locked
SELECT s.series_id, s.subject, s.attribute, s.cardinality <> w.cardinality
FROM knowledge.fact_series AS s JOIN pg_temp.wanted AS w USING (subject, attribute)
ORDER BY s.series_id
FOR UPDATE OF s;

-- What is declared to be asked for over HTTP stays so, whoever else states it.
UPDATE knowledge.fact_series AS s SET
    kind = w.kind, cardinality = w.cardinality, ttl = w.ttl,
    connector = coalesce(w.connector, s.connector), next_check_at = NULL
FROM pg_temp.locked AS l JOIN pg_temp.wanted AS w USING (subject, attribute)
WHERE s.series_id = l.series_id
    AND (s.connector IS NULL OR s.connector = w.connector OR NOT starts_with(s.connector, 'http:'))
    AND (s.kind, s.cardinality, s.ttl, s.connector)
    IS DISTINCT FROM (w.kind, w.cardinality, w.ttl, coalesce(w.connector, s.connector));

UPDATE knowledge.fact_series AS s SET cardinality = w.cardinality
FROM pg_temp.locked AS l JOIN pg_temp.wanted AS w USING (subject, attribute)
WHERE s.series_id = l.series_id AND l.changed AND s.cardinality <> w.cardinality;

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
INSERT INTO pg_temp.folding (series_id, held)
WITH telling AS (
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
)
SELECT t.series_id, coalesce(array_agg(v.value ORDER BY v.value) FILTER (WHERE v.value IS NOT NULL), '{}')
FROM telling AS t LEFT JOIN knowledge.fact_versions AS v
    ON v.series_id = t.series_id AND upper_inf(v.recorded)
    AND lower(v.valid) <= now() AND coalesce(upper(v.valid) > now(), true)
GROUP BY t.series_id;

-- What the fold of a new series is that one source tells in order, each value since it was observed:
-- a value holds from then on until the next is known, and is known to have held until then.
WITH simple AS (
    SELECT a.series_id
    FROM pg_temp.added AS a
    JOIN pg_temp.locked AS l USING (series_id)
    JOIN pg_temp.wanted AS w USING (subject, attribute)
    WHERE a.series_id IN (SELECT unnest(new) FROM pg_temp.outcome) AND w.cardinality = 'single'
    GROUP BY a.series_id
    HAVING min(a.source) = max(a.source) AND bool_and(a.valid_from = a.observed_at)
        AND count(*) = count(DISTINCT a.observed_at)
),
told AS (
    SELECT series_id, source, observed_at, stated[1] AS value, lag(stated[1]) OVER (
        PARTITION BY series_id ORDER BY observed_at
    ) AS before
    FROM pg_temp.added JOIN simple USING (series_id)
),
spans AS (
    SELECT series_id, source, value, observed_at AS since, lead(observed_at) OVER (
        PARTITION BY series_id ORDER BY observed_at
    ) AS until
    FROM told WHERE value IS DISTINCT FROM before
),
written AS (
    INSERT INTO knowledge.fact_versions (series_id, slot, value, source, valid, recorded)
    SELECT series_id, 0, value, source, tstzrange(since, valid_until), tstzrange(known, known_until)
    FROM spans
    CROSS JOIN LATERAL (
        VALUES (NULL::timestamptz, since, until), (until, until, NULL::timestamptz)
    ) AS v (valid_until, known, known_until)
    WHERE value IS NOT NULL AND known IS NOT NULL
    ORDER BY series_id, known
    RETURNING series_id
),
done AS (
    UPDATE pg_temp.folding AS f SET simple = true FROM simple AS s WHERE s.series_id = f.series_id
)
UPDATE pg_temp.outcome SET versions = (SELECT count(*) FROM written);

UPDATE pg_temp.outcome SET versions = versions + coalesce((
    SELECT knowledge.fold(array_agg(series_id ORDER BY series_id))
    FROM pg_temp.folding WHERE NOT simple HAVING count(*) > 0
), 0);

-- A series is verified by the newest statement of a value that is current. A late statement does not
-- take that back; a fold that ends in other values does, for nobody has stated these since.
WITH current AS MATERIALIZED (
    SELECT
        l.series_id, f.series_id IS NOT NULL AS folded, f.held,
        coalesce(array_agg(v.value ORDER BY v.value) FILTER (WHERE v.value IS NOT NULL), '{}') AS holds
    FROM pg_temp.locked AS l
    LEFT JOIN pg_temp.folding AS f USING (series_id)
    LEFT JOIN knowledge.fact_versions AS v
        ON v.series_id = l.series_id AND upper_inf(v.recorded)
        AND lower(v.valid) <= now() AND coalesce(upper(v.valid) > now(), true)
    GROUP BY l.series_id, f.series_id, f.held
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
        starts_with(s.connector, 'http:') AND s.next_check_at IS NOT NULL
        AND s.connector IS DISTINCT FROM w.connector AS asked_anyway,
        CASE
            WHEN n.other THEN coalesce(n.stated_at, s.verified_at)
            ELSE greatest(n.stated_at, s.verified_at)
        END AS verified_at,
        0.8 + 0.2 / 65535 * (hashtextextended(
            s.subject || s.attribute, extract(epoch FROM n.stated_at)::bigint
        ) & 65535) AS share
    FROM newest AS n
    JOIN knowledge.fact_series AS s USING (series_id)
    JOIN pg_temp.wanted AS w USING (subject, attribute)
)
UPDATE knowledge.fact_series AS s SET
    verified_at = v.verified_at,
    next_check_at = CASE
        WHEN v.asked_anyway THEN v.next_check_at
        -- What is only told, by a newer snapshot, is not asked for when it is old already.
        WHEN v.connector = 'snapshot_folder' AND v.verified_at + v.ttl * v.share <= now() THEN NULL
        WHEN v.connector IS NOT NULL
            THEN greatest(v.next_check_at, v.verified_at + v.ttl * v.share)
    END
FROM verified AS v
WHERE s.series_id = v.series_id AND (
    s.verified_at IS DISTINCT FROM v.verified_at
    OR (s.next_check_at IS NULL AND v.connector IS NOT NULL AND v.ttl IS NOT NULL)
);

SELECT (SELECT count(*) FROM pg_temp.added) AS observations, series, versions FROM pg_temp.outcome;
