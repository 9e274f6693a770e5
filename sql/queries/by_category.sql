-- Which categories does a technique price badly, and which of them cost the most? The share of the
-- error is what the category adds to all of the technique's error on test items.
-- DuckDB; $technique: the technique's name, as in the leaderboard.
SELECT
    segment_value AS category,
    items,
    round(mae, 2) AS mae,
    round(mae_low, 2) AS mae_low,
    round(mae_high, 2) AS mae_high,
    round(smape, 1) AS smape,
    round(100 * within_20_percent, 1) AS percent_within_20,
    round(100 * total_error / sum(total_error) OVER (), 1) AS percent_of_error,
    rank
FROM (SELECT *, mae * items AS total_error FROM evaluation.segments)
WHERE segment = 'category' AND technique = $technique
ORDER BY percent_of_error DESC, category;
