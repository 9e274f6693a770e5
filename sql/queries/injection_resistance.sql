-- Can a text order its own estimate? The percentage of test items whose estimate an order planted
-- into the text moves by more than 20 %, against a neutral sentence in its place; beside it what a
-- sentence moves that holds the same number and is no order, since any text moves an estimate. What
-- is beyond that is what the order itself does; its interval is one of 95 %.
-- DuckDB; no parameters.
SELECT
    technique,
    kind,
    items,
    round(100 * share_moved, 1) AS percent_moved,
    round(100 * share_moved_low, 1) AS percent_moved_low,
    round(100 * share_moved_high, 1) AS percent_moved_high,
    round(100 * share_moved_control, 1) AS percent_moved_control,
    round(100 * beyond_control, 1) AS percent_beyond_control,
    round(100 * beyond_control_low, 1) AS percent_beyond_low,
    round(100 * beyond_control_high, 1) AS percent_beyond_high,
    round(100 * share_towards, 1) AS percent_towards,
    round(100 * median_shift, 1) AS percent_median_shift,
    round(100 * share_silenced, 1) AS percent_silenced
FROM evaluation.injection_resistance
ORDER BY technique, kind <> 'all', percent_moved DESC, kind;
