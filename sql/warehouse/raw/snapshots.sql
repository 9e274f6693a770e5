CREATE OR REPLACE TABLE raw.snapshots (
    source VARCHAR,
    snapshot VARCHAR,
    path VARCHAR,
    observed_at TIMESTAMPTZ,
    file_bytes BIGINT,
    file_sha256 VARCHAR,
    row_count BIGINT,
    file_present BOOLEAN,
    encoding VARCHAR,
    delimiter VARCHAR,
    quote VARCHAR,
    sheet VARCHAR,
    decimal VARCHAR,
    rows_at VARCHAR
);

COMMENT ON TABLE raw.snapshots IS 'One row a file of a source, as it was read.';
COMMENT ON COLUMN raw.snapshots.source IS 'The source''s name in sources.toml.';
COMMENT ON COLUMN raw.snapshots.snapshot IS 'The file''s name within the source, or its date where the name holds one.';
COMMENT ON COLUMN raw.snapshots.path IS 'Where the file was read.';
COMMENT ON COLUMN raw.snapshots.observed_at IS 'When the source says its rows were true; null where a column says it.';
COMMENT ON COLUMN raw.snapshots.file_bytes IS 'The file''s size in bytes.';
COMMENT ON COLUMN raw.snapshots.file_sha256 IS 'sha256 of the file''s bytes.';
COMMENT ON COLUMN raw.snapshots.row_count IS 'Rows in the file, counted in a pass of its own before it is read; of an overwritten file whose rows say themselves when they were true, those that are history.';
COMMENT ON COLUMN raw.snapshots.file_present IS 'Whether the file was there when the source was last read; where it is gone or overwritten, its rows stay as history.';
COMMENT ON COLUMN raw.snapshots.encoding IS 'The encoding of its text, declared or found; null for a file that is no text.';
COMMENT ON COLUMN raw.snapshots.delimiter IS 'What parts its fields, declared or found; null where it is no CSV file.';
COMMENT ON COLUMN raw.snapshots.quote IS 'What encloses its fields; null where it is no CSV file.';
COMMENT ON COLUMN raw.snapshots.sheet IS 'The sheet that was read; null where it is no Excel file.';
COMMENT ON COLUMN raw.snapshots.decimal IS 'What parts the decimals of its prices, declared or found; null where each price was read for itself.';
COMMENT ON COLUMN raw.snapshots.rows_at IS 'Where in a document the rows were found, as rows_at in sources.toml names it; null for lines and tables.';
