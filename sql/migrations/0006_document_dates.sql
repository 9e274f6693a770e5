-- The date that a document gives itself, and what copies of different dates have in common.
ALTER TABLE knowledge.documents ADD COLUMN topic text NOT NULL DEFAULT '';
ALTER TABLE knowledge.documents ADD COLUMN dated text;
CREATE INDEX documents_topic ON knowledge.documents (topic);

COMMENT ON COLUMN knowledge.documents.topic IS 'The subject without a date in it: dated copies of a document share it.';
COMMENT ON COLUMN knowledge.documents.dated IS 'The date that it gives itself, as exactly as it does: 2026, 2026-02 or 2026-02-01; null where it gives none.';

-- What the sources of a series say of a time, as far as was known then, where another value than the one
-- that holds is not known to be older. Rows of both, holds telling which one it is; none where all agree.
--
-- A statement is of the date of its document, or that from which the text says it holds, or else of when
-- it was first seen. What was first seen without a date may be as old as anything that is dated by its
-- document; what was seen to change is of then. Dates of different exactness are compared as far as the
-- less exact goes.
CREATE FUNCTION knowledge.differing(
    series bigint[], valid_at timestamptz DEFAULT now(), known_at timestamptz DEFAULT now()
) RETURNS TABLE (
    series_id bigint, value text, source text, since timestamptz, dated text, holds boolean
) LANGUAGE sql STABLE AS $$
WITH known AS (
    SELECT DISTINCT ON (o.series_id, o.source, o.valid_from)
        o.series_id, o.source, o.valid_from, o.observed_at, o.stated
    FROM knowledge.observations AS o JOIN knowledge.fact_series AS s USING (series_id)
    WHERE o.series_id = ANY(series) AND s.cardinality = 'single'
        AND o.observed_at <= known_at AND o.valid_from <= valid_at
    ORDER BY o.series_id, o.source, o.valid_from, o.observed_at DESC, o.stated DESC
),
changes AS (
    SELECT *, lag(stated) OVER (
        PARTITION BY series_id, source ORDER BY valid_from
    ) IS DISTINCT FROM stated AS begins
    FROM known
),
runs AS (
    SELECT *, sum(begins::int) OVER (PARTITION BY series_id, source ORDER BY valid_from) AS run
    FROM changes
),
told AS (
    SELECT DISTINCT ON (r.series_id, r.source)
        r.series_id, r.source, r.stated[1] AS value, r.run,
        min(r.valid_from) AS begun,
        bool_or(r.begins AND r.valid_from <> r.observed_at) AS is_said,
        d.document_id IS NOT NULL AS is_document, d.dated,
        bool_or(r.valid_from = d.begins) AS by_document, d.begins AS document_begins
    FROM runs AS r
    LEFT JOIN (
        SELECT
            document_id, dated,
            left(dated || '-01-01', 10)::timestamp AT TIME ZONE 'UTC' AS begins
        FROM knowledge.documents
    ) AS d ON d.document_id = r.source
    GROUP BY r.series_id, r.source, r.run, r.stated, d.document_id, d.dated, d.begins
    ORDER BY r.series_id, r.source, r.run DESC
),
statements AS (
    SELECT
        t.series_id, t.source, t.value, t.dated, coalesce(t.by_document, false) AS by_document,
        CASE WHEN t.by_document THEN t.document_begins ELSE t.begun END AS since,
        t.is_document AND t.run = 1 AND NOT t.is_said AND t.by_document IS NOT TRUE AS may_be_older
    FROM told AS t WHERE t.value IS NOT NULL
),
held AS (
    SELECT f.series_id, f.value
    FROM knowledge.fact_versions AS f
    WHERE f.series_id = ANY(series) AND f.valid @> valid_at AND f.recorded @> known_at
),
winners AS (
    SELECT DISTINCT ON (s.series_id) s.*
    FROM statements AS s JOIN held AS h USING (series_id, value)
    ORDER BY s.series_id, s.may_be_older, s.since DESC, s.source
),
others AS (
    SELECT s.*
    FROM statements AS s JOIN winners AS w USING (series_id)
    WHERE lower(s.value) <> lower(w.value) AND NOT (
        w.since > s.since
        AND NOT (s.by_document AND starts_with(
            to_char(w.since AT TIME ZONE 'UTC', 'YYYY-MM-DD'), s.dated
        ))
        AND NOT (w.may_be_older AND s.by_document)
    )
)
SELECT o.series_id, o.value, o.source, o.since, CASE WHEN o.by_document THEN o.dated END, false
FROM others AS o
UNION ALL
SELECT w.series_id, w.value, w.source, w.since, CASE WHEN w.by_document THEN w.dated END, true
FROM winners AS w WHERE EXISTS (SELECT FROM others AS o WHERE o.series_id = w.series_id)
$$;
