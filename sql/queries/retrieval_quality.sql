-- How well does retrieval find what questions ask for? The mean of each metric over the questions of
-- each category with its 95 % interval; `all` is every question. Longer contexts score higher by
-- themselves, so read the scores beside context_characters.
-- DuckDB.
SELECT category, metric, value, low, high, questions
FROM evaluation.retrieval_quality
ORDER BY category <> 'all', category, metric;
