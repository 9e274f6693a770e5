-- Which technique is best at which prices? The leader in every price band, on test items.
-- DuckDB; no parameters.
SELECT
    bands.price_band,
    segments.technique,
    segments.items,
    round(segments.mae, 2) AS mae,
    round(segments.mae_low, 2) AS mae_low,
    round(segments.mae_high, 2) AS mae_high,
    round(segments.smape, 1) AS smape
FROM evaluation.segments AS segments
JOIN evaluation.price_bands AS bands ON bands.price_band = segments.segment_value
WHERE segments.segment = 'price_band' AND segments.rank = 1
ORDER BY bands.priced_from, segments.technique;
