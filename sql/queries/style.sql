-- Who speaks as the house does? By style and variant, on held-out conversations: perplexity of the
-- house's replies, the percentage of replies that a classifier takes for the house's (which is worth
-- what its own accuracy is), their length, marks of politeness in percent, and the percentage of
-- answers that the model wrote itself and that kept the current value.
-- DuckDB; no parameters.
SELECT
    style,
    variant,
    round(max(value) FILTER (metric = 'perplexity'), 2) AS perplexity,
    round(max(low) FILTER (metric = 'perplexity'), 2) AS perplexity_low,
    round(max(high) FILTER (metric = 'perplexity'), 2) AS perplexity_high,
    round(100 * max(value) FILTER (metric = 'house_share')) AS percent_house,
    round(100 * max(low) FILTER (metric = 'house_share')) AS percent_house_low,
    round(100 * max(high) FILTER (metric = 'house_share')) AS percent_house_high,
    round(100 * max(value) FILTER (metric = 'classifier_accuracy')) AS percent_classifier_right,
    round(max(value) FILTER (metric = 'words'), 1) AS words,
    round(max(value) FILTER (metric = 'words_from_house'), 1) AS words_from_house,
    round(100 * max(value) FILTER (metric = 'greeting')) AS percent_greeting,
    round(100 * max(value) FILTER (metric = 'thanks')) AS percent_thanks,
    round(100 * max(value) FILTER (metric = 'apology')) AS percent_apology,
    round(100 * max(value) FILTER (metric = 'please')) AS percent_please,
    round(100 * max(value) FILTER (metric = 'exclamation')) AS percent_exclamation,
    round(100 * max(value) FILTER (metric = 'sign_off')) AS percent_sign_off,
    round(100 * max(value) FILTER (metric = 'facts_written')) AS percent_facts_written,
    round(100 * max(value) FILTER (metric = 'facts_kept')) AS percent_facts_kept,
    max(measured) FILTER (metric = 'words') AS replies
FROM evaluation.style
GROUP BY style, variant
ORDER BY style, list_position(['base', 'told', 'shown', 'fine_tuned', 'house'], variant);
