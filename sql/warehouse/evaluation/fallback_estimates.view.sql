-- What is charged where a technique gives no estimate: what its user falls back to.
CREATE OR REPLACE VIEW evaluation.fallback_estimates AS
WITH typical AS (
    SELECT coalesce(median(price) FILTER (split = 'train'), median(price)) AS price
    FROM curated.items
)
SELECT
    items.item_id,
    items.split,
    coalesce(
        CASE WHEN isfinite(medians.estimate) AND medians.estimate > 0 THEN medians.estimate END,
        typical.price
    ) AS estimate
FROM curated.items AS items
CROSS JOIN typical
LEFT JOIN evaluation.predictions AS medians
    ON medians.technique = 'category_median'
    AND medians.item_id = items.item_id
    AND medians.split = items.split
WHERE items.split IN ('validation', 'test');

COMMENT ON VIEW evaluation.fallback_estimates IS 'One row an item of validation and test: what it is taken to cost where a technique gives no estimate.';
COMMENT ON COLUMN evaluation.fallback_estimates.item_id IS 'The item.';
COMMENT ON COLUMN evaluation.fallback_estimates.split IS 'validation or test.';
COMMENT ON COLUMN evaluation.fallback_estimates.estimate IS 'That of category_median, or where there is none the median price of the train items.';
