-- Which listings are one product? The largest families of near-duplicates, with how far their
-- prices lie apart: what no model that reads only the text can tell.
-- DuckDB; $rows: how many families to show.
SELECT
    items.family_id,
    count(*) AS members,
    list_sort(list(DISTINCT items.source)) AS sources,
    any_value(items.split) AS split,
    min(items.price) AS priced_from,
    max(items.price) AS priced_to,
    list_sort(list(DISTINCT families.evidence)) AS evidence,
    arg_min(items.title, items.item_id) AS title
FROM curated.items AS items
JOIN curated.item_families AS families ON families.item_id = items.item_id
GROUP BY items.family_id
ORDER BY members DESC, items.family_id
LIMIT $rows::BIGINT;
