-- How did a product's price move? Every kept observation of it, oldest first.
-- DuckDB; $item_id: the product, as in curated.items.
SELECT
    observed_at,
    snapshot,
    price,
    currency,
    round(price - lag(price) OVER history, 2) AS change,
    round(100 * (price / lag(price) OVER history - 1), 1) AS percent_change,
    title
FROM curated.listings
WHERE item_id = $item_id
WINDOW history AS (ORDER BY observed_at, snapshot, row_number)
ORDER BY observed_at, snapshot, row_number;
