-- Ranked is by the error on all items, those without an estimate charged with what category_median
-- would have cost there, so that nobody climbs by refusing what is dear. Where some are asked for a
-- sample alone, all rank by that error on the items that all of them were asked about, if there are
-- any. A technique that answered nothing is last: its error is that of category_median.
CREATE OR REPLACE VIEW evaluation.evaluated_segments AS
WITH metrics AS (
    SELECT
        technique,
        technique = 'noise_floor' AS is_reference,
        split,
        segment,
        segment_value,
        max(items) FILTER (metric = 'mae') AS items,
        max(value) FILTER (metric = 'mae') AS mae,
        max(low) FILTER (metric = 'mae') AS mae_low,
        max(high) FILTER (metric = 'mae') AS mae_high,
        max(value) FILTER (metric = 'answered') AS answered,
        max(low) FILTER (metric = 'answered') AS answered_low,
        max(high) FILTER (metric = 'answered') AS answered_high,
        max(value) FILTER (metric = 'mae_answered') AS mae_answered,
        max(low) FILTER (metric = 'mae_answered') AS mae_answered_low,
        max(high) FILTER (metric = 'mae_answered') AS mae_answered_high,
        max(value) FILTER (metric = 'mae_common') AS mae_common,
        max(low) FILTER (metric = 'mae_common') AS mae_common_low,
        max(high) FILTER (metric = 'mae_common') AS mae_common_high,
        max(items) FILTER (metric = 'mae_common') AS common_items,
        max(value) FILTER (metric = 'rmsle') AS rmsle,
        max(low) FILTER (metric = 'rmsle') AS rmsle_low,
        max(high) FILTER (metric = 'rmsle') AS rmsle_high,
        max(value) FILTER (metric = 'smape') AS smape,
        max(low) FILTER (metric = 'smape') AS smape_low,
        max(high) FILTER (metric = 'smape') AS smape_high,
        max(value) FILTER (metric = 'within_20_percent') AS within_20_percent,
        max(low) FILTER (metric = 'within_20_percent') AS within_20_percent_low,
        max(high) FILTER (metric = 'within_20_percent') AS within_20_percent_high,
        max(value) FILTER (metric = 'r2') AS r2,
        max(low) FILTER (metric = 'r2') AS r2_low,
        max(high) FILTER (metric = 'r2') AS r2_high,
        max(value) FILTER (metric = 'hit_rate') AS hit_rate,
        max(low) FILTER (metric = 'hit_rate') AS hit_rate_low,
        max(high) FILTER (metric = 'hit_rate') AS hit_rate_high,
        max(value) FILTER (metric = 'interval_coverage') AS interval_coverage,
        max(low) FILTER (metric = 'interval_coverage') AS interval_coverage_low,
        max(high) FILTER (metric = 'interval_coverage') AS interval_coverage_high,
        max(value) FILTER (metric = 'interval_width') AS interval_width,
        max(low) FILTER (metric = 'interval_width') AS interval_width_low,
        max(high) FILTER (metric = 'interval_width') AS interval_width_high,
        max(value) FILTER (metric = 'latency_p50_ms') AS latency_p50_ms,
        max(value) FILTER (metric = 'latency_p95_ms') AS latency_p95_ms,
        max(value) FILTER (metric = 'tokens_in') AS tokens_in,
        max(value) FILTER (metric = 'tokens_cached') AS tokens_cached,
        max(value) FILTER (metric = 'tokens_out') AS tokens_out,
        max(value) FILTER (metric = 'cost_per_1000_usd') AS cost_per_1000_usd,
        max(value) FILTER (metric = 'training_seconds') AS training_seconds
    FROM evaluation.technique_metrics
    GROUP BY technique, split, segment, segment_value
),
ranked AS (
    SELECT
        split,
        segment,
        segment_value,
        CASE WHEN min(items) < max(items) AND count(mae_common) > 0
            THEN 'mae_common' ELSE 'mae' END AS ranked_by
    FROM metrics
    WHERE NOT is_reference
    GROUP BY split, segment, segment_value
)
SELECT
    CASE WHEN NOT is_reference THEN
        rank() OVER (
            PARTITION BY split, segment, segment_value, is_reference
            ORDER BY
                answered = 0,
                CASE ranked_by WHEN 'mae_common' THEN mae_common END NULLS LAST,
                mae
        )
    END AS rank,
    metrics.*,
    ranked.ranked_by
FROM metrics
LEFT JOIN ranked USING (split, segment, segment_value);

