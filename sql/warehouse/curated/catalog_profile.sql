CREATE OR REPLACE TABLE curated.catalog_profile (
    source VARCHAR,
    category VARCHAR,
    items BIGINT,
    families BIGINT,
    priced_from DOUBLE,
    price_median DOUBLE,
    price_mean DOUBLE,
    priced_to DOUBLE,
    tokens_median DOUBLE,
    tokens_maximum BIGINT,
    share_without_brand DOUBLE
);

COMMENT ON TABLE curated.catalog_profile IS 'One row a statistic of the items, by source and category.';
COMMENT ON COLUMN curated.catalog_profile.source IS 'The source, or ''all''.';
COMMENT ON COLUMN curated.catalog_profile.category IS 'The category, or ''all''.';
COMMENT ON COLUMN curated.catalog_profile.items IS 'Items.';
COMMENT ON COLUMN curated.catalog_profile.families IS 'Families.';
COMMENT ON COLUMN curated.catalog_profile.priced_from IS 'Lowest price.';
COMMENT ON COLUMN curated.catalog_profile.price_median IS 'Median price.';
COMMENT ON COLUMN curated.catalog_profile.price_mean IS 'Mean price.';
COMMENT ON COLUMN curated.catalog_profile.priced_to IS 'Highest price.';
COMMENT ON COLUMN curated.catalog_profile.tokens_median IS 'Median tokens of a text.';
COMMENT ON COLUMN curated.catalog_profile.tokens_maximum IS 'Most tokens of a text.';
COMMENT ON COLUMN curated.catalog_profile.share_without_brand IS 'Share of items without a brand.';
