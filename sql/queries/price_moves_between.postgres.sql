-- Which prices moved by more than a share between two points in time, as far as we know now? The
-- largest moves first; products that had no price at one of the two are left out.
-- Postgres; %(since)s, %(until)s: the two times; %(share)s: 0.1 for a tenth.
WITH before AS (
    SELECT series_id, subject, source, value FROM knowledge.facts_as_of(%(since)s::timestamptz)
    WHERE attribute = 'price'
),
after AS (
    SELECT series_id, value FROM knowledge.facts_as_of(%(until)s::timestamptz)
    WHERE attribute = 'price'
),
moves AS (
    SELECT
        b.subject,
        b.source,
        b.value AS value_before,
        a.value,
        substring(b.value FROM '\d+(?:\.\d+)?')::numeric AS amount_before,
        substring(a.value FROM '\d+(?:\.\d+)?')::numeric AS amount
    FROM before AS b
    JOIN after AS a USING (series_id)
    WHERE a.value <> b.value
        -- Only what is counted alike is compared: currency, and per what.
        AND regexp_replace(a.value, '[0-9.,]+', '', 'g') = regexp_replace(b.value, '[0-9.,]+', '', 'g')
)
SELECT
    subject, source, value_before, value,
    round(100 * (amount / amount_before - 1), 1) AS percent_change
FROM moves
WHERE amount_before > 0 AND abs(amount / amount_before - 1) > %(share)s::numeric
ORDER BY abs(ln(nullif(amount, 0) / amount_before)) DESC NULLS FIRST, subject;
