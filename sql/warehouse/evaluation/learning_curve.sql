CREATE OR REPLACE TABLE evaluation.learning_curve (
    technique VARCHAR,
    size BIGINT,
    is_all BOOLEAN,
    seed BIGINT,
    left_out VARCHAR,
    planned_seconds DOUBLE,
    model VARCHAR,
    token_budget BIGINT,
    train_items BIGINT,
    train_families BIGINT,
    test_items BIGINT,
    failures DOUBLE,
    mae DOUBLE,
    mae_low DOUBLE,
    mae_high DOUBLE,
    rmsle DOUBLE,
    common_items BIGINT,
    mae_common DOUBLE,
    mae_common_low DOUBLE,
    mae_common_high DOUBLE,
    training_seconds DOUBLE,
    training_core_seconds DOUBLE,
    training_joules DOUBLE,
    training_resumed BOOLEAN,
    inference_seconds DOUBLE
);

COMMENT ON TABLE evaluation.learning_curve IS 'One row a technique, number of train items and order of them: its error on the test items, and what training took.';
COMMENT ON COLUMN evaluation.learning_curve.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.learning_curve.size IS 'How many train items it was to learn from.';
COMMENT ON COLUMN evaluation.learning_curve.is_all IS 'Whether these are all train items: the fit that the predictions were made with, which is not made again.';
COMMENT ON COLUMN evaluation.learning_curve.seed IS 'Of the order in which families join the train items, and of the fit. For one seed, what is in a smaller part is in every larger one.';
COMMENT ON COLUMN evaluation.learning_curve.left_out IS 'Why this was not measured; null where it was.';
COMMENT ON COLUMN evaluation.learning_curve.planned_seconds IS 'What it was expected to take, by which the points within PRICING_LEARNING_CURVE_SECONDS were chosen.';
COMMENT ON COLUMN evaluation.learning_curve.model IS 'What estimated.';
COMMENT ON COLUMN evaluation.learning_curve.token_budget IS 'Tokens that the training could read, in proportion to the items; null for a technique without a budget.';
COMMENT ON COLUMN evaluation.learning_curve.train_items IS 'How many it learnt from: whole families, so about the size.';
COMMENT ON COLUMN evaluation.learning_curve.train_families IS 'Of how many families they are.';
COMMENT ON COLUMN evaluation.learning_curve.test_items IS 'Test items that the technique was asked about.';
COMMENT ON COLUMN evaluation.learning_curve.failures IS 'Share of them without an estimate.';
COMMENT ON COLUMN evaluation.learning_curve.mae IS 'Mean absolute error, in the currency, over all of them; without an estimate, what category_median would have cost.';
COMMENT ON COLUMN evaluation.learning_curve.mae_low IS 'Lower end of its 95 % bootstrap interval, clustered by family.';
COMMENT ON COLUMN evaluation.learning_curve.mae_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.learning_curve.rmsle IS 'Root mean squared log error over those with an estimate.';
COMMENT ON COLUMN evaluation.learning_curve.common_items IS 'Test items that all techniques of the table were asked about.';
COMMENT ON COLUMN evaluation.learning_curve.mae_common IS 'Mean absolute error over those: by it the techniques are compared.';
COMMENT ON COLUMN evaluation.learning_curve.mae_common_low IS 'Lower end of its 95 % bootstrap interval, clustered by family.';
COMMENT ON COLUMN evaluation.learning_curve.mae_common_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.learning_curve.training_seconds IS 'Time that fitting took. What an earlier fit had computed and kept was not computed again.';
COMMENT ON COLUMN evaluation.learning_curve.training_core_seconds IS 'Time of all cores together that fitting took in this process; null where it is not known.';
COMMENT ON COLUMN evaluation.learning_curve.training_joules IS 'Energy that the processors took meanwhile; null where the machine does not tell.';
COMMENT ON COLUMN evaluation.learning_curve.training_resumed IS 'Whether training went on after a kill; what it took is then of all its parts.';
COMMENT ON COLUMN evaluation.learning_curve.inference_seconds IS 'Time that estimating the test items took, all together.';
