-- Does each step pay: prompting with examples, retrieval, fine-tuning, both? By how much the mean
-- absolute error falls from one technique to the next on the test items that both priced, with its
-- 95 % interval and the p-value that nothing falls, alone and corrected for all pairs of techniques
-- (Holm). Empty: one of the two has not been compared.
-- DuckDB; no parameters.
WITH steps(step, earlier, later) AS (
    VALUES
        (1, 'prompt_zero_shot', 'prompt_multi_shot'),
        (2, 'prompt_multi_shot', 'rag'),
        (3, 'rag', 'language_finetuned'),
        (4, 'language_finetuned', 'rag_finetuned'),
        (5, 'rag', 'rag_finetuned')
)
SELECT
    step,
    earlier,
    later,
    round(CASE WHEN compared.technique = later THEN -1 ELSE 1 END * mean_difference, 2) AS gain,
    round(CASE WHEN compared.technique = later THEN -high ELSE low END, 2) AS gain_low,
    round(CASE WHEN compared.technique = later THEN -low ELSE high END, 2) AS gain_high,
    round(p_value, 4) AS p_value,
    round(p_value_holm, 4) AS p_value_holm,
    items,
    is_sparse
FROM steps
LEFT JOIN evaluation.technique_comparison AS compared
    ON compared.split = 'test'
    AND (
        (compared.technique = later AND compared.compared_with = earlier)
        OR (compared.technique = earlier AND compared.compared_with = later)
    )
ORDER BY step;
