CREATE OR REPLACE TABLE curated.price_leaks (
    source VARCHAR,
    category VARCHAR,
    expression VARCHAR,
    attributes VARCHAR[],
    row_count BIGINT,
    share_explained DOUBLE
);

COMMENT ON TABLE curated.price_leaks IS 'One row an attribute, or a product or quotient of two, that gives the price away.';
COMMENT ON COLUMN curated.price_leaks.source IS 'The source in which it was found.';
COMMENT ON COLUMN curated.price_leaks.category IS 'The category in which it was found, or null for all of the source.';
COMMENT ON COLUMN curated.price_leaks.expression IS 'The attribute, or ''a * b'', ''a / b''.';
COMMENT ON COLUMN curated.price_leaks.attributes IS 'The attributes that are withheld because of it.';
COMMENT ON COLUMN curated.price_leaks.row_count IS 'Priced rows in which the expression can be computed.';
COMMENT ON COLUMN curated.price_leaks.share_explained IS 'Share of those rows in which it equals the price within 1 %, scale aside.';
