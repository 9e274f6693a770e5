CREATE OR REPLACE TABLE curated.rejected_listings (
    source VARCHAR,
    snapshot VARCHAR,
    row_number BIGINT,
    listing_id VARCHAR,
    rule VARCHAR,
    detail VARCHAR,
    raw_row VARCHAR
);

COMMENT ON TABLE curated.rejected_listings IS 'One row a refused observation, with the rule that refused it.';
COMMENT ON COLUMN curated.rejected_listings.source IS 'The source''s name.';
COMMENT ON COLUMN curated.rejected_listings.snapshot IS 'The snapshot it came from.';
COMMENT ON COLUMN curated.rejected_listings.row_number IS 'The row''s position in its snapshot.';
COMMENT ON COLUMN curated.rejected_listings.listing_id IS 'The source''s own identifier, where it could be read.';
COMMENT ON COLUMN curated.rejected_listings.rule IS 'The first rule that refused the row.';
COMMENT ON COLUMN curated.rejected_listings.detail IS 'What was found, for people.';
COMMENT ON COLUMN curated.rejected_listings.raw_row IS 'The row as it was read (at most 2,000 characters).';
