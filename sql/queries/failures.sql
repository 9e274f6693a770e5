-- Why is there no estimate? The test items that a technique could not price, by reason.
-- DuckDB; no parameters.
SELECT technique, failure, count(*) AS items, arg_min(title, item_id) AS example
FROM evaluation.scored_predictions
WHERE split = 'test' AND failure IS NOT NULL
GROUP BY technique, failure
ORDER BY technique, items DESC, failure;
