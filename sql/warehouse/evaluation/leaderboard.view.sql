CREATE OR REPLACE VIEW evaluation.leaderboard AS
SELECT
    rank,
    technique,
    is_reference,
    items,
    mae,
    mae_low,
    mae_high,
    answered,
    answered_low,
    answered_high,
    mae_answered,
    mae_answered_low,
    mae_answered_high,
    mae_common,
    mae_common_low,
    mae_common_high,
    common_items,
    rmsle,
    rmsle_low,
    rmsle_high,
    smape,
    smape_low,
    smape_high,
    within_20_percent,
    within_20_percent_low,
    within_20_percent_high,
    r2,
    r2_low,
    r2_high,
    hit_rate,
    hit_rate_low,
    hit_rate_high,
    interval_coverage,
    interval_width,
    latency_p50_ms,
    latency_p95_ms,
    tokens_in,
    tokens_cached,
    tokens_out,
    cost_per_1000_usd,
    training_seconds,
    ranked_by
FROM evaluation.evaluated_segments
WHERE split = 'test' AND segment = 'all'
ORDER BY is_reference, rank, technique;

COMMENT ON VIEW evaluation.leaderboard IS 'One row a technique: what it reached on the test items, best first.';
COMMENT ON COLUMN evaluation.leaderboard.rank IS 'Place by the error that ranked_by names, those that answered nothing last; null for a reference.';
COMMENT ON COLUMN evaluation.leaderboard.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.leaderboard.is_reference IS 'Whether this is a reference and no technique, such as the noise floor.';
COMMENT ON COLUMN evaluation.leaderboard.items IS 'Items that were to be priced.';
COMMENT ON COLUMN evaluation.leaderboard.mae IS 'Mean absolute error, in the currency, over all items that it was asked about; without an estimate, what category_median would have cost.';
COMMENT ON COLUMN evaluation.leaderboard.mae_low IS 'Lower end of the 95 % bootstrap interval of mae.';
COMMENT ON COLUMN evaluation.leaderboard.mae_high IS 'Upper end of the 95 % bootstrap interval of mae.';
COMMENT ON COLUMN evaluation.leaderboard.answered IS 'Share of the items with an estimate.';
COMMENT ON COLUMN evaluation.leaderboard.answered_low IS 'Lower end of the 95 % bootstrap interval of answered.';
COMMENT ON COLUMN evaluation.leaderboard.answered_high IS 'Upper end of the 95 % bootstrap interval of answered.';
COMMENT ON COLUMN evaluation.leaderboard.mae_answered IS 'Mean absolute error over the items with an estimate alone; so are all measures below but mae_common.';
COMMENT ON COLUMN evaluation.leaderboard.mae_answered_low IS 'Lower end of the 95 % bootstrap interval of mae_answered.';
COMMENT ON COLUMN evaluation.leaderboard.mae_answered_high IS 'Upper end of the 95 % bootstrap interval of mae_answered.';
COMMENT ON COLUMN evaluation.leaderboard.mae_common IS 'mae over the items that every technique was asked about.';
COMMENT ON COLUMN evaluation.leaderboard.mae_common_low IS 'Lower end of the 95 % bootstrap interval of mae_common.';
COMMENT ON COLUMN evaluation.leaderboard.mae_common_high IS 'Upper end of the 95 % bootstrap interval of mae_common.';
COMMENT ON COLUMN evaluation.leaderboard.common_items IS 'Items that mae_common is over.';
COMMENT ON COLUMN evaluation.leaderboard.rmsle IS 'Root mean squared log error.';
COMMENT ON COLUMN evaluation.leaderboard.rmsle_low IS 'Lower end of the 95 % bootstrap interval of rmsle.';
COMMENT ON COLUMN evaluation.leaderboard.rmsle_high IS 'Upper end of the 95 % bootstrap interval of rmsle.';
COMMENT ON COLUMN evaluation.leaderboard.smape IS 'Symmetric mean absolute percentage error, 0 to 200.';
COMMENT ON COLUMN evaluation.leaderboard.smape_low IS 'Lower end of the 95 % bootstrap interval of smape.';
COMMENT ON COLUMN evaluation.leaderboard.smape_high IS 'Upper end of the 95 % bootstrap interval of smape.';
COMMENT ON COLUMN evaluation.leaderboard.within_20_percent IS 'Share of estimates less than 20 % off.';
COMMENT ON COLUMN evaluation.leaderboard.within_20_percent_low IS 'Lower end of the 95 % bootstrap interval of within_20_percent.';
COMMENT ON COLUMN evaluation.leaderboard.within_20_percent_high IS 'Upper end of the 95 % bootstrap interval of within_20_percent.';
COMMENT ON COLUMN evaluation.leaderboard.r2 IS 'Share of the prices'' variance that is explained.';
COMMENT ON COLUMN evaluation.leaderboard.r2_low IS 'Lower end of the 95 % bootstrap interval of r2.';
COMMENT ON COLUMN evaluation.leaderboard.r2_high IS 'Upper end of the 95 % bootstrap interval of r2.';
COMMENT ON COLUMN evaluation.leaderboard.hit_rate IS 'Share of estimates less than 40 or less than 20 % off.';
COMMENT ON COLUMN evaluation.leaderboard.hit_rate_low IS 'Lower end of the 95 % bootstrap interval of hit_rate.';
COMMENT ON COLUMN evaluation.leaderboard.hit_rate_high IS 'Upper end of the 95 % bootstrap interval of hit_rate.';
COMMENT ON COLUMN evaluation.leaderboard.interval_coverage IS 'Share of prices inside the 80 % interval; null without intervals.';
COMMENT ON COLUMN evaluation.leaderboard.interval_width IS 'Mean width of that interval, in the currency.';
COMMENT ON COLUMN evaluation.leaderboard.latency_p50_ms IS 'Median time for an item, in milliseconds.';
COMMENT ON COLUMN evaluation.leaderboard.latency_p95_ms IS '95th percentile of that time.';
COMMENT ON COLUMN evaluation.leaderboard.tokens_in IS 'Tokens that a language model read for an item, on average; 0 without one.';
COMMENT ON COLUMN evaluation.leaderboard.tokens_cached IS 'Of those, tokens whose computation was reused.';
COMMENT ON COLUMN evaluation.leaderboard.tokens_out IS 'Tokens that it wrote for an item, on average.';
COMMENT ON COLUMN evaluation.leaderboard.cost_per_1000_usd IS 'What a thousand items cost, in USD.';
COMMENT ON COLUMN evaluation.leaderboard.training_seconds IS 'Time that fitting took; null where it is not known.';
COMMENT ON COLUMN evaluation.leaderboard.ranked_by IS 'The error that the rank is by: mae, or mae_common where some techniques were asked for a sample alone.';
