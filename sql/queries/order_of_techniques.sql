-- Does each step pay: prompting with examples, retrieval, fine-tuning, both? By how much the mean
-- absolute error falls from one technique to the next on the test items that both were asked about, with its
-- 95 % interval and the p-value that nothing falls, alone and corrected for these five steps (Holm),
-- which were planned before any was measured. Empty: one of the two has not been compared.
-- DuckDB; no parameters.
WITH steps(step, earlier, later) AS (
    VALUES
        (1, 'prompt_zero_shot', 'prompt_multi_shot'),
        (2, 'prompt_multi_shot', 'rag'),
        (3, 'rag', 'language_finetuned'),
        (4, 'language_finetuned', 'rag_finetuned'),
        (5, 'rag', 'rag_finetuned')
),
compared AS (
    SELECT
        steps.*,
        CASE WHEN technique = later THEN -1 ELSE 1 END * mean_difference AS gain,
        CASE WHEN technique = later THEN -high ELSE low END AS gain_low,
        CASE WHEN technique = later THEN -low ELSE high END AS gain_high,
        p_value,
        items,
        is_sparse
    FROM steps
    LEFT JOIN evaluation.technique_comparison
        ON split = 'test'
        AND (
            (technique = later AND compared_with = earlier)
            OR (technique = earlier AND compared_with = later)
        )
),
multiplied AS (
    SELECT
        step,
        row_number() OVER (ORDER BY p_value, step) AS place,
        p_value * (count(*) OVER () + 1 - row_number() OVER (ORDER BY p_value, step)) AS p_value
    FROM compared
    WHERE p_value IS NOT NULL
),
corrected AS (
    SELECT step, least(1, max(p_value) OVER (ORDER BY place)) AS p_value_holm
    FROM multiplied
)
SELECT
    step,
    earlier,
    later,
    round(gain, 2) AS gain,
    round(gain_low, 2) AS gain_low,
    round(gain_high, 2) AS gain_high,
    round(p_value, 4) AS p_value,
    round(p_value_holm, 4) AS p_value_holm,
    items,
    is_sparse
FROM compared
LEFT JOIN corrected USING (step)
ORDER BY step;
