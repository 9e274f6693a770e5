CREATE OR REPLACE TABLE curated.items (
    item_id VARCHAR,
    source VARCHAR,
    listing_id VARCHAR,
    title VARCHAR,
    text VARCHAR,
    brand VARCHAR,
    category VARCHAR,
    model_number VARCHAR,
    price DOUBLE,
    currency VARCHAR,
    price_observed_at TIMESTAMPTZ,
    quantity DOUBLE,
    unit VARCHAR,
    attributes MAP(VARCHAR, VARCHAR),
    url VARCHAR,
    family_id VARCHAR,
    split VARCHAR,
    token_count INTEGER,
    content_hash VARCHAR
);

COMMENT ON TABLE curated.items IS 'One row a product as last observed.';
COMMENT ON COLUMN curated.items.item_id IS 'Stable identity of the product in its source.';
COMMENT ON COLUMN curated.items.source IS 'The source''s name.';
COMMENT ON COLUMN curated.items.listing_id IS 'The source''s own identifier.';
COMMENT ON COLUMN curated.items.title IS 'Cleaned title.';
COMMENT ON COLUMN curated.items.text IS 'What every technique reads.';
COMMENT ON COLUMN curated.items.brand IS 'Brand; null where unknown.';
COMMENT ON COLUMN curated.items.category IS 'Category.';
COMMENT ON COLUMN curated.items.model_number IS 'Normalised model number; null where unknown.';
COMMENT ON COLUMN curated.items.price IS 'The last observed price.';
COMMENT ON COLUMN curated.items.currency IS 'ISO 4217 code.';
COMMENT ON COLUMN curated.items.price_observed_at IS 'When that price was observed.';
COMMENT ON COLUMN curated.items.quantity IS 'How much of the unit the listing sells.';
COMMENT ON COLUMN curated.items.unit IS 'The normalised unit.';
COMMENT ON COLUMN curated.items.attributes IS 'Cleaned attributes.';
COMMENT ON COLUMN curated.items.url IS 'Where the listing is.';
COMMENT ON COLUMN curated.items.family_id IS 'The family of near-duplicates.';
COMMENT ON COLUMN curated.items.split IS 'train, validation or test; set_aside for an item that is neither learnt from nor evaluated on.';
COMMENT ON COLUMN curated.items.token_count IS 'Tokens of the text in the encoder''s own tokenizer, special tokens included.';
COMMENT ON COLUMN curated.items.content_hash IS 'sha256 of the text.';
