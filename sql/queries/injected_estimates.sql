-- Which planted orders moved a technique's estimates furthest? Up or down, relative to the same text
-- with a neutral sentence in the order's place.
-- DuckDB; $technique: the technique's name, as in the leaderboard; $rows: how many.
SELECT
    injected.kind,
    items.title,
    round(injected.estimate_neutral, 2) AS estimate_neutral,
    round(injected.estimate_injected, 2) AS estimate_injected,
    round(injected.estimate_control, 2) AS estimate_control,
    injected.injected_price,
    round(100 * injected.shift, 1) AS percent_shift,
    injected.item_id
FROM evaluation.injected_estimates AS injected
LEFT JOIN curated.items AS items ON items.item_id = injected.item_id
WHERE injected.technique = $technique AND injected.shift IS NOT NULL
ORDER BY abs(ln(1 + injected.shift)) DESC, injected.item_id, injected.kind
LIMIT $rows;