COMMENT ON VIEW evaluation.evaluated_segments IS 'One row a technique, split and segment, with all metrics.';
COMMENT ON COLUMN evaluation.evaluated_segments.rank IS 'Place by the error that ranked_by names, those that answered nothing last; null for a reference.';
COMMENT ON COLUMN evaluation.evaluated_segments.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.evaluated_segments.is_reference IS 'Whether this is a reference and no technique, such as the noise floor.';
COMMENT ON COLUMN evaluation.evaluated_segments.split IS 'validation or test.';
COMMENT ON COLUMN evaluation.evaluated_segments.segment IS 'all, source, category or price_band.';
COMMENT ON COLUMN evaluation.evaluated_segments.segment_value IS 'The segment''s value; ''all'' for all.';
COMMENT ON COLUMN evaluation.evaluated_segments.items IS 'Items that were to be priced.';
COMMENT ON COLUMN evaluation.evaluated_segments.mae IS 'Mean absolute error, in the currency, over all items that it was asked about; without an estimate, what category_median would have cost.';
COMMENT ON COLUMN evaluation.evaluated_segments.mae_low IS 'Lower end of the 95 % bootstrap interval of mae.';
COMMENT ON COLUMN evaluation.evaluated_segments.mae_high IS 'Upper end of the 95 % bootstrap interval of mae.';
COMMENT ON COLUMN evaluation.evaluated_segments.answered IS 'Share of the items with an estimate.';
COMMENT ON COLUMN evaluation.evaluated_segments.answered_low IS 'Lower end of the 95 % bootstrap interval of answered.';
COMMENT ON COLUMN evaluation.evaluated_segments.answered_high IS 'Upper end of the 95 % bootstrap interval of answered.';
COMMENT ON COLUMN evaluation.evaluated_segments.mae_answered IS 'Mean absolute error over the items with an estimate alone; so are all measures below but mae_common.';
COMMENT ON COLUMN evaluation.evaluated_segments.mae_answered_low IS 'Lower end of the 95 % bootstrap interval of mae_answered.';
COMMENT ON COLUMN evaluation.evaluated_segments.mae_answered_high IS 'Upper end of the 95 % bootstrap interval of mae_answered.';
COMMENT ON COLUMN evaluation.evaluated_segments.mae_common IS 'mae over the items that every technique was asked about.';
COMMENT ON COLUMN evaluation.evaluated_segments.mae_common_low IS 'Lower end of the 95 % bootstrap interval of mae_common.';
COMMENT ON COLUMN evaluation.evaluated_segments.mae_common_high IS 'Upper end of the 95 % bootstrap interval of mae_common.';
COMMENT ON COLUMN evaluation.evaluated_segments.common_items IS 'Items that mae_common is over.';
COMMENT ON COLUMN evaluation.evaluated_segments.rmsle IS 'Root mean squared log error.';
COMMENT ON COLUMN evaluation.evaluated_segments.rmsle_low IS 'Lower end of the 95 % bootstrap interval of rmsle.';
COMMENT ON COLUMN evaluation.evaluated_segments.rmsle_high IS 'Upper end of the 95 % bootstrap interval of rmsle.';
COMMENT ON COLUMN evaluation.evaluated_segments.smape IS 'Symmetric mean absolute percentage error, 0 to 200.';
COMMENT ON COLUMN evaluation.evaluated_segments.smape_low IS 'Lower end of the 95 % bootstrap interval of smape.';
COMMENT ON COLUMN evaluation.evaluated_segments.smape_high IS 'Upper end of the 95 % bootstrap interval of smape.';
COMMENT ON COLUMN evaluation.evaluated_segments.within_20_percent IS 'Share of estimates less than 20 % off.';
COMMENT ON COLUMN evaluation.evaluated_segments.within_20_percent_low IS 'Lower end of the 95 % bootstrap interval of within_20_percent.';
COMMENT ON COLUMN evaluation.evaluated_segments.within_20_percent_high IS 'Upper end of the 95 % bootstrap interval of within_20_percent.';
COMMENT ON COLUMN evaluation.evaluated_segments.r2 IS 'Share of the prices'' variance that is explained.';
COMMENT ON COLUMN evaluation.evaluated_segments.r2_low IS 'Lower end of the 95 % bootstrap interval of r2.';
COMMENT ON COLUMN evaluation.evaluated_segments.r2_high IS 'Upper end of the 95 % bootstrap interval of r2.';
COMMENT ON COLUMN evaluation.evaluated_segments.hit_rate IS 'Share of estimates less than 40 or less than 20 % off.';
COMMENT ON COLUMN evaluation.evaluated_segments.hit_rate_low IS 'Lower end of the 95 % bootstrap interval of hit_rate.';
COMMENT ON COLUMN evaluation.evaluated_segments.hit_rate_high IS 'Upper end of the 95 % bootstrap interval of hit_rate.';
COMMENT ON COLUMN evaluation.evaluated_segments.interval_coverage IS 'Share of prices inside the 80 % interval; null without intervals.';
COMMENT ON COLUMN evaluation.evaluated_segments.interval_coverage_low IS 'Lower end of the 95 % bootstrap interval of interval_coverage.';
COMMENT ON COLUMN evaluation.evaluated_segments.interval_coverage_high IS 'Upper end of the 95 % bootstrap interval of interval_coverage.';
COMMENT ON COLUMN evaluation.evaluated_segments.interval_width IS 'Mean width of that interval, in the currency.';
COMMENT ON COLUMN evaluation.evaluated_segments.interval_width_low IS 'Lower end of the 95 % bootstrap interval of interval_width.';
COMMENT ON COLUMN evaluation.evaluated_segments.interval_width_high IS 'Upper end of the 95 % bootstrap interval of interval_width.';
COMMENT ON COLUMN evaluation.evaluated_segments.latency_p50_ms IS 'Median time for an item, in milliseconds.';
COMMENT ON COLUMN evaluation.evaluated_segments.latency_p95_ms IS '95th percentile of that time.';
COMMENT ON COLUMN evaluation.evaluated_segments.tokens_in IS 'Tokens that a language model read for an item, on average; 0 without one.';
COMMENT ON COLUMN evaluation.evaluated_segments.tokens_cached IS 'Of those, tokens whose computation was reused.';
COMMENT ON COLUMN evaluation.evaluated_segments.tokens_out IS 'Tokens that it wrote for an item, on average.';
COMMENT ON COLUMN evaluation.evaluated_segments.cost_per_1000_usd IS 'What a thousand items cost, in USD.';
COMMENT ON COLUMN evaluation.evaluated_segments.training_seconds IS 'Time that fitting took; null where it is not known.';
COMMENT ON COLUMN evaluation.evaluated_segments.ranked_by IS 'The error that the rank is by: mae, or mae_common where some techniques were asked for a sample alone.';
