-- Which general abilities did fine-tuning take, and which did it bring? By technique, mitigation,
-- adapter scale and kind of probe at the end of training: how many questions the base model and the
-- fine-tuned one answer, how many only one of them does, and an example that is answered no more.
-- DuckDB; no parameters.
SELECT
    technique,
    mitigation,
    adapter_scale AS scale,
    kind,
    count(*) AS questions,
    round(100 * avg(base_is_correct::INTEGER), 1) AS base_percent_correct,
    round(100 * avg(is_correct::INTEGER), 1) AS percent_correct,
    count(*) FILTER (base_is_correct AND NOT is_correct) AS forgotten,
    count(*) FILTER (is_correct AND NOT base_is_correct) AS learnt,
    arg_min(question, place) FILTER (base_is_correct AND NOT is_correct) AS first_forgotten
FROM evaluation.probe_answers
SEMI JOIN (
    FROM evaluation.forgetting WHERE share_trained >= 1
) AS ended
    USING (technique, mitigation, adapter_scale, step)
GROUP BY technique, mitigation, adapter_scale, kind
ORDER BY technique, mitigation <> 'none', mitigation, adapter_scale, kind;
