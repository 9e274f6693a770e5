CREATE OR REPLACE TABLE raw.listings (
    source VARCHAR,
    snapshot VARCHAR,
    row_number BIGINT,
    listing_id VARCHAR,
    observed_at TIMESTAMPTZ,
    title VARCHAR,
    description VARCHAR,
    brand VARCHAR,
    category VARCHAR,
    attributes MAP(VARCHAR, VARCHAR),
    price DOUBLE,
    price_text VARCHAR,
    currency VARCHAR,
    url VARCHAR,
    unreadable VARCHAR,
    raw_row VARCHAR
);

COMMENT ON TABLE raw.listings IS 'One row an observation of a listing, as published; also those that could not be read.';
COMMENT ON COLUMN raw.listings.source IS 'The source''s name in sources.toml.';
COMMENT ON COLUMN raw.listings.snapshot IS 'The snapshot (file) that the row came from.';
COMMENT ON COLUMN raw.listings.row_number IS 'The row''s position in its snapshot, from 1.';
COMMENT ON COLUMN raw.listings.listing_id IS 'The source''s own identifier of the listing.';
COMMENT ON COLUMN raw.listings.observed_at IS 'When the listing stood so.';
COMMENT ON COLUMN raw.listings.title IS 'Title, as published.';
COMMENT ON COLUMN raw.listings.description IS 'Description and features, as published.';
COMMENT ON COLUMN raw.listings.brand IS 'Brand or maker.';
COMMENT ON COLUMN raw.listings.category IS 'The source''s category.';
COMMENT ON COLUMN raw.listings.attributes IS 'All further attributes, as text.';
COMMENT ON COLUMN raw.listings.price IS 'The price as a number; null where there is none or it cannot be read.';
COMMENT ON COLUMN raw.listings.price_text IS 'The price as published.';
COMMENT ON COLUMN raw.listings.currency IS 'ISO 4217 code of the price.';
COMMENT ON COLUMN raw.listings.url IS 'Where the listing is.';
COMMENT ON COLUMN raw.listings.unreadable IS 'Why the row could not be read; null where it could.';
COMMENT ON COLUMN raw.listings.raw_row IS 'The raw row, kept where it could not be read (at most 2,000 characters).';
