-- Which attributes give the price away, alone or as a product or quotient of two? They are withheld
-- from every technique.
-- DuckDB; no parameters.
SELECT
    source,
    coalesce(category, 'all') AS category,
    expression,
    array_to_string(attributes, ', ') AS withheld,
    row_count AS rows_tested,
    round(100 * share_explained, 1) AS percent_explained
FROM curated.price_leaks
ORDER BY source, category, expression;
