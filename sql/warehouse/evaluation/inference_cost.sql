CREATE OR REPLACE TABLE evaluation.inference_cost (
    technique VARCHAR,
    batch_size BIGINT,
    source VARCHAR,
    left_out VARCHAR,
    calls BIGINT,
    items BIGINT,
    failures DOUBLE,
    tokens_in DOUBLE,
    tokens_cached DOUBLE,
    tokens_out DOUBLE,
    ms_mean DOUBLE,
    ms_p50 DOUBLE,
    ms_p95 DOUBLE,
    core_ms DOUBLE,
    model_bytes BIGINT,
    peak_memory_bytes BIGINT,
    device_memory_bytes BIGINT,
    usd_per_1000 DOUBLE,
    usd_basis VARCHAR
);

COMMENT ON TABLE evaluation.inference_cost IS 'One row a technique and size of batch: what one estimate takes, timed on a few test items with nothing answered from a cache.';
COMMENT ON COLUMN evaluation.inference_cost.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.inference_cost.batch_size IS 'Items that are estimated together, at most; what their prompts begin with alike is computed once.';
COMMENT ON COLUMN evaluation.inference_cost.source IS 'timed: here and now; answered: by an endpoint, as it stands in evaluation.predictions.';
COMMENT ON COLUMN evaluation.inference_cost.left_out IS 'Why it was not timed; null where it was.';
COMMENT ON COLUMN evaluation.inference_cost.calls IS 'How many batches were timed.';
COMMENT ON COLUMN evaluation.inference_cost.items IS 'How many items these are.';
COMMENT ON COLUMN evaluation.inference_cost.failures IS 'Share of them without an estimate.';
COMMENT ON COLUMN evaluation.inference_cost.tokens_in IS 'Tokens read for an item, on average.';
COMMENT ON COLUMN evaluation.inference_cost.tokens_cached IS 'Of those, tokens whose computation was shared with other items.';
COMMENT ON COLUMN evaluation.inference_cost.tokens_out IS 'Tokens written for an item, on average.';
COMMENT ON COLUMN evaluation.inference_cost.ms_mean IS 'Time for an item, in milliseconds: its share of its batch, on average.';
COMMENT ON COLUMN evaluation.inference_cost.ms_p50 IS 'Median of that over the batches.';
COMMENT ON COLUMN evaluation.inference_cost.ms_p95 IS '95th percentile of that over the batches.';
COMMENT ON COLUMN evaluation.inference_cost.core_ms IS 'Time of all cores together for an item, in milliseconds.';
COMMENT ON COLUMN evaluation.inference_cost.model_bytes IS 'Bytes of its checkpoint and of the pretrained model that it builds on.';
COMMENT ON COLUMN evaluation.inference_cost.peak_memory_bytes IS 'The most memory that the process held while the technique was loaded and timed, all else that the process held included.';
COMMENT ON COLUMN evaluation.inference_cost.device_memory_bytes IS 'The most memory of the GPU that was taken meanwhile; null without one.';
COMMENT ON COLUMN evaluation.inference_cost.usd_per_1000 IS 'What a thousand estimates cost, in USD; null where neither tokens nor cores have a price.';
COMMENT ON COLUMN evaluation.inference_cost.usd_basis IS 'tokens: at PRICING_LLM_USD_PER_MILLION_...; core_time: at PRICING_COMPUTE_USD_PER_HOUR.';
