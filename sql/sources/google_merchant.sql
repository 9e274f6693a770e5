-- A product feed for Google Merchant Center: tab-separated text, or XML (RSS 2.0 or Atom).
--
-- The price is the sale price within `sale_price_effective_date`, or where no such time is given,
-- and else `price`. Prices carry their currency; a row in another than the source's is refused. Of
-- the other fields those that describe the product are attributes: no price, cost or custom label.
-- Reads listing_id from `id`, title from `title`, price from `price`.
-- How a format works is written in amazon_reviews_2023.sql.
WITH filled AS (
    SELECT
        snapshot,
        row_number,
        observed_at,
        record,
        filled_fields(record) AS fields,
        string_split(fields['sale_price_effective_date'], '/') AS sale_times,
        point_in_time(sale_times[1]) AS sale_starts,
        point_in_time(sale_times[2]) AS sale_ends
    FROM records
),
timed AS (
    SELECT
        *,
        fields['sale_price'] IS NOT NULL
            AND coalesce(observed_at BETWEEN sale_starts AND sale_ends, true) AS is_on_sale,
        CASE
            WHEN fields['sale_price'] IS NOT NULL AND sale_times IS NOT NULL
                AND (sale_starts IS NULL OR sale_ends IS NULL)
                THEN 'sale_price_effective_date is no pair of times'
        END AS fault
    FROM filled
)
SELECT
    snapshot,
    row_number,
    observed_at,
    fields['id'] AS listing_id,
    fields['title'] AS title,
    concat_ws(
        chr(10),
        coalesce(fields['description'], fields['summary'], fields['content']),
        fields['product_highlight']
    ) AS description,
    fields['brand'] AS brand,
    coalesce(fields['product_type'], fields['google_product_category']) AS category,
    map_of(
        map_entries(fields),
        without := list_filter(
            map_keys(fields),
            lambda name: name NOT IN (
                'availability', 'condition', 'gtin', 'mpn', 'color', 'size', 'size_type',
                'size_system', 'material', 'pattern', 'gender', 'age_group', 'multipack',
                'is_bundle', 'energy_efficiency_class', 'product_length', 'product_width',
                'product_height', 'product_weight', 'shipping_weight', 'unit_pricing_measure',
                'product_detail', 'item_group_id'
            )
        )
    ) AS attributes,
    CASE WHEN is_on_sale THEN fields['sale_price'] ELSE fields['price'] END AS price,
    coalesce(fields['link'], fields['link@href']) AS url,
    fault AS unreadable,
    CASE WHEN fault IS NOT NULL THEN record END AS raw_row
FROM timed
