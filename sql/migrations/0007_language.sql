-- In which language passages are searched: a text-search configuration, one for all of them.
ALTER TABLE knowledge.corpus ADD COLUMN language text NOT NULL DEFAULT 'pg_catalog.english';
COMMENT ON COLUMN knowledge.corpus.language IS 'The text-search configuration that lexemes are made with.';

-- A text as the parser takes it apart: it knows punctuation and spaces by ASCII alone, and takes a
-- quotation mark or a space that does not break for a part of the word beside it.
CREATE FUNCTION knowledge.parsed(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT translate($1,
    E'\u2019\u02BC\u2010\u2011\u00A0\u202F\u2009\u2003\u2002\u3000\u200B\u2013\u2014\u2015\u2026\u00B7\u2022'
    '\u00AB\u00BB\u2039\u203A\u201C\u201D\u201E\u201F\u2018\u201A\u00BF\u00A1\u00A7\u00B6\u2020\u00AE\u00A9\u2122'
    '\u3001\u3002\uFF0C\uFF1A\uFF1B\uFF1F\uFF01\u300C\u300D',
    E'\'\'--' || repeat(' ', 40)
)
$$;

-- Makes all lexemes anew in another language, with what BM25 counts; returns whether it was another.
CREATE FUNCTION knowledge.use_language(wanted regconfig) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.cfgname) INTO STRICT name
    FROM pg_ts_config AS c JOIN pg_namespace AS n ON n.oid = c.cfgnamespace WHERE c.oid = wanted;
    IF (SELECT language FROM knowledge.corpus) = name THEN
        RETURN false;
    END IF;
    EXECUTE format($ddl$
        ALTER TABLE knowledge.chunks DROP COLUMN lexemes, DROP COLUMN length;
        ALTER TABLE knowledge.chunks
            ADD COLUMN lexemes tsvector GENERATED ALWAYS AS (
                to_tsvector(%1$L, knowledge.parsed(heading_path || ' ' || text))
            ) STORED,
            ADD COLUMN length bigint GENERATED ALWAYS AS (
                knowledge.lexeme_count(to_tsvector(%1$L, knowledge.parsed(heading_path || ' ' || text)))
            ) STORED;
        CREATE INDEX chunks_lexemes ON knowledge.chunks USING gin (lexemes);
        ALTER TABLE knowledge.fact_sentences DROP COLUMN lexemes, DROP COLUMN length;
        ALTER TABLE knowledge.fact_sentences
            ADD COLUMN lexemes tsvector GENERATED ALWAYS AS (to_tsvector(%1$L, knowledge.parsed(text))) STORED,
            ADD COLUMN length bigint GENERATED ALWAYS AS (
                knowledge.lexeme_count(to_tsvector(%1$L, knowledge.parsed(text)))
            ) STORED;
        CREATE INDEX fact_sentences_lexemes ON knowledge.fact_sentences USING gin (lexemes);
    $ddl$, name);
    COMMENT ON COLUMN knowledge.chunks.lexemes IS 'Its stemmed words, for lexical search.';
    COMMENT ON COLUMN knowledge.chunks.length IS 'How many lexemes it has, repetitions counted.';
    COMMENT ON COLUMN knowledge.fact_sentences.lexemes IS 'Its stemmed words.';
    COMMENT ON COLUMN knowledge.fact_sentences.length IS 'How many lexemes it has, repetitions counted.';
    DELETE FROM knowledge.lexemes;
    EXECUTE $count$
        INSERT INTO knowledge.lexemes (lexeme, chunks)
        SELECT t.lexeme, count(*) FROM knowledge.chunks AS c, unnest(c.lexemes) AS t GROUP BY t.lexeme
    $count$;
    EXECUTE $count$
        UPDATE knowledge.corpus SET language = $1, (chunks, lexemes) = (
            SELECT count(*), coalesce(sum(length), 0) FROM knowledge.chunks
        )
    $count$ USING name;
    RETURN true;
END $$;

UPDATE knowledge.corpus SET language = '';
SELECT knowledge.use_language('pg_catalog.english');
