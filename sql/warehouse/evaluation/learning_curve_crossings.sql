CREATE OR REPLACE TABLE evaluation.learning_curve_crossings (
    technique VARCHAR,
    overtaken VARCHAR,
    outcome VARCHAR,
    at_items DOUBLE,
    at_items_low DOUBLE,
    at_items_high DOUBLE,
    is_extrapolated BOOLEAN,
    share_ahead DOUBLE,
    horizon_items BIGINT,
    not_fitted VARCHAR
);

COMMENT ON TABLE evaluation.learning_curve_crossings IS 'One row a technique and another: from how many train items on its error is the lower one, by their power laws.';
COMMENT ON COLUMN evaluation.learning_curve_crossings.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.learning_curve_crossings.overtaken IS 'The other one.';
COMMENT ON COLUMN evaluation.learning_curve_crossings.outcome IS 'ahead: its error is the lower one from the smallest size on; overtakes: from at_items on; never: not within the horizon.';
COMMENT ON COLUMN evaluation.learning_curve_crossings.at_items IS 'From so many train items on; null unless it overtakes.';
COMMENT ON COLUMN evaluation.learning_curve_crossings.at_items_low IS 'Lower end of the 95 % interval of that number over resamples, where ahead counts as the smallest size; null beyond the horizon.';
COMMENT ON COLUMN evaluation.learning_curve_crossings.at_items_high IS 'Upper end of that interval; null beyond the horizon.';
COMMENT ON COLUMN evaluation.learning_curve_crossings.is_extrapolated IS 'Whether at_items is more than both were measured with.';
COMMENT ON COLUMN evaluation.learning_curve_crossings.share_ahead IS 'Share of the resamples in which it is ahead at the horizon.';
COMMENT ON COLUMN evaluation.learning_curve_crossings.horizon_items IS 'A hundred times all train items: what lies beyond is not looked at.';
COMMENT ON COLUMN evaluation.learning_curve_crossings.not_fitted IS 'Which of both has no law; null where both have one.';
