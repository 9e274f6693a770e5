-- Documents, their chunks and the facts that they state, each with the times that it is about.
CREATE SCHEMA knowledge;
COMMENT ON SCHEMA knowledge IS 'Documents, chunks and facts: what is served to questions, updated in place.';

CREATE TABLE knowledge.documents (
    document_id text PRIMARY KEY,
    source text NOT NULL,
    path text NOT NULL,
    kind text NOT NULL,
    title text NOT NULL,
    subject text NOT NULL,
    content text NOT NULL,
    content_hash text NOT NULL,
    observed_at timestamptz NOT NULL,
    verified_at timestamptz NOT NULL,
    UNIQUE (source, path)
);

COMMENT ON TABLE knowledge.documents IS 'One row a document as last observed; what is deleted on disk is deleted here.';
COMMENT ON COLUMN knowledge.documents.document_id IS 'Source and path: what observations name as their source.';
COMMENT ON COLUMN knowledge.documents.source IS 'The name of the folder in sources.toml.';
COMMENT ON COLUMN knowledge.documents.path IS 'Below the folder, with / between its parts.';
COMMENT ON COLUMN knowledge.documents.kind IS 'The folder that the file lies in.';
COMMENT ON COLUMN knowledge.documents.title IS 'From the front matter, the headings or the file''s name.';
COMMENT ON COLUMN knowledge.documents.subject IS 'What the document is about, normalised as subjects of facts are.';
COMMENT ON COLUMN knowledge.documents.content IS 'The text as Markdown, without front matter.';
COMMENT ON COLUMN knowledge.documents.content_hash IS 'sha256 of the file.';
COMMENT ON COLUMN knowledge.documents.observed_at IS 'When this content was first seen.';
COMMENT ON COLUMN knowledge.documents.verified_at IS 'When it was last seen.';

CREATE TABLE knowledge.chunks (
    chunk_id text PRIMARY KEY,
    document_id text NOT NULL REFERENCES knowledge.documents ON DELETE CASCADE,
    source text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    ordinal integer NOT NULL,
    heading_path text NOT NULL,
    start_character integer NOT NULL,
    end_character integer NOT NULL,
    text text NOT NULL,
    content_hash text NOT NULL,
    fingerprint text NOT NULL,
    lexemes tsvector GENERATED ALWAYS AS (to_tsvector('pg_catalog.english', heading_path || ' ' || text)) STORED
);

CREATE INDEX chunks_document ON knowledge.chunks (document_id);
CREATE INDEX chunks_lexemes ON knowledge.chunks USING gin (lexemes);

COMMENT ON TABLE knowledge.chunks IS 'One row a passage of a document, cut along its structure.';
COMMENT ON COLUMN knowledge.chunks.chunk_id IS 'The document and the passage''s number in it.';
COMMENT ON COLUMN knowledge.chunks.document_id IS 'The document.';
COMMENT ON COLUMN knowledge.chunks.source IS 'That of the document.';
COMMENT ON COLUMN knowledge.chunks.kind IS 'That of the document.';
COMMENT ON COLUMN knowledge.chunks.subject IS 'That of the document.';
COMMENT ON COLUMN knowledge.chunks.ordinal IS 'The passage''s number in its document, from 0.';
COMMENT ON COLUMN knowledge.chunks.heading_path IS 'The title and the headings above the passage, outermost first, separated by " > ".';
COMMENT ON COLUMN knowledge.chunks.start_character IS 'Where it begins in the document''s content.';
COMMENT ON COLUMN knowledge.chunks.end_character IS 'Where it ends, exclusive.';
COMMENT ON COLUMN knowledge.chunks.text IS 'The passage as it stands in the document.';
COMMENT ON COLUMN knowledge.chunks.content_hash IS 'sha256 of what is embedded: the heading path and the text.';
COMMENT ON COLUMN knowledge.chunks.fingerprint IS 'sha256 of all that the embedding follows from; an embedding with another one is stale.';
COMMENT ON COLUMN knowledge.chunks.lexemes IS 'Its stemmed words, for lexical search.';

