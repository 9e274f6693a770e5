-- The product export of a Shopify shop (Products > Export), with its older or its newer headings.
--
-- A product has a row for each variant and for each further picture; what all variants share stands
-- in its first row only. A listing is a variant, known by its handle and its options as in Shopify
-- itself. The price is the one that is asked; `Compare-at price`, `Cost per item` and the prices of
-- single markets are other prices, so they are no attributes.
-- Reads listing_id from `Handle` or `URL handle`, title from `Title`,
-- price from `Variant Price` or `Price`.
-- How a format works is written in amazon_reviews_2023.sql.
WITH filled AS (
    SELECT
        snapshot,
        row_number,
        observed_at,
        record,
        filled_fields(record) AS fields,
        coalesce(fields['handle'], fields['url_handle']) AS handle,
        coalesce(fields['body_(html)'], fields['description']) AS description,
        -- 'Material (product.metafields.shopify.material)' and 'Google Shopping / Gender'.
        list_transform(
            list_filter(
                map_entries(fields),
                lambda e: contains(e.key, '(product.metafields.') OR regexp_full_match(
                    e.key, 'google_shopping_/_(?:gender|age_group|mpn|condition)'
                )
            ),
            lambda e: {
                'key': regexp_replace(
                    e.key, '_?\(product\.metafields\..*|google_shopping_/_', ''
                ),
                'value': e.value
            }
        ) AS described
    FROM records
),
shared AS (
    SELECT
        *,
        first_value(fields['title'] IGNORE NULLS) OVER product AS title,
        first_value(description IGNORE NULLS) OVER product AS product_description,
        first_value(fields['vendor'] IGNORE NULLS) OVER product AS vendor,
        first_value(coalesce(fields['type'], fields['product_category']) IGNORE NULLS)
            OVER product AS category,
        first_value(fields['tags'] IGNORE NULLS) OVER product AS tags,
        first_value(fields['option1_name'] IGNORE NULLS) OVER product AS option1,
        first_value(fields['option2_name'] IGNORE NULLS) OVER product AS option2,
        first_value(fields['option3_name'] IGNORE NULLS) OVER product AS option3,
        first_value(
            CASE WHEN fields['title'] IS NOT NULL THEN described END IGNORE NULLS
        ) OVER product AS product_fields,
        coalesce(fields['variant_price'], fields['price']) AS price,
        coalesce(fields['variant_grams'], fields['weight_value_(grams)']) AS grams,
        coalesce(price, fields['option1_value'], fields['title']) IS NULL AS is_picture
    FROM filled
    WINDOW product AS (
        PARTITION BY snapshot, coalesce(handle, row_number::VARCHAR)
        ORDER BY row_number ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
)
SELECT
    snapshot,
    row_number,
    observed_at,
    concat_ws(
        '/', handle, fields['option1_value'], fields['option2_value'], fields['option3_value']
    ) AS listing_id,
    title,
    product_description AS description,
    vendor AS brand,
    category,
    map_of(
        first_of_each(
            list_filter(
                [
                    {'key': coalesce(option1, 'Option 1'), 'value': fields['option1_value']},
                    {'key': coalesce(option2, 'Option 2'), 'value': fields['option2_value']},
                    {'key': coalesce(option3, 'Option 3'), 'value': fields['option3_value']}
                ],
                lambda e: e.value <> 'Default Title'
            )
            || [{'key': 'Tags', 'value': tags}]
            || list_filter([{'key': 'Grams', 'value': grams}], lambda e: TRY_CAST(e.value AS DOUBLE) > 0)
            || coalesce(product_fields, [])
        )
    ) AS attributes,
    price,
    CASE WHEN is_picture THEN 'a picture of a product, and no variant' END AS unreadable,
    CASE WHEN is_picture THEN record END AS raw_row
FROM shared
