-- Every price that a listing was seen with, as it is kept as a fact, with hashes of 40 bits of it and
-- of the product. DuckDB.
WITH prices AS (
    SELECT
        item_id AS subject,
        source,
        observed_at,
        max(
            CASE
                WHEN price = round(price, 2) THEN printf('%.2f %s', price, currency)
                ELSE price::VARCHAR || ' ' || currency
            END
        ) AS value
    FROM curated.listings
    GROUP BY item_id, source, observed_at
)
SELECT
    *,
    ('0x' || left(md5(subject || ' ' || value), 10))::BIGINT AS hash,
    ('0x' || left(md5(subject), 10))::BIGINT AS subject_hash
FROM prices
ORDER BY subject, observed_at;
