-- What did fine-tuning make the language model forget, and what does keeping it cost? By technique,
-- mitigation, point of training and adapter scale: the share of probe accuracy that is gone and by
-- which share the perplexity of general text grew, in percent with 95 % intervals, paired with the
-- base model; the divergence from it; and the price error in the currency, with what the mitigation
-- changes in it.
-- DuckDB; no parameters.
SELECT
    technique,
    mitigation,
    adapter_scale AS scale,
    round(100 * share_trained) AS percent_trained,
    round(100 * probe_accuracy, 1) AS percent_correct,
    round(100 * base_probe_accuracy, 1) AS base_percent_correct,
    round(100 * chance_accuracy, 1) AS chance_percent_correct,
    round(100 * accuracy_lost, 1) AS accuracy_lost,
    round(100 * accuracy_lost_low, 1) AS accuracy_lost_low,
    round(100 * accuracy_lost_high, 1) AS accuracy_lost_high,
    round(perplexity, 2) AS perplexity,
    round(100 * perplexity_gained, 1) AS perplexity_gained,
    round(100 * perplexity_gained_low, 1) AS perplexity_gained_low,
    round(100 * perplexity_gained_high, 1) AS perplexity_gained_high,
    round(kl_divergence, 4) AS kl_divergence,
    round(price_mae, 2) AS price_mae,
    round(price_mae_change, 2) AS price_mae_change,
    round(price_mae_change_low, 2) AS price_mae_change_low,
    round(price_mae_change_high, 2) AS price_mae_change_high,
    is_within_limit,
    is_promoted,
    round(training_seconds) AS training_seconds
FROM evaluation.forgetting
ORDER BY technique, mitigation <> 'none', mitigation, step, adapter_scale;
