-- What refreshes need to share the work between them, and to ask a server only for what is new.
ALTER TABLE knowledge.fact_series
    ADD COLUMN claimed_until timestamptz,
    ADD COLUMN checked_at timestamptz;

COMMENT ON COLUMN knowledge.fact_series.claimed_until IS 'Until when a refresh has it to itself, asking; one that was killed loses it then.';
COMMENT ON COLUMN knowledge.fact_series.checked_at IS 'When a refresh last asked, whatever came of it.';

ALTER TABLE knowledge.checks ADD COLUMN source text;
COMMENT ON COLUMN knowledge.checks.source IS 'Who was asked; null where nobody could be.';

CREATE TABLE knowledge.http_validators (
    series_id bigint PRIMARY KEY REFERENCES knowledge.fact_series ON DELETE CASCADE,
    request text NOT NULL,
    etag text,
    last_modified text
);

COMMENT ON TABLE knowledge.http_validators IS 'One row a series: how to ask its server for what is newer than what was recorded.';
COMMENT ON COLUMN knowledge.http_validators.series_id IS 'The series.';
COMMENT ON COLUMN knowledge.http_validators.request IS 'sha256 of the address and of what is read there; after a change they no longer count.';
COMMENT ON COLUMN knowledge.http_validators.etag IS 'The ETag of the response that was recorded, sent back as If-None-Match.';
COMMENT ON COLUMN knowledge.http_validators.last_modified IS 'Its Last-Modified, sent back as If-Modified-Since.';
