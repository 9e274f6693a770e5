-- The truth is the item's price as it stands in curated.items, the same for every technique. An item
-- of a split that a technique was asked about and that has no usable estimate stays in, as a
-- failure: leaving out what is hard must not look like skill. A technique that is asked for a sample
-- alone was asked about the items of evaluation.asked_items, which the sample decides and not what it
-- answered. Reference rows are exempt, since a reference need not know every source.
-- Such an item is charged with its fallback estimate, so nobody gains by refusing what is hard.
-- Families are dealt into at most 10,000 clusters, so that resampling them costs the same however
-- many there are (random groups: Wolter, "Introduction to variance estimation", 2007, chapter 2).
CREATE OR REPLACE VIEW evaluation.scored_predictions AS
WITH asked AS (
    SELECT technique, split, technique = 'noise_floor' AS is_reference
    FROM (
        SELECT technique, split FROM evaluation.predictions
        UNION
        SELECT technique, split FROM evaluation.asked_items
    )
),
joined AS (
    SELECT
        asked.technique,
        asked.is_reference,
        items.split,
        items.item_id,
        items.source,
        items.category,
        items.family_id,
        items.title,
        items.price,
        CASE WHEN isfinite(estimates.estimate) AND estimates.estimate > 0
            THEN estimates.estimate END AS estimate,
        estimates.low,
        estimates.high,
        estimates.tokens_in,
        estimates.tokens_cached,
        estimates.tokens_out,
        estimates.latency_ms,
        estimates.cost_usd,
        CASE
            WHEN estimates.item_id IS NULL THEN 'not_priced'
            WHEN estimates.estimate IS NULL THEN coalesce(estimates.failure, 'no_estimate')
            WHEN NOT (isfinite(estimates.estimate) AND estimates.estimate > 0) THEN 'not_a_price'
        END AS failure
    FROM asked
    JOIN curated.items AS items ON items.split = asked.split
    LEFT JOIN evaluation.predictions AS estimates
        ON estimates.technique = asked.technique
        AND estimates.item_id = items.item_id
        AND estimates.split = items.split
    WHERE items.split IN ('validation', 'test')
        AND (estimates.item_id IS NOT NULL OR NOT asked.is_reference)
        AND (
            asked.technique NOT IN (SELECT technique FROM evaluation.asked_items)
            OR (asked.technique, items.split, items.item_id) IN (
                SELECT (technique, split, item_id) FROM evaluation.asked_items
            )
        )
),
techniques AS (
    SELECT split, count(*) FILTER (NOT is_reference) AS asked_techniques
    FROM asked
    GROUP BY split
),
charged AS (
    SELECT joined.*, coalesce(joined.estimate, fallback.estimate) AS charged_estimate
    FROM joined
    JOIN evaluation.fallback_estimates AS fallback
        ON fallback.item_id = joined.item_id AND fallback.split = joined.split
)
SELECT
    charged.technique,
    charged.is_reference,
    charged.split,
    charged.item_id,
    charged.source,
    charged.category,
    bands.price_band,
    charged.family_id,
    charged.title,
    charged.price,
    charged.estimate,
    abs(charged.estimate - charged.price) AS absolute_error,
    abs(charged.charged_estimate - charged.price) AS charged_error,
    ln((1 + charged.estimate) / (1 + charged.price)) AS log_error,
    200 * abs(charged.estimate - charged.price) / (charged.estimate + charged.price) AS smape,
    abs(charged.estimate - charged.price) < 0.2 * charged.price AS is_within_20_percent,
    abs(charged.estimate - charged.price) < greatest(40, 0.2 * charged.price) AS is_hit,
    CASE WHEN charged.estimate IS NOT NULL THEN charged.low END AS low,
    CASE WHEN charged.estimate IS NOT NULL THEN charged.high END AS high,
    CASE WHEN charged.estimate IS NOT NULL
        THEN charged.price BETWEEN charged.low AND charged.high END AS is_covered,
    charged.tokens_in,
    charged.tokens_cached,
    charged.tokens_out,
    charged.latency_ms,
    charged.cost_usd,
    charged.failure,
    count(*) FILTER (NOT charged.is_reference) OVER (PARTITION BY charged.split, charged.item_id)
        = techniques.asked_techniques AS is_asked_of_all,
    (dense_rank() OVER (PARTITION BY charged.split ORDER BY charged.family_id) - 1) % 10000 AS cluster
