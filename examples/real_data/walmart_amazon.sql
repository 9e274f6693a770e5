-- Two stores' electronics listings, columns id|title|modelno|price|shipweight|brand|dimensions;
-- `id` is the row's position, which matches.csv refers to. There is no category.
SELECT
    snapshot,
    row_number,
    observed_at,
    record ->> 'id' AS listing_id,
    record ->> 'title' AS title,
    record ->> 'brand' AS brand,
    map_without(
        MAP {
            'Model Number': record ->> 'modelno',
            'Shipping Weight': (record ->> 'shipweight') || ' pounds',
            'Dimensions': record ->> 'dimensions'
        },
        []
    ) AS attributes,
    record ->> 'price' AS price
FROM records
