-- Two stores' electronics listings, columns id|title|modelno|price|shipweight|brand|dimensions;
-- `id` is the row's position, which matches.csv refers to. There is no category.
SELECT
    snapshot,
    row_number,
    observed_at,
    record ->> 'id' AS listing_id,
    record ->> 'title' AS title,
    record ->> 'brand' AS brand,
    map_of([
        {'key': 'Model Number', 'value': record ->> 'modelno'},
        {'key': 'Shipping Weight', 'value': nullif(record ->> 'shipweight', '') || ' pounds'},
        {'key': 'Dimensions', 'value': record ->> 'dimensions'}
    ]) AS attributes,
    record ->> 'price' AS price
FROM records
