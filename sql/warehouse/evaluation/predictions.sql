CREATE OR REPLACE TABLE evaluation.predictions (
    technique VARCHAR,
    model VARCHAR,
    item_id VARCHAR,
    split VARCHAR,
    snapshot TIMESTAMPTZ,
    estimate DOUBLE,
    low DOUBLE,
    high DOUBLE,
    price DOUBLE,
    tokens_in BIGINT,
    tokens_cached BIGINT,
    tokens_out BIGINT,
    latency_ms DOUBLE,
    cost_usd DOUBLE,
    failure VARCHAR,
    prompt_version VARCHAR,
    context_items BIGINT,
    context_cut BIGINT,
    checkpoint VARCHAR,
    created_at TIMESTAMPTZ
);

COMMENT ON TABLE evaluation.predictions IS 'One row an item and technique: the record from which all evaluation follows.';
COMMENT ON COLUMN evaluation.predictions.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.predictions.model IS 'What did the estimating.';
COMMENT ON COLUMN evaluation.predictions.item_id IS 'The item.';
COMMENT ON COLUMN evaluation.predictions.split IS 'validation or test.';
COMMENT ON COLUMN evaluation.predictions.snapshot IS 'When the item''s price was observed.';
COMMENT ON COLUMN evaluation.predictions.estimate IS 'Estimated price; null on a failure.';
COMMENT ON COLUMN evaluation.predictions.low IS 'Lower end of the 80 % interval.';
COMMENT ON COLUMN evaluation.predictions.high IS 'Upper end of the 80 % interval.';
COMMENT ON COLUMN evaluation.predictions.price IS 'The item''s price.';
COMMENT ON COLUMN evaluation.predictions.tokens_in IS 'Tokens read.';
COMMENT ON COLUMN evaluation.predictions.tokens_cached IS 'Of those, tokens whose computation was reused.';
COMMENT ON COLUMN evaluation.predictions.tokens_out IS 'Tokens written.';
COMMENT ON COLUMN evaluation.predictions.latency_ms IS 'Time for this item, in milliseconds (its share of a batch); the embedding that the platform keeps of every item is not part of it.';
COMMENT ON COLUMN evaluation.predictions.cost_usd IS 'What the item cost, in USD.';
COMMENT ON COLUMN evaluation.predictions.failure IS 'Why there is no estimate; null where there is one.';
COMMENT ON COLUMN evaluation.predictions.prompt_version IS 'Of the prompt templates; null without a language model.';
COMMENT ON COLUMN evaluation.predictions.context_items IS 'Shots or comparables that the language model was shown.';
COMMENT ON COLUMN evaluation.predictions.context_cut IS 'Those that were left out, the lowest-ranked first, because the context window was full.';
COMMENT ON COLUMN evaluation.predictions.checkpoint IS 'The checkpoint that estimated; null for a technique without one.';
COMMENT ON COLUMN evaluation.predictions.created_at IS 'When the estimate was made.';
