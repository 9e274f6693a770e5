CREATE OR REPLACE TABLE evaluation.technique_metrics (
    technique VARCHAR,
    split VARCHAR,
    segment VARCHAR,
    segment_value VARCHAR,
    metric VARCHAR,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    items BIGINT
);

COMMENT ON TABLE evaluation.technique_metrics IS 'One row a technique, split, segment and metric, with its interval.';
COMMENT ON COLUMN evaluation.technique_metrics.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.technique_metrics.split IS 'validation or test.';
COMMENT ON COLUMN evaluation.technique_metrics.segment IS 'all, source, category or price_band.';
COMMENT ON COLUMN evaluation.technique_metrics.segment_value IS 'The segment''s value; ''all'' for all.';
COMMENT ON COLUMN evaluation.technique_metrics.metric IS 'mae, mae_answered, mae_common, answered, rmsle, smape, within_20_percent, r2, hit_rate, interval_coverage, interval_width, latency_p50_ms, latency_p95_ms, tokens_in, tokens_cached, tokens_out, cost_per_1000_usd, training_seconds.';
COMMENT ON COLUMN evaluation.technique_metrics.value IS 'The metric''s value.';
COMMENT ON COLUMN evaluation.technique_metrics.low IS 'Lower end of its 95 % bootstrap interval, clustered by family; null where there is none.';
COMMENT ON COLUMN evaluation.technique_metrics.high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.technique_metrics.items IS 'Items that it is over; null for training_seconds.';
