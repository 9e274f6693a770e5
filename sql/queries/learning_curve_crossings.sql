-- From how many items on is one technique better than another? By their power laws: within what was
-- measured, or extrapolated up to a hundred times the items, in words and as numbers with intervals.
-- DuckDB; no parameters.
SELECT
    technique,
    overtaken,
    CASE outcome
        WHEN 'ahead' THEN 'ahead from the smallest size on'
        WHEN 'never' THEN 'never, within 100 times the items'
        WHEN 'overtakes' THEN 'from ' || format('{:,}', round(at_items)::BIGINT) || ' items on'
            || CASE WHEN is_extrapolated THEN ', extrapolated' ELSE '' END
        ELSE not_fitted
    END AS told,
    round(at_items) AS at_items,
    round(at_items_low) AS at_items_low,
    round(at_items_high) AS at_items_high,
    is_extrapolated,
    round(100 * share_ahead, 1) AS percent_ahead
FROM evaluation.learning_curve_crossings
ORDER BY technique, overtaken;
