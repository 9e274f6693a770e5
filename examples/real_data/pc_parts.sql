-- Computer parts with attributes that differ by part type, and no identifier.
--
-- A listing is known by its part type, its name and all attributes that do not drift. The name alone
-- does not do: 36,300 names stand for 56,687 products on 2024-03-27. Drift, measured on names that
-- are unique in two snapshots on end, over the four pairs of snapshots:
--     price_per_gb        follows the price: 1,606 of 11,337 changed, were filled in or emptied
--     external_volume     case: 17 of 10,008
--     max_memory          motherboard: 8 of 17,496 (it tells apart 1 of 4,453 names)
--     first_word_latency  memory: 3 of 8,582 (it follows from speed and cas_latency)
--     every other         0 to 5
-- Without these four, 88 of 218,000 identities drift from one snapshot to the next (the same name
-- goes and comes), with all but price_per_gb 137. Rows that are alike in the rest cannot be told
-- apart: they are one listing, and of a snapshot curation keeps the first that has a price (620 of
-- 16,849 priced rows are others, on 2024-03-27).
--
-- The brand is the first word of the name, or the first two where no name with that first word goes
-- on otherwise (Cooler Master, Western Digital).
WITH published AS (
    SELECT
        snapshot,
        row_number,
        observed_at,
        json_map(record) AS fields
    FROM records
),
parts AS (
    SELECT
        *,
        fields['part_type'] AS part_type,
        fields['name'] AS name,
        string_split(name, ' ') AS words,
        -- A list is a pair: memory modules are 'count x size', its speed is 'generation-megahertz',
        -- and of anything else it is the range.
        list_transform(
            list_filter(
                map_entries(fields),
                lambda e: e.key NOT IN ('part_type', 'name', 'price')
            ),
            lambda e: {'key': e.key, 'value': CASE
                WHEN NOT starts_with(e.value, '[') THEN e.value
                WHEN e.key = 'modules' THEN replace(trim(e.value, '[]'), ',', ' x ') || ' GB'
                WHEN e.key = 'speed' THEN 'DDR' || replace(trim(e.value, '[]'), ',', '-')
                ELSE replace(trim(e.value, '[]'), ',', ' to ')
            END}
        ) AS entries
    FROM published
),
makers AS (
    SELECT
        words[1] AS maker,
        count(DISTINCT words[2]) = 1
            AND count(DISTINCT name) > 2
            AND NOT regexp_matches(any_value(words[2]), '\d') AS of_two_words
    FROM parts
    GROUP BY maker
)
SELECT
    snapshot,
    row_number,
    observed_at,
    left(sha256(concat_ws(
        chr(31),
        part_type,
        name,
        list_filter(
            entries,
            lambda e: e.value IS NOT NULL AND e.key NOT IN (
                'price_per_gb', 'external_volume', 'max_memory', 'first_word_latency'
            )
        )::VARCHAR
    )), 20) AS listing_id,
    name AS title,
    CASE WHEN of_two_words THEN maker || ' ' || words[2] ELSE maker END AS brand,
    replace(part_type, '-', ' ') AS category,
    map_of(entries) AS attributes,
    fields['price'] AS price
FROM parts
LEFT JOIN makers ON maker = words[1]
