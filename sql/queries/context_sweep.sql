-- How much context is worth its price? By kind and number of what a language model is shown: the
-- error on validation items in the currency, tokens, time and cost, and what each step gained. The
-- knee is the smallest number that is not significantly worse than the best one.
-- DuckDB; no parameters.
SELECT
    kind,
    count,
    round(context_items, 1) AS shown,
    round(mae, 2) AS mae,
    round(mae_low, 2) AS mae_low,
    round(mae_high, 2) AS mae_high,
    round(tokens_in) AS tokens_in,
    round(tokens_cached) AS tokens_cached,
    round(latency_p50_ms, 1) AS latency_p50_ms,
    round(latency_p95_ms, 1) AS latency_p95_ms,
    round(cost_per_1000_usd, 2) AS cost_per_1000_usd,
    round(gain, 2) AS gain,
    round(gain_per_1000_tokens, 2) AS gain_per_1000_tokens,
    round(behind_best, 2) AS behind_best,
    round(p_value, 4) AS p_value,
    round(100 * failures, 1) AS percent_failures,
    is_best,
    is_knee,
    window_full,
    items
FROM evaluation.context_sweep
ORDER BY kind DESC, count;
