-- Does the order of the techniques hold in every source? The leaderboard by source, on test items.
-- The rank is by mae_common where not all techniques were asked about the same items.
-- DuckDB; no parameters.
SELECT
    source,
    rank,
    technique,
    round(mae, 2) AS mae,
    round(mae_low, 2) AS mae_low,
    round(mae_high, 2) AS mae_high,
    round(mae_common, 2) AS mae_common,
    round(rmsle, 3) AS rmsle,
    round(smape, 1) AS smape,
    round(100 * within_20_percent, 1) AS percent_within_20,
    round(100 * answered, 1) AS percent_answered,
    round(mae_answered, 2) AS mae_answered,
    items,
    common_items
FROM evaluation.leaderboard_by_source
ORDER BY source, is_reference, rank, technique;
