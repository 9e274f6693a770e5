-- What was read, and what became of it? Rows read, kept and refused by source, and the products that
-- came of them: rows read = rows kept + rows refused.
-- DuckDB; no parameters.
WITH read AS (
    SELECT source, count(*) AS snapshots, sum(row_count)::BIGINT AS row_count
    FROM raw.snapshots GROUP BY source
),
kept AS (
    SELECT source, count(*) AS row_count FROM curated.listings GROUP BY source
),
refused AS (
    SELECT source, count(*) AS row_count FROM curated.rejected_listings GROUP BY source
),
products AS (
    SELECT
        source,
        count(*) AS items,
        count(DISTINCT family_id) AS families,
        count(DISTINCT category) AS categories,
        min(price_observed_at) AS oldest_price,
        max(price_observed_at) AS newest_price
    FROM curated.items GROUP BY source
)
SELECT
    read.source,
    read.snapshots,
    read.row_count AS rows_read,
    coalesce(kept.row_count, 0) AS rows_kept,
    coalesce(refused.row_count, 0) AS rows_refused,
    coalesce(products.items, 0) AS items,
    coalesce(products.families, 0) AS families,
    coalesce(products.categories, 0) AS categories,
    products.oldest_price,
    products.newest_price
FROM read
LEFT JOIN kept ON kept.source = read.source
LEFT JOIN refused ON refused.source = read.source
LEFT JOIN products ON products.source = read.source
ORDER BY read.source;
