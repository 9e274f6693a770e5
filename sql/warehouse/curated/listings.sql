CREATE OR REPLACE TABLE curated.listings (
    item_id VARCHAR,
    source VARCHAR,
    snapshot VARCHAR,
    row_number BIGINT,
    listing_id VARCHAR,
    observed_at TIMESTAMPTZ,
    title VARCHAR,
    description VARCHAR USING COMPRESSION zstd,
    brand VARCHAR,
    category VARCHAR,
    model_number VARCHAR,
    attributes MAP(VARCHAR, VARCHAR),
    quantity DOUBLE,
    unit VARCHAR,
    price DOUBLE,
    currency VARCHAR,
    url VARCHAR,
    text VARCHAR USING COMPRESSION zstd,
    content_hash VARCHAR
);

COMMENT ON TABLE curated.listings IS 'One row a kept observation of a listing, cleaned.';
COMMENT ON COLUMN curated.listings.item_id IS 'Stable identity of the product in its source: the same in every snapshot.';
COMMENT ON COLUMN curated.listings.source IS 'The source''s name.';
COMMENT ON COLUMN curated.listings.snapshot IS 'The snapshot it came from.';
COMMENT ON COLUMN curated.listings.row_number IS 'The row''s position in its snapshot.';
COMMENT ON COLUMN curated.listings.listing_id IS 'The source''s own identifier.';
COMMENT ON COLUMN curated.listings.observed_at IS 'When the listing stood so.';
COMMENT ON COLUMN curated.listings.title IS 'Cleaned title.';
COMMENT ON COLUMN curated.listings.description IS 'Cleaned description, empty where there is none.';
COMMENT ON COLUMN curated.listings.brand IS 'Cleaned brand; null where unknown.';
COMMENT ON COLUMN curated.listings.category IS 'Category; ''unknown'' where the source has none.';
COMMENT ON COLUMN curated.listings.model_number IS 'The maker''s model number, normalised; null where unknown.';
COMMENT ON COLUMN curated.listings.attributes IS 'Cleaned attributes without those that give the price away.';
COMMENT ON COLUMN curated.listings.quantity IS 'How much of the unit the listing sells; null where it does not say.';
COMMENT ON COLUMN curated.listings.unit IS 'The normalised unit: count, g, ml, m, ...';
COMMENT ON COLUMN curated.listings.price IS 'Price in the currency, above 0.';
COMMENT ON COLUMN curated.listings.currency IS 'ISO 4217 code.';
COMMENT ON COLUMN curated.listings.url IS 'Where the listing is.';
COMMENT ON COLUMN curated.listings.text IS 'What every technique reads: built by one versioned template, without price.';
COMMENT ON COLUMN curated.listings.content_hash IS 'sha256 of the text.';