CREATE TABLE knowledge.chunk_embeddings (
    chunk_id text PRIMARY KEY REFERENCES knowledge.chunks ON DELETE CASCADE,
    fingerprint text NOT NULL,
    model text NOT NULL,
    embedding halfvec(384) NOT NULL,
    embedded_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE knowledge.chunk_embeddings ALTER COLUMN embedding SET STORAGE PLAIN;

COMMENT ON TABLE knowledge.chunk_embeddings IS 'One row a chunk: its heading path and text as a vector.';
COMMENT ON COLUMN knowledge.chunk_embeddings.chunk_id IS 'The chunk.';
COMMENT ON COLUMN knowledge.chunk_embeddings.fingerprint IS 'sha256 of the text, the versions of its template and chunker, the model and its weights.';
COMMENT ON COLUMN knowledge.chunk_embeddings.model IS 'The encoder, with the first digits of its weights'' sha256.';
COMMENT ON COLUMN knowledge.chunk_embeddings.embedding IS 'Unit length; similarity is the cosine.';
COMMENT ON COLUMN knowledge.chunk_embeddings.embedded_at IS 'When the row was written.';

-- What BM25 needs to know of all chunks, kept by triggers in the transaction that changes a chunk.
CREATE TABLE knowledge.lexemes (
    lexeme text PRIMARY KEY,
    chunks bigint NOT NULL
);
CREATE TABLE knowledge.corpus (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    chunks bigint NOT NULL,
    lexemes bigint NOT NULL
);
INSERT INTO knowledge.corpus (chunks, lexemes) VALUES (0, 0);

COMMENT ON TABLE knowledge.lexemes IS 'One row a lexeme: in how many chunks it stands.';
COMMENT ON COLUMN knowledge.lexemes.lexeme IS 'As to_tsvector makes it.';
COMMENT ON COLUMN knowledge.lexemes.chunks IS 'How many chunks it stands in.';
COMMENT ON TABLE knowledge.corpus IS 'One row: the size of all chunks together.';
COMMENT ON COLUMN knowledge.corpus.singleton IS 'There is one row.';
COMMENT ON COLUMN knowledge.corpus.chunks IS 'How many chunks there are.';
COMMENT ON COLUMN knowledge.corpus.lexemes IS 'How many lexemes they have in all, repetitions counted.';

-- How many lexemes a text has, repetitions counted: its length, as BM25 means it.
CREATE FUNCTION knowledge.lexeme_count(tsvector) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT coalesce(sum(cardinality(positions)), 0)::bigint FROM unnest($1) $$;

CREATE FUNCTION knowledge.count_lexemes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        UPDATE knowledge.lexemes AS l SET chunks = l.chunks - gone.chunks
        FROM (
            SELECT t.lexeme, count(*) AS chunks
            FROM old_chunks AS o, unnest(o.lexemes) AS t GROUP BY t.lexeme ORDER BY t.lexeme
        ) AS gone
        WHERE l.lexeme = gone.lexeme;
        UPDATE knowledge.corpus SET
            chunks = corpus.chunks - gone.chunks, lexemes = corpus.lexemes - gone.lexemes
        FROM (
            SELECT count(*) AS chunks, coalesce(sum(knowledge.lexeme_count(lexemes)), 0) AS lexemes
            FROM old_chunks
        ) AS gone
        WHERE gone.chunks > 0;
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        INSERT INTO knowledge.lexemes AS l (lexeme, chunks)
        SELECT t.lexeme, count(*) FROM new_chunks AS n, unnest(n.lexemes) AS t
        GROUP BY t.lexeme ORDER BY t.lexeme
        ON CONFLICT (lexeme) DO UPDATE SET chunks = l.chunks + excluded.chunks;
        UPDATE knowledge.corpus SET
            chunks = corpus.chunks + come.chunks, lexemes = corpus.lexemes + come.lexemes
        FROM (
            SELECT count(*) AS chunks, coalesce(sum(knowledge.lexeme_count(lexemes)), 0) AS lexemes
            FROM new_chunks
        ) AS come
        WHERE come.chunks > 0;
    END IF;
    DELETE FROM knowledge.lexemes WHERE chunks = 0;
    RETURN NULL;
END $$;

CREATE TRIGGER chunks_inserted AFTER INSERT ON knowledge.chunks
REFERENCING NEW TABLE AS new_chunks FOR EACH STATEMENT EXECUTE FUNCTION knowledge.count_lexemes();
CREATE TRIGGER chunks_updated AFTER UPDATE ON knowledge.chunks
REFERENCING OLD TABLE AS old_chunks NEW TABLE AS new_chunks
FOR EACH STATEMENT EXECUTE FUNCTION knowledge.count_lexemes();
CREATE TRIGGER chunks_deleted AFTER DELETE ON knowledge.chunks
REFERENCING OLD TABLE AS old_chunks FOR EACH STATEMENT EXECUTE FUNCTION knowledge.count_lexemes();

-- Facts: what was observed is only added to; what holds is folded from it.
CREATE TABLE knowledge.fact_series (
    series_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text NOT NULL,
    attribute text NOT NULL,
    kind text NOT NULL,
    cardinality text NOT NULL CHECK (cardinality IN ('single', 'multi')),
    ttl interval,
    connector text,
    verified_at timestamptz,
    next_check_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    last_failure text,
    UNIQUE (subject, attribute)
) WITH (fillfactor = 70);

CREATE INDEX fact_series_due ON knowledge.fact_series (next_check_at) WHERE next_check_at IS NOT NULL;

COMMENT ON TABLE knowledge.fact_series IS 'One row an attribute of a subject, whatever its value at any time.';
COMMENT ON COLUMN knowledge.fact_series.series_id IS 'Number of the series in this database.';
COMMENT ON COLUMN knowledge.fact_series.subject IS 'Normalised: what the facts are about.';
COMMENT ON COLUMN knowledge.fact_series.attribute IS 'Normalised: which of its attributes.';
COMMENT ON COLUMN knowledge.fact_series.kind IS 'What its time to live depends on: price, availability, office_holder, specification, founding_date.';
COMMENT ON COLUMN knowledge.fact_series.cardinality IS 'single: one value at a time; multi: any number.';
COMMENT ON COLUMN knowledge.fact_series.ttl IS 'For how long after it was verified it is fresh; null: always.';
COMMENT ON COLUMN knowledge.fact_series.connector IS 'What a refresh asks: document_folder, snapshot_folder, or http: and its name.';
COMMENT ON COLUMN knowledge.fact_series.verified_at IS 'When a source last said what is current.';
COMMENT ON COLUMN knowledge.fact_series.next_check_at IS 'When a refresh asks again.';
COMMENT ON COLUMN knowledge.fact_series.failures IS 'How many checks have failed since the last that did not.';
COMMENT ON COLUMN knowledge.fact_series.last_failure IS 'Why the last check failed; null when it did not.';

CREATE TABLE knowledge.observations (
    series_id bigint NOT NULL REFERENCES knowledge.fact_series,
    source text COLLATE "C" NOT NULL,
    valid_from timestamptz NOT NULL,
    observed_at timestamptz NOT NULL,
    stated text[] COLLATE "C" NOT NULL,
    chunk_id text,
    start_character integer,
    end_character integer,
    PRIMARY KEY (series_id, source, valid_from, observed_at, stated)
);

COMMENT ON TABLE knowledge.observations IS 'One row for each time that a source was seen to say something; rows are only ever added.';
COMMENT ON COLUMN knowledge.observations.series_id IS 'What it is about.';
COMMENT ON COLUMN knowledge.observations.source IS 'Who said it: a document, a catalogue''s source, or an HTTP connector.';
COMMENT ON COLUMN knowledge.observations.valid_from IS 'Since when it holds, as far as the source says; otherwise when it was observed.';
COMMENT ON COLUMN knowledge.observations.observed_at IS 'When it was seen: the time that recorded ranges are made of.';
COMMENT ON COLUMN knowledge.observations.stated IS 'What it said, sorted; empty: the source no longer says anything of it.';
COMMENT ON COLUMN knowledge.observations.chunk_id IS 'The passage that says it.';
COMMENT ON COLUMN knowledge.observations.start_character IS 'Where in the document''s content it is said.';
COMMENT ON COLUMN knowledge.observations.end_character IS 'Where that ends, exclusive.';

-- A range of times at a number, as a box with closed sides, in microseconds; without an end it ends
-- after the last time that there is. A coordinate holds microseconds exactly until the year 2255;
-- later ends are drawn in by its precision, so that ranges that touch do not overlap.
CREATE FUNCTION knowledge.extent(number double precision, times tstzrange) RETURNS box
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT box(
    point(number, coalesce(
        date_part('epoch', lower(times) - timestamptz '1970-01-01 00:00:00+00') * 1e6, -1e19
    )),
    point(number, coalesce(
        date_part('epoch', upper(times) - timestamptz '1970-01-01 00:00:00+00') * 1e6 - greatest(
            0.5,
            abs(date_part('epoch', upper(times) - timestamptz '1970-01-01 00:00:00+00')) * 2.3e-10
        ),
        1e19
    ))
)
$$;

CREATE TABLE knowledge.fact_versions (
    series_id bigint NOT NULL REFERENCES knowledge.fact_series,
    slot bigint NOT NULL,
    value text NOT NULL,
    source text NOT NULL,
    valid tstzrange NOT NULL CHECK (NOT isempty(valid)),
    recorded tstzrange NOT NULL CHECK (NOT isempty(recorded)),
    -- Boxes: btree_gist is not everywhere, and an index of ranges takes rows seven times as slowly.
    -- Slots count by their first 53 bits, which a coordinate holds exactly.
    CONSTRAINT one_value_at_a_time EXCLUDE USING gist (
        knowledge.extent(series_id, valid) WITH &&,
        knowledge.extent(slot >> 11, recorded) WITH &&
    )
);

CREATE INDEX fact_versions_series ON knowledge.fact_versions (series_id);

COMMENT ON TABLE knowledge.fact_versions IS 'One row a value that was held to be true: over which time, and over which time it was believed. A fold of the observations, the same whatever their order.';
COMMENT ON COLUMN knowledge.fact_versions.series_id IS 'What it is about.';
COMMENT ON COLUMN knowledge.fact_versions.slot IS '0 where one value holds at a time; otherwise a hash of the value.';
COMMENT ON COLUMN knowledge.fact_versions.value IS 'The value.';
COMMENT ON COLUMN knowledge.fact_versions.source IS 'The source that said it first.';
COMMENT ON COLUMN knowledge.fact_versions.valid IS 'When it holds in the world.';
COMMENT ON COLUMN knowledge.fact_versions.recorded IS 'When we believed so.';

CREATE TYPE knowledge.version AS (
    series_id bigint, slot bigint, value text, source text, valid tstzrange, recorded tstzrange
);

-- The versions that follow from the observations of these series.
--
-- At each time at which something was learnt, every source that is known by then has said one thing
-- after the other. Where one value holds at a time, the statement that began last wins, and on a tie
-- the one observed last, then the source whose name comes first; a source that falls silent makes
-- room for the others. Where several hold, all do that some source states.
CREATE FUNCTION knowledge.folded(series bigint[]) RETURNS SETOF knowledge.version
LANGUAGE sql STABLE AS $$
WITH said AS (
    SELECT
        o.series_id, o.source, o.valid_from, o.observed_at, o.stated,
        lag(o.stated) OVER saying AS before, lag(o.observed_at) OVER saying AS seen_before
    FROM knowledge.observations AS o
    WHERE o.series_id = ANY(series)
    WINDOW saying AS (
        PARTITION BY o.series_id, o.source ORDER BY o.valid_from, o.observed_at, o.stated
    )
),
-- A repetition of what was known already changes nothing at any time.
telling AS (
    SELECT * FROM said WHERE before IS DISTINCT FROM stated OR seen_before > observed_at
),
epochs AS (
    SELECT
        series_id, observed_at AS known_from,
        lead(observed_at) OVER (PARTITION BY series_id ORDER BY observed_at) AS known_until
    FROM (SELECT DISTINCT series_id, observed_at FROM telling) AS times
),
known AS (
    SELECT DISTINCT ON (e.series_id, e.known_from, t.source, t.valid_from)
        e.series_id, e.known_from, e.known_until, t.source, t.valid_from, t.observed_at, t.stated
    FROM epochs AS e
    JOIN telling AS t ON t.series_id = e.series_id AND t.observed_at <= e.known_from
    ORDER BY
        e.series_id, e.known_from, t.source, t.valid_from, t.observed_at DESC, t.stated DESC
),
changes AS (
    SELECT *, lag(stated) OVER (
        PARTITION BY series_id, known_from, source ORDER BY valid_from
    ) AS before
    FROM known
),
statements AS (
    SELECT *, lead(valid_from) OVER (
        PARTITION BY series_id, known_from, source ORDER BY valid_from
    ) AS valid_until
    FROM changes WHERE before IS DISTINCT FROM stated
),
pieces AS (
    SELECT
        series_id, known_from, known_until, valid_from AS piece_from,
        lead(valid_from) OVER (PARTITION BY series_id, known_from ORDER BY valid_from) AS piece_until
    FROM (SELECT DISTINCT series_id, known_from, known_until, valid_from FROM statements) AS times
),
candidates AS (
    SELECT
        p.*, s.source, v.value,
        CASE WHEN c.cardinality = 'single' THEN 0 ELSE hashtextextended(v.value, 0) END AS slot,
        row_number() OVER (
            PARTITION BY
                p.series_id, p.known_from, p.piece_from,
                CASE WHEN c.cardinality = 'single' THEN '' ELSE v.value END
            ORDER BY s.valid_from DESC, s.observed_at DESC, s.source, v.value
        ) AS place
    FROM pieces AS p
    JOIN knowledge.fact_series AS c USING (series_id)
    JOIN statements AS s
        ON s.series_id = p.series_id AND s.known_from = p.known_from
        AND s.valid_from <= p.piece_from
        AND (s.valid_until IS NULL OR s.valid_until > p.piece_from)
    CROSS JOIN unnest(s.stated) AS v (value)
),
believed AS (
    SELECT *, lag(piece_until) OVER (
        PARTITION BY series_id, known_from, slot, value ORDER BY piece_from
    ) IS DISTINCT FROM piece_from AS begins
    FROM candidates WHERE place = 1
),
runs AS (
    SELECT *, sum(begins::int) OVER (
        PARTITION BY series_id, known_from, slot, value ORDER BY piece_from
    ) AS run
    FROM believed
),
ranges AS (
    SELECT
        series_id, slot, value, known_from, known_until,
        (array_agg(source ORDER BY piece_from))[1] AS source,
        tstzrange(
            min(piece_from), CASE WHEN bool_or(piece_until IS NULL) THEN NULL ELSE max(piece_until) END
        ) AS valid
    FROM runs GROUP BY series_id, slot, value, known_from, known_until, run
),
learnt AS (
    SELECT *, lag(known_until) OVER same IS DISTINCT FROM known_from AS begins
    FROM ranges
    WINDOW same AS (PARTITION BY series_id, slot, value, source, valid ORDER BY known_from)
),
beliefs AS (
    SELECT *, sum(begins::int) OVER (
        PARTITION BY series_id, slot, value, source, valid ORDER BY known_from
    ) AS belief
    FROM learnt
)
SELECT
    series_id, slot, value, source, valid,
    tstzrange(
        min(known_from), CASE WHEN bool_or(known_until IS NULL) THEN NULL ELSE max(known_until) END
    )
FROM beliefs
GROUP BY series_id, slot, value, source, valid, belief
$$;

-- Makes the versions of these series what follows from their observations; returns how many rows it
-- wrote or deleted. Whoever calls it holds the series' rows.
CREATE FUNCTION knowledge.fold(series bigint[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    wanted knowledge.version[];
    deleted bigint;
    inserted bigint;
BEGIN
    SELECT array_agg(f) INTO wanted FROM knowledge.folded(series) AS f;
    DELETE FROM knowledge.fact_versions AS v USING (
        SELECT h.series_id, h.slot, h.value, h.source, h.valid, h.recorded
        FROM knowledge.fact_versions AS h WHERE h.series_id = ANY(series)
        EXCEPT SELECT * FROM unnest(wanted)
    ) AS gone
    WHERE v.series_id = ANY(series) AND v.series_id = gone.series_id
        AND (v.slot, v.value, v.source, v.valid, v.recorded)
        = (gone.slot, gone.value, gone.source, gone.valid, gone.recorded);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    INSERT INTO knowledge.fact_versions (series_id, slot, value, source, valid, recorded)
    SELECT * FROM unnest(wanted)
    EXCEPT
    SELECT h.series_id, h.slot, h.value, h.source, h.valid, h.recorded
    FROM knowledge.fact_versions AS h WHERE h.series_id = ANY(series)
    ORDER BY series_id;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    RETURN deleted + inserted;
END $$;

-- fresh within its time to live, stale up to twice that, expired after.
CREATE FUNCTION knowledge.freshness(verified_at timestamptz, ttl interval, at timestamptz DEFAULT now())
RETURNS text LANGUAGE sql STABLE AS $$
SELECT CASE
    WHEN ttl IS NULL OR at <= verified_at + ttl THEN 'fresh'
    WHEN at <= verified_at + 2 * ttl THEN 'stale'
    ELSE 'expired'
END
$$;

CREATE FUNCTION knowledge.facts_as_of(valid_at timestamptz, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    series_id bigint, subject text, attribute text, kind text, value text, source text,
    valid_from timestamptz, valid_until timestamptz, known_from timestamptz, known_until timestamptz
) LANGUAGE sql STABLE AS $$
SELECT
    s.series_id, s.subject, s.attribute, s.kind, v.value, v.source,
    lower(v.valid), upper(v.valid), lower(v.recorded), upper(v.recorded)
FROM knowledge.fact_versions AS v JOIN knowledge.fact_series AS s USING (series_id)
WHERE v.valid @> valid_at AND v.recorded @> known_at
$$;

CREATE VIEW knowledge.current_facts AS
SELECT
    s.series_id, v.slot, s.subject, s.attribute, s.kind, s.cardinality, v.value, v.source,
    lower(v.valid) AS valid_since, s.verified_at, s.ttl,
    knowledge.freshness(s.verified_at, s.ttl) AS freshness,
    s.connector, s.next_check_at, s.failures, s.last_failure
FROM knowledge.fact_versions AS v JOIN knowledge.fact_series AS s USING (series_id)
WHERE upper_inf(v.recorded) AND v.valid @> now();

CREATE VIEW knowledge.stale_facts AS
SELECT
    f.*, f.verified_at + f.ttl AS stale_since, now() - (f.verified_at + f.ttl) AS overdue
FROM knowledge.current_facts AS f WHERE f.freshness <> 'fresh';

CREATE VIEW knowledge.fact_history AS
SELECT
    s.series_id, s.subject, s.attribute, s.kind, v.value, v.source,
    lower(v.valid) AS valid_from, upper(v.valid) AS valid_until,
    lower(v.recorded) AS known_from, upper(v.recorded) AS known_until
FROM knowledge.fact_versions AS v JOIN knowledge.fact_series AS s USING (series_id);

COMMENT ON VIEW knowledge.current_facts IS 'One row a value that holds now, as far as we know now, with its age.';
COMMENT ON VIEW knowledge.stale_facts IS 'One row a current fact that was not verified within its time to live.';
COMMENT ON VIEW knowledge.fact_history IS 'One row a value that was ever believed, with the times that it was about and those when it was believed.';

-- Current facts as sentences, to be found as passages are.
CREATE TABLE knowledge.fact_sentences (
    fact_id text PRIMARY KEY,
    series_id bigint NOT NULL REFERENCES knowledge.fact_series ON DELETE CASCADE,
    subject text NOT NULL,
    attribute text NOT NULL,
    kind text NOT NULL,
    value text NOT NULL,
    source text NOT NULL,
    text text NOT NULL,
    content_hash text NOT NULL,
    fingerprint text NOT NULL,
    lexemes tsvector GENERATED ALWAYS AS (to_tsvector('pg_catalog.english', text)) STORED
);
CREATE INDEX fact_sentences_lexemes ON knowledge.fact_sentences USING gin (lexemes);
CREATE INDEX fact_sentences_series ON knowledge.fact_sentences (series_id);

CREATE TABLE knowledge.fact_embeddings (
    fact_id text PRIMARY KEY REFERENCES knowledge.fact_sentences ON DELETE CASCADE,
    fingerprint text NOT NULL,
    model text NOT NULL,
    embedding halfvec(384) NOT NULL,
    embedded_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE knowledge.fact_embeddings ALTER COLUMN embedding SET STORAGE PLAIN;

COMMENT ON TABLE knowledge.fact_sentences IS 'One row a current fact as a sentence; prices of listings are left to the listings.';
COMMENT ON COLUMN knowledge.fact_sentences.fact_id IS 'The series and the slot.';
COMMENT ON COLUMN knowledge.fact_sentences.series_id IS 'The series.';
COMMENT ON COLUMN knowledge.fact_sentences.subject IS 'That of the series.';
COMMENT ON COLUMN knowledge.fact_sentences.attribute IS 'That of the series.';
COMMENT ON COLUMN knowledge.fact_sentences.kind IS 'That of the series.';
COMMENT ON COLUMN knowledge.fact_sentences.value IS 'The current value.';
COMMENT ON COLUMN knowledge.fact_sentences.source IS 'The source that said it first.';
COMMENT ON COLUMN knowledge.fact_sentences.text IS 'The sentence.';
COMMENT ON COLUMN knowledge.fact_sentences.content_hash IS 'sha256 of the sentence.';
COMMENT ON COLUMN knowledge.fact_sentences.fingerprint IS 'sha256 of all that the embedding follows from.';
COMMENT ON COLUMN knowledge.fact_sentences.lexemes IS 'Its stemmed words.';
COMMENT ON TABLE knowledge.fact_embeddings IS 'One row a fact''s sentence as a vector.';
COMMENT ON COLUMN knowledge.fact_embeddings.fact_id IS 'The fact.';
COMMENT ON COLUMN knowledge.fact_embeddings.fingerprint IS 'sha256 of the sentence, the model and its weights.';
COMMENT ON COLUMN knowledge.fact_embeddings.model IS 'The encoder, with the first digits of its weights'' sha256.';
COMMENT ON COLUMN knowledge.fact_embeddings.embedding IS 'Unit length; similarity is the cosine.';
COMMENT ON COLUMN knowledge.fact_embeddings.embedded_at IS 'When the row was written.';

-- What every refresh did, so that a failure is seen.
CREATE TABLE knowledge.checks (
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    series_id bigint NOT NULL REFERENCES knowledge.fact_series,
    connector text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('changed', 'confirmed', 'absent', 'failed')),
    detail text,
    seconds double precision NOT NULL
);
CREATE INDEX checks_time ON knowledge.checks (checked_at);

COMMENT ON TABLE knowledge.checks IS 'One row a time that a refresh asked a connector for a series.';
COMMENT ON COLUMN knowledge.checks.checked_at IS 'When.';
COMMENT ON COLUMN knowledge.checks.series_id IS 'Which series.';
COMMENT ON COLUMN knowledge.checks.connector IS 'Which connector.';
COMMENT ON COLUMN knowledge.checks.outcome IS 'changed, confirmed, absent (the source has nothing any more) or failed.';
COMMENT ON COLUMN knowledge.checks.detail IS 'Why it failed.';
COMMENT ON COLUMN knowledge.checks.seconds IS 'How long it took.';
