-- How does the error fall with the number of items learnt from, and what does training take? Seed
-- means on the test items that all techniques were asked about, in the currency; what was not
-- measured stands last of its technique, with the reason.
-- DuckDB; no parameters.
SELECT
    technique,
    size,
    is_all,
    count(mae) AS seeds,
    round(avg(mae_common), 2) AS mae_common,
    round(avg(mae_common_low), 2) AS mae_common_low,
    round(avg(mae_common_high), 2) AS mae_common_high,
    round(avg(mae), 2) AS mae,
    round(avg(rmsle), 3) AS rmsle,
    round(avg(training_seconds), 1) AS training_seconds,
    round(avg(training_core_seconds), 1) AS training_core_seconds,
    round(avg(training_joules)) AS training_joules,
    round(avg(inference_seconds), 2) AS inference_seconds,
    round(avg(train_items)) AS train_items,
    count(left_out) AS left_out_seeds,
    any_value(left_out) AS left_out
FROM evaluation.learning_curve
GROUP BY technique, size, is_all
ORDER BY technique, count(mae) = 0, size;
