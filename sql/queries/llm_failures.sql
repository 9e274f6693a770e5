-- Why did a language model not answer? Its calls without an answer, by technique, step and reason.
-- DuckDB; no parameters.
SELECT
    technique,
    step,
    outcome,
    reason,
    count(*) AS calls,
    sum(attempts)::BIGINT AS attempts,
    min(item_id) AS example
FROM evaluation.llm_calls
WHERE outcome <> 'answered'
GROUP BY technique, step, outcome, reason
ORDER BY technique, calls DESC, step, outcome, reason;
