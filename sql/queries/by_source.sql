-- Does the order of the techniques hold in every source? The leaderboard by source, on test items.
-- DuckDB; no parameters.
SELECT
    source,
    rank,
    technique,
    round(mae, 2) AS mae,
    round(mae_low, 2) AS mae_low,
    round(mae_high, 2) AS mae_high,
    round(rmsle, 3) AS rmsle,
    round(smape, 1) AS smape,
    round(100 * within_20_percent, 1) AS percent_within_20,
    round(100 * failures, 1) AS percent_failures,
    items
FROM evaluation.leaderboard_by_source
ORDER BY source, is_reference, rank, technique;
