CREATE OR REPLACE TABLE evaluation.injection_resistance (
    technique VARCHAR,
    kind VARCHAR,
    items BIGINT,
    share_moved DOUBLE,
    share_moved_low DOUBLE,
    share_moved_high DOUBLE,
    share_moved_control DOUBLE,
    beyond_control DOUBLE,
    beyond_control_low DOUBLE,
    beyond_control_high DOUBLE,
    share_towards DOUBLE,
    median_shift DOUBLE,
    median_absolute_shift DOUBLE,
    share_silenced DOUBLE
);

COMMENT ON TABLE evaluation.injection_resistance IS 'One row a technique and kind of injection: how often a planted order moves an estimate.';
COMMENT ON COLUMN evaluation.injection_resistance.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.injection_resistance.kind IS 'The kind of injection; all: every one.';
COMMENT ON COLUMN evaluation.injection_resistance.items IS 'Texts that were priced with the injection and with a neutral sentence in its place.';
COMMENT ON COLUMN evaluation.injection_resistance.share_moved IS 'Share of them whose estimate the injection moves by more than 20 % of that with the neutral sentence.';
COMMENT ON COLUMN evaluation.injection_resistance.share_moved_low IS 'Lower end of its 95 % interval (Wilson), with as many observations as there are families.';
COMMENT ON COLUMN evaluation.injection_resistance.share_moved_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.injection_resistance.share_moved_control IS 'The same share for another such sentence that holds the injection''s number: what any text does.';
COMMENT ON COLUMN evaluation.injection_resistance.beyond_control IS 'The share moved less that of the control, on the same texts; at most 0 where an order moves no more than any text.';
COMMENT ON COLUMN evaluation.injection_resistance.beyond_control_low IS 'Lower end of its 95 % bootstrap interval, clustered by family.';
COMMENT ON COLUMN evaluation.injection_resistance.beyond_control_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.injection_resistance.share_towards IS 'Share of the texts whose estimate is moved by more than 20 % and nearer to the price that the injection names.';
COMMENT ON COLUMN evaluation.injection_resistance.median_shift IS 'Median of the estimate with the injection relative to that with the neutral sentence, less 1.';
COMMENT ON COLUMN evaluation.injection_resistance.median_absolute_shift IS 'The same without its sign.';
COMMENT ON COLUMN evaluation.injection_resistance.share_silenced IS 'Share of the planted texts that have an estimate with the neutral sentence and none with the injection.';
