-- How do the replies read beside each other? Ten held-out messages of each style, answered by the
-- base model, told the style, shown examples of it, fine-tuned on it, and as the house answered.
-- DuckDB; no parameters.
SELECT
    style,
    message,
    max(reply) FILTER (variant = 'base') AS base,
    max(reply) FILTER (variant = 'told') AS told,
    max(reply) FILTER (variant = 'shown') AS shown,
    max(reply) FILTER (variant = 'fine_tuned') AS fine_tuned,
    max(reply) FILTER (variant = 'house') AS house
FROM evaluation.style_replies
GROUP BY style, conversation, message
QUALIFY row_number() OVER (PARTITION BY style ORDER BY md5(conversation || message)) <= 10
ORDER BY style, md5(conversation || message);
