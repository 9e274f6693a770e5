CREATE OR REPLACE TABLE evaluation.llm_calls (
    technique VARCHAR,
    model VARCHAR,
    item_id VARCHAR,
    step VARCHAR,
    call BIGINT,
    tokens_in BIGINT,
    tokens_cached BIGINT,
    tokens_out BIGINT,
    cost_usd DOUBLE,
    latency_ms DOUBLE,
    attempts BIGINT,
    from_cache BOOLEAN,
    outcome VARCHAR,
    reason VARCHAR
);

COMMENT ON TABLE evaluation.llm_calls IS 'One row a call of a language model: for which technique, item and step, and what it took.';
COMMENT ON COLUMN evaluation.llm_calls.technique IS 'The technique; with fitting/, context_sweep/ or injection_resistance/ before it where the call was made for that.';
COMMENT ON COLUMN evaluation.llm_calls.model IS 'The language model.';
COMMENT ON COLUMN evaluation.llm_calls.item_id IS 'The item; empty for a training at the endpoint.';
COMMENT ON COLUMN evaluation.llm_calls.step IS 'What the call was for, such as attributes, action or price; fine_tuning for a training at the endpoint, whose tokens_in are those trained on.';
COMMENT ON COLUMN evaluation.llm_calls.call IS 'Which of the technique''s calls for the item it was, from 1.';
COMMENT ON COLUMN evaluation.llm_calls.tokens_in IS 'Tokens sent.';
COMMENT ON COLUMN evaluation.llm_calls.tokens_cached IS 'Of those, tokens whose computation was reused.';
COMMENT ON COLUMN evaluation.llm_calls.tokens_out IS 'Tokens written.';
COMMENT ON COLUMN evaluation.llm_calls.cost_usd IS 'What the call cost when it was made, in USD.';
COMMENT ON COLUMN evaluation.llm_calls.latency_ms IS 'How long it took when it was made, in milliseconds; on this machine its share of a batch.';
COMMENT ON COLUMN evaluation.llm_calls.attempts IS 'How many times it was sent.';
COMMENT ON COLUMN evaluation.llm_calls.from_cache IS 'Whether it was answered by an earlier call and not sent again.';
COMMENT ON COLUMN evaluation.llm_calls.outcome IS 'answered, refused, rate_limited, server_error, timed_out, unreadable, unusable (answered, but what it said cannot be used), too_long or failed.';
COMMENT ON COLUMN evaluation.llm_calls.reason IS 'Why it was not answered; null where it was.';
