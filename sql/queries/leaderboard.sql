-- Which technique leads? The test items' errors in the currency, with 95 % intervals, best first.
-- Techniques with a language model are asked for a sample; mae_common is over the items that every
-- technique was asked about, and decides the rank where not all were asked about the same. An item
-- without an estimate is charged with what category_median would have cost; mae_answered leaves it out. A reference, such
-- as the noise floor, stands last without a rank.
-- DuckDB; no parameters.
SELECT
    rank,
    technique,
    items,
    round(mae, 2) AS mae,
    round(mae_low, 2) AS mae_low,
    round(mae_high, 2) AS mae_high,
    common_items,
    round(mae_common, 2) AS mae_common,
    round(mae_common_low, 2) AS mae_common_low,
    round(mae_common_high, 2) AS mae_common_high,
    round(100 * answered, 1) AS percent_answered,
    round(mae_answered, 2) AS mae_answered,
    round(rmsle, 3) AS rmsle,
    round(smape, 1) AS smape,
    round(100 * within_20_percent, 1) AS percent_within_20,
    round(100 * hit_rate, 1) AS percent_hits,
    round(r2, 3) AS r2,
    round(latency_p95_ms, 1) AS latency_p95_ms,
    round(tokens_in) AS tokens_in,
    round(tokens_cached) AS tokens_cached,
    round(tokens_out) AS tokens_out,
    round(cost_per_1000_usd, 2) AS cost_per_1000_usd
FROM evaluation.leaderboard
ORDER BY is_reference, rank, technique;
