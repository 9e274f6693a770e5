-- How were the products divided, and is the division clean? Items and families by split, and how
-- many of its families also stand in another split (which must be none). Items of a family that came
-- together from several splits are set aside, but for those that were assigned first.
-- DuckDB; no parameters.
WITH spread AS (
    SELECT family_id, count(DISTINCT split) > 1 AS is_in_several_splits
    FROM curated.items WHERE split <> 'set_aside' GROUP BY family_id
)
SELECT
    items.split,
    count(*) AS items,
    count(DISTINCT items.family_id) AS families,
    count(DISTINCT items.family_id) FILTER (spread.is_in_several_splits AND items.split <> 'set_aside') AS families_elsewhere_too,
    round(median(items.price), 2) AS median_price,
    round(avg(items.price), 2) AS mean_price
FROM curated.items AS items
LEFT JOIN spread ON spread.family_id = items.family_id
GROUP BY items.split
ORDER BY list_position(['train', 'validation', 'test', 'set_aside'], items.split);
