-- Computer parts with attributes that differ by part type, and no identifier.
--
-- A listing is known by its part type, its name and all attributes that do not drift. The name alone
-- does not do: 36,300 names stand for 56,687 products of 2024-03-27. Measured on names that are
-- unique in two snapshots on end, over the four pairs of snapshots:
--     price_per_gb        follows the price: 1,606 of 11,337 changed, was filled in or was emptied
--     external_volume     case: 17 of 10,008
--     max_memory          motherboard: 8 of 17,496 (and tells apart 1 of 4,453 names)
--     first_word_latency  memory: 3 of 8,582 (follows from speed and cas_latency)
--     every other         0 to 5 changes over the four pairs
-- Without these four, 88 of 215,000 identities change name-alike from one snapshot to the next (137
-- with them), and 200 vanish. Rows alike in all of that cannot be told apart: they have one
-- identity, and curation keeps the first of them that has a price.
WITH parts AS (
    SELECT
        *,
        record ->> 'part_type' AS part_type,
        record ->> 'name' AS name,
        map_without(json_map(record), ['part_type', 'name', 'price']) AS attributes
    FROM records
)
SELECT
    snapshot,
    row_number,
    observed_at,
    left(sha256(concat_ws(
        chr(31),
        part_type,
        name,
        map_without(
            attributes, ['price_per_gb', 'external_volume', 'max_memory', 'first_word_latency']
        )::VARCHAR
    )), 20) AS listing_id,
    name AS title,
    replace(part_type, '-', ' ') AS category,
    attributes,
    record ->> 'price' AS price
FROM parts
