CREATE OR REPLACE TABLE evaluation.learning_curve_fits (
    technique VARCHAR,
    sizes BIGINT,
    points BIGINT,
    form VARCHAR,
    not_fitted VARCHAR,
    floor DOUBLE,
    factor DOUBLE,
    exponent DOUBLE,
    residual DOUBLE,
    items BIGINT,
    mae DOUBLE,
    mae_low DOUBLE,
    mae_high DOUBLE,
    further_items BIGINT,
    mae_further DOUBLE,
    mae_further_low DOUBLE,
    mae_further_high DOUBLE,
    gain DOUBLE,
    gain_low DOUBLE,
    gain_high DOUBLE
);

COMMENT ON TABLE evaluation.learning_curve_fits IS 'One row a technique: how its error falls with the train items, as a power law, and what further items would bring. Intervals are of a bootstrap over families of the common test items and over seeds; they do not know how far the law itself holds.';
COMMENT ON COLUMN evaluation.learning_curve_fits.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.learning_curve_fits.sizes IS 'After how many different numbers of train items its error was measured.';
COMMENT ON COLUMN evaluation.learning_curve_fits.points IS 'How many fits these are, all seeds together.';
COMMENT ON COLUMN evaluation.learning_curve_fits.form IS 'power_with_floor: error = floor + factor * items ^ -exponent; power: without a floor, where two sizes can''t tell one, which flatters what lies beyond them.';
COMMENT ON COLUMN evaluation.learning_curve_fits.not_fitted IS 'Why there is no law; null where there is one.';
COMMENT ON COLUMN evaluation.learning_curve_fits.floor IS 'The error that no number of items takes away, in the currency.';
COMMENT ON COLUMN evaluation.learning_curve_fits.factor IS 'What stands before the power of the items.';
COMMENT ON COLUMN evaluation.learning_curve_fits.exponent IS 'How fast the error falls.';
COMMENT ON COLUMN evaluation.learning_curve_fits.residual IS 'Root mean square of what the law misses of the seed means, in the currency; 0 where there are as many parameters as sizes.';
COMMENT ON COLUMN evaluation.learning_curve_fits.items IS 'All train items.';
COMMENT ON COLUMN evaluation.learning_curve_fits.mae IS 'Mean absolute error that the law says for all train items.';
COMMENT ON COLUMN evaluation.learning_curve_fits.mae_low IS 'Lower end of its 95 % interval.';
COMMENT ON COLUMN evaluation.learning_curve_fits.mae_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.learning_curve_fits.further_items IS 'So many more items.';
COMMENT ON COLUMN evaluation.learning_curve_fits.mae_further IS 'Mean absolute error that the law says with them: an extrapolation.';
COMMENT ON COLUMN evaluation.learning_curve_fits.mae_further_low IS 'Lower end of its 95 % interval.';
COMMENT ON COLUMN evaluation.learning_curve_fits.mae_further_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.learning_curve_fits.gain IS 'By how much the error would fall with them.';
COMMENT ON COLUMN evaluation.learning_curve_fits.gain_low IS 'Lower end of its 95 % interval.';
COMMENT ON COLUMN evaluation.learning_curve_fits.gain_high IS 'Upper end of that interval.';
