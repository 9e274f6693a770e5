-- Long product texts with a price: the text repeats the title in its first line, and often names the
-- brand ("Brand Name GE, Model Info ..."). There is no category.
WITH items AS (
    SELECT
        *,
        record ->> 'title' AS title,
        record ->> 'text' AS published
    FROM records
)
SELECT
    snapshot,
    row_number,
    observed_at,
    record ->> 'listing_id' AS listing_id,
    title,
    CASE
        WHEN starts_with(published, title) THEN substr(published, length(title) + 2)
        ELSE published
    END AS description,
    nullif(
        trim(regexp_extract(published, '\b(?:Brand Name|Brand|Manufacturer) ([A-Z][^,.]{1,30}),', 1)), ''
    ) AS brand,
    record ->> 'price' AS price
FROM items
