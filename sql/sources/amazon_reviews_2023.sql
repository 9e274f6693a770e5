-- Amazon Reviews 2023 (McAuley Lab), item metadata as published: meta_<Category>.jsonl.
--
-- How a format works. It is one SELECT from
--     records(snapshot VARCHAR, row_number BIGINT, observed_at TIMESTAMPTZ, record JSON)
-- which has one row for each JSON line, CSV row or Parquet row that could be read; `record` is the
-- row as a JSON object with the file's own column names. The result has one row for each of them:
-- snapshot, row_number and observed_at passed through; title and price (as published: it is parsed
-- later); and any of listing_id, description, brand, category, attributes (MAP(VARCHAR, VARCHAR)),
-- currency, url. A row that makes no sense is returned all the same, with the reason in `unreadable`
-- and the record in `raw_row`. Use TRY_CAST rather than CAST: one odd value must not stop all rows.
-- A file that has none of the columns that a sentence such as "Reads title from `Name` or `Title`,
-- price from `Price`." names in the comment before the SELECT is refused, and they are told.
-- Macros at hand: json_map, map_of, point_in_time (sql/curation/reading.sql).
WITH parsed AS (
    SELECT
        snapshot,
        row_number,
        observed_at,
        record,
        from_json(record, '{
            "parent_asin": "VARCHAR", "title": "JSON", "features": "JSON", "description": "JSON",
            "price": "VARCHAR", "store": "VARCHAR", "main_category": "VARCHAR",
            "categories": "VARCHAR[]", "details": "JSON"
        }') AS item
    FROM records
),
typed AS (
    SELECT
        *,
        -- `details` is an object as published, and a string that holds one in the Arrow copies.
        json_map(
            CASE WHEN json_type(item.details) = 'VARCHAR' THEN TRY_CAST(item.details ->> '$' AS JSON)
            ELSE item.details END
        ) AS details,
        CASE
            WHEN json_type(item.title) NOT IN ('VARCHAR', 'NULL')
                THEN 'title is no text'
            WHEN item.price[1] IN ('[', '{', 't', 'f') AND item.price NOT LIKE 'from %'
                THEN 'price is no number'
            WHEN details IS NULL AND json_type(item.details) <> 'NULL'
                THEN 'details hold no object'
        END AS fault
    FROM parsed
)
SELECT
    snapshot,
    row_number,
    observed_at,
    item.parent_asin AS listing_id,
    item.title ->> '$' AS title,
    concat_ws(
        chr(10),
        nullif(array_to_string(
            coalesce(TRY_CAST(item.description AS VARCHAR[]), [item.description ->> '$']), chr(10)
        ), ''),
        nullif(array_to_string(
            coalesce(TRY_CAST(item.features AS VARCHAR[]), [item.features ->> '$']), chr(10)
        ), '')
    ) AS description,
    coalesce(details['Brand'], item.store) AS brand,
    coalesce(item.main_category, item.categories[1]) AS category,
    map_of(
        list_append(
            list_filter(coalesce(map_entries(details), []), lambda e: e.key <> 'Category'),
            {'key': 'Category', 'value': array_to_string(item.categories[2:], ' > ')}
        ),
        without := [
            'Brand', 'Best Sellers Rank', 'Date First Available', 'Is Discontinued By Manufacturer'
        ]
    ) AS attributes,
    item.price,
    'https://www.amazon.com/dp/' || item.parent_asin AS url,
    fault AS unreadable,
    CASE WHEN fault IS NOT NULL THEN record END AS raw_row
FROM typed
