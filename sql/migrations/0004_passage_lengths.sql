-- How long each passage is, so that BM25 need not count its lexemes for each question.
ALTER TABLE knowledge.chunks ADD COLUMN length bigint GENERATED ALWAYS AS (
    knowledge.lexeme_count(to_tsvector('pg_catalog.english', heading_path || ' ' || text))
) STORED;
ALTER TABLE knowledge.fact_sentences ADD COLUMN length bigint GENERATED ALWAYS AS (
    knowledge.lexeme_count(to_tsvector('pg_catalog.english', text))
) STORED;

COMMENT ON COLUMN knowledge.chunks.length IS 'How many lexemes it has, repetitions counted.';
COMMENT ON COLUMN knowledge.fact_sentences.length IS 'How many lexemes it has, repetitions counted.';
