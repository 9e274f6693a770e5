-- What does each way to prompt take, and what does it bring? By technique: calls, tokens, time and
-- cost for an item, all its calls together, beside the error on test items. The techniques that make
-- no call stand in the leaderboard.
-- DuckDB; no parameters.
WITH by_item AS (
    SELECT
        technique,
        item_id,
        count(*) AS calls,
        sum(tokens_in) AS tokens_in,
        sum(tokens_cached) AS tokens_cached,
        sum(tokens_out) AS tokens_out,
        sum(latency_ms) AS latency_ms,
        sum(cost_usd) AS cost_usd
    FROM evaluation.llm_calls
    GROUP BY technique, item_id
),
by_technique AS (
    SELECT
        technique,
        count(*) AS items,
        avg(calls) AS calls,
        avg(tokens_in) AS tokens_in,
        avg(tokens_cached) AS tokens_cached,
        avg(tokens_out) AS tokens_out,
        quantile_cont(latency_ms, 0.5) AS latency_p50_ms,
        avg(cost_usd) AS cost_usd
    FROM by_item
    GROUP BY technique
)
SELECT
    taken.technique,
    round(taken.calls, 2) AS calls,
    round(taken.tokens_in, 1) AS tokens_in,
    round(taken.tokens_cached, 1) AS tokens_cached,
    round(taken.tokens_out, 1) AS tokens_out,
    round(taken.latency_p50_ms, 1) AS latency_p50_ms,
    round(1000 * taken.cost_usd, 3) AS cost_per_1000_usd,
    round(board.mae, 2) AS mae,
    round(board.mae_low, 2) AS mae_low,
    round(board.mae_high, 2) AS mae_high,
    round(100 * board.answered, 1) AS percent_answered,
    taken.items
FROM by_technique AS taken
JOIN evaluation.leaderboard AS board ON board.technique = taken.technique
ORDER BY taken.tokens_in, taken.technique;
