-- Long product texts with a price: the text repeats the title in its first line.
SELECT
    snapshot,
    row_number,
    observed_at,
    record ->> 'listing_id' AS listing_id,
    record ->> 'title' AS title,
    CASE
        WHEN starts_with(record ->> 'text', record ->> 'title')
            THEN substr(record ->> 'text', length(record ->> 'title') + 2)
        ELSE record ->> 'text'
    END AS description,
    record ->> 'price' AS price
FROM records
