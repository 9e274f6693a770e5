-- Where is a technique furthest off? Its worst estimates of test items.
-- DuckDB; $technique: the technique's name, as in the leaderboard; $rows: how many to show.
SELECT
    item_id,
    source,
    category,
    title,
    price,
    round(estimate, 2) AS estimate,
    round(absolute_error, 2) AS absolute_error,
    round(estimate / price, 2) AS estimate_over_price
FROM evaluation.scored_predictions
WHERE technique = $technique AND split = 'test' AND estimate IS NOT NULL
ORDER BY scored_predictions.absolute_error DESC, item_id
LIMIT $rows::BIGINT;
