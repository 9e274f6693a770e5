-- Passages and facts that answer a question, best first: dense and lexical search, fused by ranks and
-- put in order by how much of the question they hold. One statement, so that all of it is of one time.
--
-- Parameters: question, vector, model (as in the tables of embeddings), kinds, sources, subjects (each
-- an array or null), chunks and facts (whether to look there), time_to_live (of documents, or null),
-- k1, b, depth, constant, dense_weight, lexical_weight, cosine_weight, title_weight, fused.
WITH asked AS MATERIALIZED (
    SELECT
        t.lexeme,
        ln(1 + (c.chunks - coalesce(l.chunks, 0) + 0.5) / (coalesce(l.chunks, 0) + 0.5))::float8 AS idf
    FROM knowledge.corpus AS c
    CROSS JOIN unnest(to_tsvector(c.language::regconfig, knowledge.parsed(%(question)s))) AS t
    LEFT JOIN knowledge.lexemes AS l USING (lexeme)
),
question AS MATERIALIZED (
    -- A lexeme may hold any character: it is quoted as a tsquery quotes.
    SELECT
        string_agg(
            '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', ' | '
        )::tsquery AS query,
        array_agg(lexeme) AS lexemes,
        coalesce(nullif(sum(idf), 0), 1) AS idf
    FROM asked
),
corpus AS MATERIALIZED (
    SELECT greatest(lexemes::float8 / nullif(chunks, 0), 1) AS length FROM knowledge.corpus
),
chunks AS NOT MATERIALIZED (
    SELECT * FROM knowledge.chunks
    WHERE
        %(chunks)s
        AND (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s))
        AND (%(sources)s::text[] IS NULL OR source = ANY(%(sources)s))
        AND (%(subjects)s::text[] IS NULL OR subject = ANY(%(subjects)s))
),
facts AS MATERIALIZED (
    SELECT fact_id, fingerprint, lexemes, length FROM knowledge.fact_sentences AS f
    WHERE
        %(facts)s
        AND (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s))
        AND (
            %(sources)s::text[] IS NULL OR source = ANY(%(sources)s)
            OR split_part(source, ':', 1) = ANY(%(sources)s)
        )
        AND (%(subjects)s::text[] IS NULL OR subject = ANY(%(subjects)s))
        -- A sentence may lag behind its fact, and what no longer holds is never shown.
        AND EXISTS (
            SELECT FROM knowledge.fact_versions AS v
            WHERE
                v.series_id = f.series_id AND v.value = f.value
                AND upper_inf(v.recorded) AND v.valid @> now()
        )
),
dense AS MATERIALIZED (
    SELECT 'chunk' AS origin, c.chunk_id AS passage_id, 1 - (e.embedding <=> %(vector)s) AS cosine
    FROM chunks AS c JOIN knowledge.chunk_embeddings AS e USING (chunk_id, fingerprint)
    WHERE e.model = %(model)s
    UNION ALL
    SELECT 'fact', f.fact_id, 1 - (e.embedding <=> %(vector)s)
    FROM facts AS f JOIN knowledge.fact_embeddings AS e USING (fact_id, fingerprint)
    WHERE e.model = %(model)s
),
texts AS MATERIALIZED (
    SELECT 'chunk' AS origin, chunk_id AS passage_id, lexemes, length
    FROM chunks WHERE lexemes @@ (SELECT query FROM question)
    UNION ALL
    SELECT 'fact', fact_id, lexemes, length
    FROM facts WHERE lexemes @@ (SELECT query FROM question)
),
-- BM25: Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009.
lexical AS MATERIALIZED (
    SELECT t.origin, t.passage_id, s.bm25
    FROM texts AS t
    CROSS JOIN corpus
    CROSS JOIN question AS q
    CROSS JOIN LATERAL (
        SELECT sum(
            a.idf * (%(k1)s + 1) * cardinality(u.positions)
            / (
                cardinality(u.positions)
                + %(k1)s * (1 - %(b)s + %(b)s * t.length / corpus.length)
            )
        ) AS bm25
        -- Less those that are left when the question's are deleted: only the question's.
        FROM unnest(
            ts_delete(t.lexemes, tsvector_to_array(ts_delete(t.lexemes, q.lexemes)))
        ) AS u
        JOIN asked AS a USING (lexeme)
    ) AS s
),
-- Reciprocal rank fusion: Cormack, Clarke and Buettcher, 2009.
fused AS (
    SELECT
        origin, passage_id, coalesce(cosine, 0) AS cosine, coalesce(bm25, 0) AS bm25,
        coalesce(%(dense_weight)s / (%(constant)s + dense_rank), 0)
        + coalesce(%(lexical_weight)s / (%(constant)s + lexical_rank), 0) AS fusion
    FROM (
        SELECT *, row_number() OVER (ORDER BY cosine DESC, passage_id) AS dense_rank FROM dense
    ) AS d
    FULL JOIN (
        SELECT *, row_number() OVER (ORDER BY bm25 DESC, passage_id) AS lexical_rank FROM lexical
    ) AS l USING (origin, passage_id)
    WHERE dense_rank <= %(depth)s OR lexical_rank <= %(depth)s
    ORDER BY fusion DESC, origin DESC, passage_id
    LIMIT %(fused)s
),
described AS (
    SELECT
        f.*, c.heading_path || E'\n' || c.text AS text, c.heading_path, c.source, c.kind, c.subject,
        c.document_id, NULL::bigint AS series_id, NULL::text AS attribute, NULL::text AS value,
        d.observed_at, d.verified_at, %(time_to_live)s::interval AS ttl,
        NULL::timestamptz AS valid_since, d.title, d.dated
    FROM fused AS f
    JOIN knowledge.chunks AS c ON c.chunk_id = f.passage_id
    JOIN knowledge.documents AS d USING (document_id)
    WHERE f.origin = 'chunk'
    UNION ALL
    SELECT
        f.*, s.text, '', s.source, s.kind, s.subject,
        d.document_id, s.series_id, s.attribute, s.value,
        v.observed_at, r.verified_at, r.ttl,
        v.valid_since, s.subject, d.dated
    FROM fused AS f
    JOIN knowledge.fact_sentences AS s ON s.fact_id = f.passage_id
    JOIN knowledge.fact_series AS r USING (series_id)
    LEFT JOIN knowledge.documents AS d ON d.document_id = s.source
    CROSS JOIN LATERAL (
        SELECT min(lower(v.recorded)) AS observed_at, min(lower(v.valid)) AS valid_since
        FROM knowledge.fact_versions AS v
        WHERE
            v.series_id = s.series_id AND v.value = s.value
            AND upper_inf(v.recorded) AND v.valid @> now()
    ) AS v
    WHERE f.origin = 'fact'
),
disputed AS MATERIALIZED (
    SELECT DISTINCT series_id
    FROM knowledge.differing((SELECT array_agg(series_id) FROM described WHERE origin = 'fact'))
)
SELECT
    passage_id, origin, text, heading_path, source, kind, subject, document_id, series_id,
    attribute, value, observed_at, verified_at,
    CASE
        WHEN series_id IN (SELECT series_id FROM disputed) THEN 'disputed'
        WHEN verified_at IS NULL THEN 'expired' ELSE knowledge.freshness(verified_at, ttl)
    END AS freshness,
    valid_since, dated,
    bm25 / ((%(k1)s + 1) * question.idf) + %(cosine_weight)s * cosine + %(title_weight)s * titled.share
    AS score,
    bm25, cosine, fusion
FROM described
CROSS JOIN question
CROSS JOIN LATERAL (
    -- Of what the document or the fact is about, how much the question names.
    SELECT coalesce(
        sum(n.idf) FILTER (WHERE n.lexeme = ANY(question.lexemes)) / nullif(sum(n.idf), 0), 0
    ) AS share
    FROM (
        SELECT t.lexeme, ln(1 + (c.chunks - l.chunks + 0.5) / (l.chunks + 0.5))::float8 AS idf
        FROM knowledge.corpus AS c
        CROSS JOIN unnest(to_tsvector(c.language::regconfig, knowledge.parsed(described.title))) AS t
        CROSS JOIN LATERAL (
            SELECT coalesce(
                (SELECT k.chunks FROM knowledge.lexemes AS k WHERE k.lexeme = t.lexeme), 0
            ) AS chunks
        ) AS l
    ) AS n
) AS titled
ORDER BY score DESC, origin DESC, passage_id
