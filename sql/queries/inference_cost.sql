-- What does one estimate take? Tokens read, milliseconds one by one and in batches, memory and USD,
-- beside the error on the test items that all techniques were asked about, in the currency.
-- DuckDB; no parameters.
SELECT
    technique,
    batch_size,
    source,
    round(board.mae_common, 2) AS mae_common,
    round(cost.tokens_in) AS tokens_in,
    round(cost.tokens_cached) AS tokens_cached,
    round(cost.tokens_out) AS tokens_out,
    round(ms_mean, 1) AS ms_mean,
    round(ms_p50, 1) AS ms_p50,
    round(ms_p95, 1) AS ms_p95,
    round(core_ms, 1) AS core_ms,
    round(model_bytes / 1e6, 1) AS model_megabytes,
    round(peak_memory_bytes / 1e6) AS peak_megabytes,
    round(device_memory_bytes / 1e6) AS device_megabytes,
    round(usd_per_1000, 4) AS usd_per_1000,
    usd_basis,
    cost.items AS timed_items,
    calls,
    left_out
FROM evaluation.inference_cost AS cost
LEFT JOIN evaluation.leaderboard AS board USING (technique)
ORDER BY batch_size NULLS LAST, ms_p50 NULLS LAST, technique;
