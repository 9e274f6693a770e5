-- Is a technique's lead real? Its paired differences in absolute error to every other technique on
-- the test items that both were asked about; below 0 it is the better one. A corrected p-value below 0.05 is a
-- difference that chance alone would hardly bring about. Where is_sparse is true, the items are too
-- few to say so.
-- DuckDB; $technique: the technique's name, as in the leaderboard.
WITH seen_from_it AS (
    SELECT compared_with AS other, mean_difference, low, high, p_value_holm, items, clusters, is_sparse
    FROM evaluation.technique_comparison
    WHERE technique = $technique AND split = 'test'
    UNION ALL
    SELECT technique, -mean_difference, -high, -low, p_value_holm, items, clusters, is_sparse
    FROM evaluation.technique_comparison
    WHERE compared_with = $technique AND split = 'test'
)
SELECT
    other AS compared_with,
    round(mean_difference, 2) AS mean_difference,
    round(low, 2) AS low,
    round(high, 2) AS high,
    round(p_value_holm, 4) AS p_value_holm,
    items,
    clusters,
    is_sparse
FROM seen_from_it
ORDER BY seen_from_it.mean_difference DESC, compared_with;
