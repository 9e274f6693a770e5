CREATE OR REPLACE VIEW evaluation.leaderboard_by_source AS
SELECT
    rank,
    technique,
    is_reference,
    segment_value AS source,
    items,
    mae,
    mae_low,
    mae_high,
    answered,
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
    hit_rate,
    interval_coverage,
    interval_width,
    tokens_in,
    tokens_cached,
    tokens_out,
    cost_per_1000_usd,
    ranked_by
FROM evaluation.evaluated_segments
WHERE split = 'test' AND segment = 'source'
ORDER BY source, is_reference, rank, technique;

COMMENT ON VIEW evaluation.leaderboard_by_source IS 'One row a source and technique: what it reached on the source''s test items.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.rank IS 'Place by the error that ranked_by names, those that answered nothing last; null for a reference.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.is_reference IS 'Whether this is a reference and no technique, such as the noise floor.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.source IS 'The source.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.items IS 'Items that were to be priced.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.mae IS 'Mean absolute error, in the currency, over all items that it was asked about; without an estimate, what category_median would have cost.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.mae_low IS 'Lower end of the 95 % bootstrap interval of mae.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.mae_high IS 'Upper end of the 95 % bootstrap interval of mae.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.answered IS 'Share of the items with an estimate.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.mae_answered IS 'Mean absolute error over the items with an estimate alone; so are all measures below but mae_common.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.mae_answered_low IS 'Lower end of the 95 % bootstrap interval of mae_answered.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.mae_answered_high IS 'Upper end of the 95 % bootstrap interval of mae_answered.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.mae_common IS 'mae over the items that every technique was asked about.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.mae_common_low IS 'Lower end of the 95 % bootstrap interval of mae_common.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.mae_common_high IS 'Upper end of the 95 % bootstrap interval of mae_common.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.common_items IS 'Items that mae_common is over.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.rmsle IS 'Root mean squared log error.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.rmsle_low IS 'Lower end of the 95 % bootstrap interval of rmsle.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.rmsle_high IS 'Upper end of the 95 % bootstrap interval of rmsle.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.smape IS 'Symmetric mean absolute percentage error, 0 to 200.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.smape_low IS 'Lower end of the 95 % bootstrap interval of smape.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.smape_high IS 'Upper end of the 95 % bootstrap interval of smape.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.within_20_percent IS 'Share of estimates less than 20 % off.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.within_20_percent_low IS 'Lower end of the 95 % bootstrap interval of within_20_percent.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.within_20_percent_high IS 'Upper end of the 95 % bootstrap interval of within_20_percent.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.r2 IS 'Share of the prices'' variance that is explained.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.hit_rate IS 'Share of estimates less than 40 or less than 20 % off.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.interval_coverage IS 'Share of prices inside the 80 % interval; null without intervals.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.interval_width IS 'Mean width of that interval, in the currency.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.tokens_in IS 'Tokens that a language model read for an item, on average; 0 without one.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.tokens_cached IS 'Of those, tokens whose computation was reused.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.tokens_out IS 'Tokens that it wrote for an item, on average.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.cost_per_1000_usd IS 'What a thousand items cost, in USD.';
COMMENT ON COLUMN evaluation.leaderboard_by_source.ranked_by IS 'The error that the rank is by: mae, or mae_common where some techniques were asked for a sample alone.';
