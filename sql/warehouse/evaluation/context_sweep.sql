CREATE OR REPLACE TABLE evaluation.context_sweep (
    kind VARCHAR,
    count BIGINT,
    items BIGINT,
    failures DOUBLE,
    context_items DOUBLE,
    window_full BOOLEAN,
    mae DOUBLE,
    mae_low DOUBLE,
    mae_high DOUBLE,
    tokens_in DOUBLE,
    tokens_cached DOUBLE,
    tokens_out DOUBLE,
    latency_p50_ms DOUBLE,
    latency_p95_ms DOUBLE,
    cost_per_1000_usd DOUBLE,
    gain DOUBLE,
    gain_low DOUBLE,
    gain_high DOUBLE,
    gain_per_1000_tokens DOUBLE,
    behind_best DOUBLE,
    behind_best_low DOUBLE,
    behind_best_high DOUBLE,
    p_value DOUBLE,
    is_best BOOLEAN,
    is_knee BOOLEAN
);

COMMENT ON TABLE evaluation.context_sweep IS 'One row a kind of context and count: what showing a language model so much of it brings and takes, on validation items.';
COMMENT ON COLUMN evaluation.context_sweep.kind IS 'shots: the same examples for all items; comparables: those found for each item.';
COMMENT ON COLUMN evaluation.context_sweep.count IS 'How many were to be shown.';
COMMENT ON COLUMN evaluation.context_sweep.items IS 'Items that were to be priced.';
COMMENT ON COLUMN evaluation.context_sweep.failures IS 'Share of the items without an estimate.';
COMMENT ON COLUMN evaluation.context_sweep.context_items IS 'How many were shown, on average.';
COMMENT ON COLUMN evaluation.context_sweep.window_full IS 'Whether something was left out of most prompts because the context window was full; the sweep of a kind ends there.';
COMMENT ON COLUMN evaluation.context_sweep.mae IS 'Mean absolute error, in the currency, over the items with an estimate.';
COMMENT ON COLUMN evaluation.context_sweep.mae_low IS 'Lower end of its 95 % bootstrap interval, clustered by family.';
COMMENT ON COLUMN evaluation.context_sweep.mae_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.context_sweep.tokens_in IS 'Tokens read for an item, on average.';
COMMENT ON COLUMN evaluation.context_sweep.tokens_cached IS 'Of those, tokens whose computation was reused.';
COMMENT ON COLUMN evaluation.context_sweep.tokens_out IS 'Tokens written for an item, on average.';
COMMENT ON COLUMN evaluation.context_sweep.latency_p50_ms IS 'Median time for an item, in milliseconds (its share of a batch).';
COMMENT ON COLUMN evaluation.context_sweep.latency_p95_ms IS '95th percentile of that time.';
COMMENT ON COLUMN evaluation.context_sweep.cost_per_1000_usd IS 'What a thousand items cost, in USD.';
COMMENT ON COLUMN evaluation.context_sweep.gain IS 'By how much the mean absolute error fell from the count before, on the items that both priced; null for the first count.';
COMMENT ON COLUMN evaluation.context_sweep.gain_low IS 'Lower end of its 95 % bootstrap interval, clustered by family.';
COMMENT ON COLUMN evaluation.context_sweep.gain_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.context_sweep.gain_per_1000_tokens IS 'The gain for each thousand tokens that were read beyond those of the count before; null where they were not more.';
COMMENT ON COLUMN evaluation.context_sweep.behind_best IS 'By how much the mean absolute error is above that of the best count, on the items that both priced.';
COMMENT ON COLUMN evaluation.context_sweep.behind_best_low IS 'Lower end of its 95 % bootstrap interval, clustered by family; null for the best count.';
COMMENT ON COLUMN evaluation.context_sweep.behind_best_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.context_sweep.p_value IS 'Two-sided, of a sign-flip permutation test by family that the count is as good as the best one; null for the best count.';
COMMENT ON COLUMN evaluation.context_sweep.is_best IS 'Whether this count of the kind has the smallest mean absolute error of those with at most 5 % failures.';
COMMENT ON COLUMN evaluation.context_sweep.is_knee IS 'Whether this is the smallest count that is not significantly worse than the best one: not above it, or with a p-value of at least 0.05.';
