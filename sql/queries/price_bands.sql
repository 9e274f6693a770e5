-- How well does a technique price what is cheap, and what is dear? Its errors by price band on test
-- items, beside the technique that is best there. Where not all were asked about the same items, the two
-- compare by mae_common and best_mae_common, over the items that every technique was asked about.
-- DuckDB; $technique: the technique's name, as in the leaderboard.
SELECT
    bands.price_band,
    own.items,
    own.common_items,
    round(own.mae, 2) AS mae,
    round(own.mae_low, 2) AS mae_low,
    round(own.mae_high, 2) AS mae_high,
    round(own.mae_common, 2) AS mae_common,
    round(own.smape, 1) AS smape,
    round(100 * own.within_20_percent, 1) AS percent_within_20,
    first.technique AS best_technique,
    round(first.mae, 2) AS best_mae,
    round(first.mae_common, 2) AS best_mae_common
FROM evaluation.price_bands AS bands
JOIN evaluation.segments AS own
    ON own.segment = 'price_band' AND own.segment_value = bands.price_band
LEFT JOIN evaluation.segments AS first
    ON first.segment = 'price_band' AND first.segment_value = bands.price_band AND first.rank = 1
WHERE own.technique = $technique
QUALIFY row_number() OVER (PARTITION BY bands.price_band ORDER BY first.technique) = 1
ORDER BY bands.priced_from;
