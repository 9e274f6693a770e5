-- Items as they are served, and their embeddings.
CREATE SCHEMA catalog;

CREATE TABLE catalog.items (
    item_id text PRIMARY KEY,
    source text NOT NULL,
    listing_id text NOT NULL,
    title text,
    brand text,
    category text,
    family_id text,
    split text,
    price double precision,
    currency text,
    price_observed_at timestamptz,
    url text,
    content_hash text NOT NULL,
    fingerprint text NOT NULL
);

CREATE INDEX items_category ON catalog.items (category);

COMMENT ON SCHEMA catalog IS 'Products and their embeddings, updated in place.';
COMMENT ON TABLE catalog.items IS 'One row a product as last observed; follows curated.items of the warehouse.';
COMMENT ON COLUMN catalog.items.item_id IS 'Stable identity of the product in its source.';
COMMENT ON COLUMN catalog.items.source IS 'The source''s name.';
COMMENT ON COLUMN catalog.items.listing_id IS 'The source''s own identifier.';
COMMENT ON COLUMN catalog.items.title IS 'Cleaned title.';
COMMENT ON COLUMN catalog.items.brand IS 'Brand; null where unknown.';
COMMENT ON COLUMN catalog.items.category IS 'Category.';
COMMENT ON COLUMN catalog.items.family_id IS 'The family of near-duplicates.';
COMMENT ON COLUMN catalog.items.split IS 'train, validation or test.';
COMMENT ON COLUMN catalog.items.price IS 'The last observed price.';
COMMENT ON COLUMN catalog.items.currency IS 'ISO 4217 code.';
COMMENT ON COLUMN catalog.items.price_observed_at IS 'When that price was observed.';
COMMENT ON COLUMN catalog.items.url IS 'Where the listing is.';
COMMENT ON COLUMN catalog.items.content_hash IS 'sha256 of the text that is embedded.';
COMMENT ON COLUMN catalog.items.fingerprint IS 'sha256 of all that the embedding follows from; an embedding with another one is stale.';

CREATE TABLE catalog.item_embeddings (
    item_id text PRIMARY KEY REFERENCES catalog.items ON DELETE CASCADE,
    fingerprint text NOT NULL,
    model text NOT NULL,
    embedding halfvec(384) NOT NULL,
    embedded_at timestamptz NOT NULL DEFAULT now()
);

-- A vector of 776 bytes is read with its row, not fetched from beside the table.
ALTER TABLE catalog.item_embeddings ALTER COLUMN embedding SET STORAGE PLAIN;

COMMENT ON TABLE catalog.item_embeddings IS 'One row an item: its text as a vector. The HNSW index is built after the first load.';
COMMENT ON COLUMN catalog.item_embeddings.item_id IS 'The item.';
COMMENT ON COLUMN catalog.item_embeddings.fingerprint IS 'sha256 of the text, the versions of its template and chunker, the model and its weights.';
COMMENT ON COLUMN catalog.item_embeddings.model IS 'The encoder, with the first digits of its weights'' sha256.';
COMMENT ON COLUMN catalog.item_embeddings.embedding IS 'Unit length; similarity is the cosine.';
COMMENT ON COLUMN catalog.item_embeddings.embedded_at IS 'When the row was written.';
