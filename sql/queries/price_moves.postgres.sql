-- Which prices moved, and how far? The changes of the last days in price facts, the largest first.
-- Prices that are no number, or none that was one before, are left out.
-- Postgres; %(days)s: how many days back; %(count)s: how many to show.
WITH prices AS (
    SELECT
        series_id,
        subject,
        attribute,
        source,
        value,
        valid_from,
        substring(replace(value, ',', '') FROM '\d+(?:\.\d+)?')::numeric AS amount
    FROM knowledge.fact_history
    WHERE kind = 'price' AND known_until IS NULL
),
moves AS (
    SELECT
        *,
        lag(value) OVER history AS value_before,
        lag(amount) OVER history AS amount_before
    FROM prices
    WINDOW history AS (PARTITION BY series_id ORDER BY valid_from)
)
SELECT
    subject,
    attribute,
    valid_from AS moved_at,
    value_before,
    value,
    round(100 * (amount / nullif(amount_before, 0) - 1), 1) AS percent_change,
    source
FROM moves
WHERE amount <> amount_before
    -- Only what is counted alike is compared: currency, and per what.
    AND regexp_replace(value, '[0-9.,]+', '', 'g') = regexp_replace(value_before, '[0-9.,]+', '', 'g')
    AND valid_from >= now() - make_interval(days => %(days)s::int)
ORDER BY abs(ln(nullif(amount, 0) / nullif(amount_before, 0))) DESC NULLS LAST, subject, valid_from
LIMIT %(count)s;
