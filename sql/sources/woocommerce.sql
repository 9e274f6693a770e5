-- The product export of WooCommerce (Products > Export, with English headings).
--
-- A variation takes from its parent, which `Parent` names by its ID after `id:` or else by its SKU,
-- what it leaves empty: description, categories, brand and attributes. A variable or a grouped
-- product has no price of its own and is no listing. The price is the sale price from the day on which its sale starts to the
-- one on which it ends, and else the regular price; neither is an attribute.
-- Reads listing_id from `ID` or `SKU`, title from `Name`, price from `Regular price`.
-- How a format works is written in amazon_reviews_2023.sql.
WITH filled AS (
    SELECT
        snapshot,
        row_number,
        observed_at,
        record,
        filled_fields(record) AS fields,
        -- 'Attribute 1 name' and 'Attribute 1 value(s)', of which there are as many as are needed.
        list_filter(
            list_transform(
                range(1, 51),
                lambda n: {
                    'key': fields['attribute_' || n || '_name'],
                    'value': fields['attribute_' || n || '_value(s)']
                }
            ),
            lambda e: e.key IS NOT NULL AND e.value IS NOT NULL
        ) AS given,
        point_in_time(fields['date_sale_price_starts']) AS sale_starts,
        point_in_time(fields['date_sale_price_ends']) AS sale_ends
    FROM records
),
parents AS (
    SELECT
        snapshot,
        -- One product's SKU may be the ID of another.
        unnest(['id:' || fields['id'], 'sku:' || fields['sku']]) AS name,
        row_number, fields, given
    FROM filled
    WHERE fields['type'] IS NULL OR NOT contains(fields['type'], 'variation')
),
named_parents AS (
    SELECT
        snapshot,
        name,
        arg_min(fields, row_number) AS parent,
        arg_min(given, row_number) AS parent_given
    FROM parents
    WHERE name IS NOT NULL
    GROUP BY snapshot, name
),
joined AS (
    SELECT
        filled.*,
        coalesce(parent, MAP {}::MAP(VARCHAR, VARCHAR)) AS parent,
        coalesce(parent_given, []) AS parent_given,
        fields['sale_price'] IS NOT NULL
            AND coalesce(observed_at >= sale_starts, true)
            -- A day alone lasts to its end.
            AND coalesce(
                observed_at < sale_ends
                    + to_days(CASE WHEN length(fields['date_sale_price_ends']) <= 10 THEN 1 ELSE 0 END),
                true
            ) AS is_on_sale,
        CASE
            WHEN regexp_matches(fields['type'], '\b(?:variable|grouped)\b')
                THEN 'a ' || fields['type'] || ' product, which has no price of its own'
            WHEN fields['sale_price'] IS NOT NULL AND (
                (fields['date_sale_price_starts'] IS NOT NULL AND sale_starts IS NULL)
                OR (fields['date_sale_price_ends'] IS NOT NULL AND sale_ends IS NULL)
            ) THEN 'the dates of its sale can be read in no or in two ways'
        END AS fault
    FROM filled
    LEFT JOIN named_parents
        ON named_parents.snapshot = filled.snapshot
        AND name = CASE
            WHEN regexp_matches(fields['parent'], '^id:\s*\d+$')
                THEN regexp_replace(fields['parent'], '\s', '', 'g')
            ELSE 'sku:' || fields['parent']
        END
)
SELECT
    snapshot,
    row_number,
    observed_at,
    coalesce(fields['id'], fields['sku']) AS listing_id,
    coalesce(fields['name'], parent['name']) AS title,
    -- Line breaks are written as a backslash and an n.
    replace(
        concat_ws(
            chr(10),
            coalesce(fields['short_description'], parent['short_description']),
            coalesce(fields['description'], parent['description'])
        ),
        '\n', chr(10)
    ) AS description,
    coalesce(fields['brands'], fields['brand'], parent['brands'], parent['brand']) AS brand,
    -- 'Home > Kitchen, Sale': the first of them.
    trim(replace(
        split_part(
            replace(coalesce(fields['categories'], parent['categories']), '\,', chr(31)), ',', 1
        ),
        chr(31), ','
    )) AS category,
    map_of(
        first_of_each(
            given
            || parent_given
            || list_filter(
                map_entries(fields),
                lambda e: regexp_full_match(e.key, '(?:weight|length|width|height)_\(.*\)')
            )
            || [{'key': 'Tags', 'value': coalesce(fields['tags'], parent['tags'])}]
        )
    ) AS attributes,
    CASE WHEN is_on_sale THEN fields['sale_price'] ELSE fields['regular_price'] END AS price,
    fields['external_url'] AS url,
    fault AS unreadable,
    CASE WHEN fault IS NOT NULL THEN record END AS raw_row
FROM joined