FROM charged
JOIN techniques ON techniques.split = charged.split
LEFT JOIN evaluation.price_bands AS bands
    ON charged.price >= bands.priced_from AND charged.price < bands.priced_to;

COMMENT ON VIEW evaluation.scored_predictions IS 'One row an item and technique that was asked for its price, with its errors.';
COMMENT ON COLUMN evaluation.scored_predictions.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.scored_predictions.is_reference IS 'Whether this is a reference and no technique, such as the noise floor.';
COMMENT ON COLUMN evaluation.scored_predictions.split IS 'validation or test.';
COMMENT ON COLUMN evaluation.scored_predictions.item_id IS 'The item.';
COMMENT ON COLUMN evaluation.scored_predictions.source IS 'The item''s source.';
COMMENT ON COLUMN evaluation.scored_predictions.category IS 'The item''s category.';
COMMENT ON COLUMN evaluation.scored_predictions.price_band IS 'The band of evaluation.price_bands that the price is in.';
COMMENT ON COLUMN evaluation.scored_predictions.family_id IS 'The item''s family of near-duplicates.';
COMMENT ON COLUMN evaluation.scored_predictions.title IS 'The item''s title.';
COMMENT ON COLUMN evaluation.scored_predictions.price IS 'The truth: the last observed price.';
COMMENT ON COLUMN evaluation.scored_predictions.estimate IS 'The estimate; null on a failure.';
COMMENT ON COLUMN evaluation.scored_predictions.absolute_error IS 'Distance of estimate and price, in the currency; null on a failure.';
COMMENT ON COLUMN evaluation.scored_predictions.charged_error IS 'The same; without an estimate, the distance of category_median''s estimate and the price.';
COMMENT ON COLUMN evaluation.scored_predictions.log_error IS 'log(1 + estimate) - log(1 + price).';
COMMENT ON COLUMN evaluation.scored_predictions.smape IS 'Absolute error in percent of the mean of estimate and price.';
COMMENT ON COLUMN evaluation.scored_predictions.is_within_20_percent IS 'Whether the error is below 20 % of the price.';
COMMENT ON COLUMN evaluation.scored_predictions.is_hit IS 'Whether the error is below 40 or below 20 % of the price.';
COMMENT ON COLUMN evaluation.scored_predictions.low IS 'Lower end of the 80 % interval.';
COMMENT ON COLUMN evaluation.scored_predictions.high IS 'Upper end of the 80 % interval.';
COMMENT ON COLUMN evaluation.scored_predictions.is_covered IS 'Whether the price lies in the interval; null where there is none.';
COMMENT ON COLUMN evaluation.scored_predictions.tokens_in IS 'Tokens that a language model read for the item.';
COMMENT ON COLUMN evaluation.scored_predictions.tokens_cached IS 'Of those, tokens whose computation was reused.';
COMMENT ON COLUMN evaluation.scored_predictions.tokens_out IS 'Tokens that it wrote.';
COMMENT ON COLUMN evaluation.scored_predictions.latency_ms IS 'Time for this item, in milliseconds.';
COMMENT ON COLUMN evaluation.scored_predictions.cost_usd IS 'What the item cost, in USD.';
COMMENT ON COLUMN evaluation.scored_predictions.failure IS 'Why there is no estimate: the technique''s reason, not_priced or not_a_price.';
COMMENT ON COLUMN evaluation.scored_predictions.is_asked_of_all IS 'Whether every technique was asked about this item.';
COMMENT ON COLUMN evaluation.scored_predictions.cluster IS 'The families, mostly a single one, that are resampled together; numbered from 0 in each split.';
