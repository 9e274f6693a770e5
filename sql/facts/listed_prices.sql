-- Prices that listings were seen with, as they are kept as facts: told is one that differs from the
-- one before, newest the last of its product; hashes are of 40 bits. DuckDB; $every: the others too;
-- $until: what was observed later is left out; $whole: the currencies without decimals.
WITH prices AS (
    SELECT
        item_id AS subject,
        source,
        observed_at,
        CASE
            WHEN list_contains($whole, currency) AND price = round(price)
                THEN printf('%.0f %s', price, currency)
            WHEN price = round(price, 2) THEN printf('%.2f %s', price, currency)
            ELSE price::VARCHAR || ' ' || currency
        END AS value
    FROM curated.price_observations
    WHERE observed_at <= $until
),
marked AS (
    SELECT
        *,
        value IS DISTINCT FROM lag(value) OVER history AS told,
        lead(observed_at) OVER history IS NULL AS newest
    FROM prices
    WINDOW history AS (PARTITION BY subject ORDER BY observed_at)
)
SELECT
    *,
    CASE WHEN told THEN ('0x' || left(md5(subject || ' ' || value), 10))::BIGINT END AS hash,
    CASE WHEN newest THEN ('0x' || left(md5(subject), 10))::BIGINT END AS subject_hash
FROM marked
WHERE told OR newest OR $every;
