-- Of several observations of a product at one instant, that of the later snapshot counts, and within
-- a snapshot the later row. Whoever asks what a product cost when asks here.
CREATE OR REPLACE VIEW curated.price_observations AS
SELECT
    item_id,
    source,
    observed_at,
    last.price AS price,
    last.currency AS currency,
    last.snapshot AS snapshot,
    last.row_number AS row_number
FROM (
    SELECT
        item_id,
        source,
        observed_at,
        max({
            'snapshot': snapshot, 'row_number': row_number, 'price': price, 'currency': currency
        }) AS last
    FROM curated.listings
    GROUP BY item_id, source, observed_at
);

COMMENT ON VIEW curated.price_observations IS 'One row a product and time at which it was observed: what it cost then.';
COMMENT ON COLUMN curated.price_observations.item_id IS 'The product.';
COMMENT ON COLUMN curated.price_observations.source IS 'Its source.';
COMMENT ON COLUMN curated.price_observations.observed_at IS 'When it was observed.';
COMMENT ON COLUMN curated.price_observations.price IS 'What it cost then.';
COMMENT ON COLUMN curated.price_observations.currency IS 'The price''s currency, as an ISO 4217 code.';
COMMENT ON COLUMN curated.price_observations.snapshot IS 'The snapshot of that observation.';
COMMENT ON COLUMN curated.price_observations.row_number IS 'Its row in the snapshot.';
