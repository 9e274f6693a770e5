CREATE OR REPLACE TABLE evaluation.style (
    style VARCHAR,
    variant VARCHAR,
    model VARCHAR,
    metric VARCHAR,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    measured BIGINT,
    conversations BIGINT
);

COMMENT ON TABLE evaluation.style IS 'One row a style, variant and metric: how much of a house''s tone a model has, on conversations that nothing was learnt from.';
COMMENT ON COLUMN evaluation.style.style IS 'The name of the [[style]] in sources.toml.';
COMMENT ON COLUMN evaluation.style.variant IS 'base: the model as it is; told: the style is described in its prompt; shown: the same with examples; fine_tuned: with the style''s adapters and no hint; house: the replies that were really given.';
COMMENT ON COLUMN evaluation.style.model IS 'The model that was asked.';
COMMENT ON COLUMN evaluation.style.metric IS 'perplexity: of the house''s replies, per token; perplexity_of_base: the same in parts of the base model''s; house_share: of replies that the classifier takes for the house''s; classifier_accuracy: of the classifier itself, house against base; words: mean length; words_from_house: by how much longer than the house''s replies to the same messages; greeting, thanks, apology, please, exclamation, sign_off: share of replies with it; facts_written_at_first: share of answers to questions with a known current fact that stand as they were written; facts_written: that stand, a second try included; facts_kept: that give the current value word for word, the found answer standing in for one that was refused.';
COMMENT ON COLUMN evaluation.style.value IS 'The metric''s value.';
COMMENT ON COLUMN evaluation.style.low IS 'Lower end of its 95 % bootstrap interval, clustered by conversation (by question for facts).';
COMMENT ON COLUMN evaluation.style.high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.style.measured IS 'Replies or questions that it was measured on.';
COMMENT ON COLUMN evaluation.style.conversations IS 'Conversations, or questions, that they are of.';
