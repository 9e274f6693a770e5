CREATE OR REPLACE TABLE evaluation.break_even (
    technique VARCHAR,
    compared_with VARCHAR,
    batch_size BIGINT,
    training_seconds DOUBLE,
    seconds_saved_per_1000 DOUBLE,
    estimates DOUBLE,
    training_usd DOUBLE,
    usd_saved_per_1000 DOUBLE,
    estimates_usd DOUBLE
);

COMMENT ON TABLE evaluation.break_even IS 'One row a fine-tuned technique, one that shows a context, and size of batch: after how many estimates training has paid.';
COMMENT ON COLUMN evaluation.break_even.technique IS 'The fine-tuned technique.';
COMMENT ON COLUMN evaluation.break_even.compared_with IS 'The technique that it is compared with.';
COMMENT ON COLUMN evaluation.break_even.batch_size IS 'Items that both estimate together.';
COMMENT ON COLUMN evaluation.break_even.training_seconds IS 'Time that fine-tuning took.';
COMMENT ON COLUMN evaluation.break_even.seconds_saved_per_1000 IS 'Time that a thousand estimates take less; negative where they take more, null where the other is asked at an endpoint.';
COMMENT ON COLUMN evaluation.break_even.estimates IS 'After so many estimates the time of training is saved; null where none is saved.';
COMMENT ON COLUMN evaluation.break_even.training_usd IS 'What the core time of training costs, in USD; null where cores have no price.';
COMMENT ON COLUMN evaluation.break_even.usd_saved_per_1000 IS 'What a thousand estimates cost less, in USD; null where one of both has no price.';
COMMENT ON COLUMN evaluation.break_even.estimates_usd IS 'After so many estimates the cost of training is saved; null where none is saved, or it is not known.';
