-- Any file whose column names are given in sources.toml:
--   format = "generic"
--   columns = { listing_id = "sku", title = "product_name", price = "price_usd" }
-- A column may also be a JSON path ('$.offer.price'). Columns that are not mapped become attributes.
-- Where no listing_id is mapped, a listing is known by its title, brand and category.
-- How a format works is written in amazon_reviews_2023.sql.
SELECT
    snapshot,
    row_number,
    observed_at,
    CASE WHEN getvariable('columns')['listing_id'] IS NOT NULL THEN mapped(record, 'listing_id')
    ELSE left(sha256(concat_ws(chr(31), trim(mapped(record, 'title')),
        trim(mapped(record, 'brand')), trim(mapped(record, 'category')))), 16) END AS listing_id,
    mapped(record, 'title') AS title,
    mapped(record, 'description') AS description,
    mapped(record, 'brand') AS brand,
    mapped(record, 'category') AS category,
    map_of(map_entries(json_map(record)), without := getvariable('mapped_columns')) AS attributes,
    mapped(record, 'price') AS price,
    mapped(record, 'currency') AS currency,
    mapped(record, 'url') AS url
FROM records
