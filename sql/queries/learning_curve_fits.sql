-- What would a further 1,000 items bring? By technique the power law of its error, what it says for
-- all train items and with the further ones, in the currency with 95 % intervals.
-- DuckDB; no parameters.
SELECT
    technique,
    form,
    sizes,
    points,
    round(floor, 2) AS floor,
    round(factor, 2) AS factor,
    round(exponent, 3) AS exponent,
    round(residual, 2) AS residual,
    items,
    round(mae, 2) AS mae,
    round(mae_low, 2) AS mae_low,
    round(mae_high, 2) AS mae_high,
    further_items,
    round(mae_further, 2) AS mae_further,
    round(mae_further_low, 2) AS mae_further_low,
    round(mae_further_high, 2) AS mae_further_high,
    round(gain, 2) AS gain,
    round(gain_low, 2) AS gain_low,
    round(gain_high, 2) AS gain_high,
    not_fitted
FROM evaluation.learning_curve_fits
ORDER BY mae NULLS LAST, technique;
