CREATE OR REPLACE TABLE evaluation.forgetting (
    technique VARCHAR,
    checkpoint VARCHAR,
    mitigation VARCHAR,
    adapter_scale DOUBLE,
    step BIGINT,
    share_trained DOUBLE,
    questions BIGINT,
    probe_accuracy DOUBLE,
    probe_accuracy_low DOUBLE,
    probe_accuracy_high DOUBLE,
    base_probe_accuracy DOUBLE,
    chance_accuracy DOUBLE,
    accuracy_lost DOUBLE,
    accuracy_lost_low DOUBLE,
    accuracy_lost_high DOUBLE,
    text_tokens BIGINT,
    perplexity DOUBLE,
    perplexity_low DOUBLE,
    perplexity_high DOUBLE,
    base_perplexity DOUBLE,
    perplexity_gained DOUBLE,
    perplexity_gained_low DOUBLE,
    perplexity_gained_high DOUBLE,
    kl_divergence DOUBLE,
    kl_divergence_low DOUBLE,
    kl_divergence_high DOUBLE,
    price_items BIGINT,
    price_mae DOUBLE,
    price_mae_low DOUBLE,
    price_mae_high DOUBLE,
    price_mae_change DOUBLE,
    price_mae_change_low DOUBLE,
    price_mae_change_high DOUBLE,
    is_within_limit BOOLEAN,
    is_promoted BOOLEAN,
    training_seconds DOUBLE,
    measuring_seconds DOUBLE
);

COMMENT ON TABLE evaluation.forgetting IS 'One row a fine-tuned model, mitigation, point of training and adapter scale: what was forgotten of general ability, and the price error there.';
COMMENT ON COLUMN evaluation.forgetting.technique IS 'The fine-tuned technique.';
COMMENT ON COLUMN evaluation.forgetting.checkpoint IS 'The technique''s checkpoint that was measured, as in evaluation.predictions; null for one that was trained for this alone.';
COMMENT ON COLUMN evaluation.forgetting.mitigation IS 'What was done against forgetting: none, replay (texts that the base model wrote among the training data), kl (a penalty on the divergence from the base), lower_rank, or scaled (the adapter trained with none, at a part of its strength).';
COMMENT ON COLUMN evaluation.forgetting.adapter_scale IS 'The part of the adapter that is added to the base model: 0 is the base, 1 the adapter as trained.';
COMMENT ON COLUMN evaluation.forgetting.step IS 'Updates of the weights until then.';
COMMENT ON COLUMN evaluation.forgetting.share_trained IS 'Share of all updates of the training; 1 at its end.';
COMMENT ON COLUMN evaluation.forgetting.questions IS 'How many probes were asked.';
COMMENT ON COLUMN evaluation.forgetting.probe_accuracy IS 'Share of the probes that the model answers correctly, by the log-likelihood per byte of the choices.';
COMMENT ON COLUMN evaluation.forgetting.probe_accuracy_low IS 'Lower end of its 95 % bootstrap interval, by question.';
COMMENT ON COLUMN evaluation.forgetting.probe_accuracy_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.forgetting.base_probe_accuracy IS 'The share of the base model.';
COMMENT ON COLUMN evaluation.forgetting.chance_accuracy IS 'The share that guessing would reach; probes on which the base model is not well above it tell little.';
COMMENT ON COLUMN evaluation.forgetting.accuracy_lost IS 'Share of the accuracy of the base model that is gone; below 0 where the model gained.';
COMMENT ON COLUMN evaluation.forgetting.accuracy_lost_low IS 'Lower end of its 95 % bootstrap interval, paired by question.';
COMMENT ON COLUMN evaluation.forgetting.accuracy_lost_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.forgetting.text_tokens IS 'Tokens of general text that were predicted.';
COMMENT ON COLUMN evaluation.forgetting.perplexity IS 'Of general text for a token; infinite where the model gives a token no probability.';
COMMENT ON COLUMN evaluation.forgetting.perplexity_low IS 'Lower end of its 95 % bootstrap interval, by chunk of text.';
COMMENT ON COLUMN evaluation.forgetting.perplexity_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.forgetting.base_perplexity IS 'The perplexity of the base model.';
COMMENT ON COLUMN evaluation.forgetting.perplexity_gained IS 'By which share of that of the base model it grew; below 0 where it fell.';
COMMENT ON COLUMN evaluation.forgetting.perplexity_gained_low IS 'Lower end of its 95 % bootstrap interval, paired by chunk of text.';
COMMENT ON COLUMN evaluation.forgetting.perplexity_gained_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.forgetting.kl_divergence IS 'KL divergence from the base model to this one in nats for a token of general text, with all but the 128 likeliest tokens taken as one: a lower bound.';
COMMENT ON COLUMN evaluation.forgetting.kl_divergence_low IS 'Lower end of its 95 % bootstrap interval, by chunk of text.';
COMMENT ON COLUMN evaluation.forgetting.kl_divergence_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.forgetting.price_items IS 'Validation items with an estimate; null where nothing was priced.';
COMMENT ON COLUMN evaluation.forgetting.price_mae IS 'Mean absolute error of the prices of these items, in the currency.';
COMMENT ON COLUMN evaluation.forgetting.price_mae_low IS 'Lower end of its 95 % bootstrap interval, clustered by family.';
COMMENT ON COLUMN evaluation.forgetting.price_mae_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.forgetting.price_mae_change IS 'By how much it is above that of the same share of training without a mitigation, on the items that both priced; null for that itself.';
COMMENT ON COLUMN evaluation.forgetting.price_mae_change_low IS 'Lower end of its 95 % bootstrap interval, clustered by family.';
COMMENT ON COLUMN evaluation.forgetting.price_mae_change_high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.forgetting.is_within_limit IS 'Whether neither share that was forgotten, of accuracy or of perplexity, is above PRICING_FORGETTING_LIMIT.';
COMMENT ON COLUMN evaluation.forgetting.is_promoted IS 'Whether this is what the gate lets through of the technique.';
COMMENT ON COLUMN evaluation.forgetting.training_seconds IS 'Seconds of training until then.';
COMMENT ON COLUMN evaluation.forgetting.measuring_seconds IS 'Seconds that asking the probes and reading the text took.';
