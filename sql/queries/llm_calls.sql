-- What did the language model do, and for what? Calls, tokens, cost and time by technique and step.
-- A call out of the cache counts with the figures of when it was made; sent_usd is what calls cost
-- that were sent in the last run.
-- DuckDB; no parameters.
SELECT
    technique,
    step,
    count(*) AS calls,
    count(DISTINCT item_id) AS items,
    sum(attempts)::BIGINT AS attempts,
    count(*) FILTER (from_cache) AS from_cache,
    count(*) FILTER (outcome <> 'answered') AS not_answered,
    sum(tokens_in)::BIGINT AS tokens_in,
    sum(tokens_cached)::BIGINT AS tokens_cached,
    sum(tokens_out)::BIGINT AS tokens_out,
    round(100 * sum(tokens_cached) / nullif(sum(tokens_in), 0), 1) AS percent_cached,
    round(sum(cost_usd), 4) AS cost_usd,
    coalesce(round(sum(cost_usd) FILTER (NOT from_cache), 4), 0) AS sent_usd,
    round(quantile_cont(latency_ms, 0.5), 1) AS latency_p50_ms,
    round(quantile_cont(latency_ms, 0.95), 1) AS latency_p95_ms,
    any_value(model) AS model
FROM evaluation.llm_calls
GROUP BY technique, step
ORDER BY technique, min(call), step;
