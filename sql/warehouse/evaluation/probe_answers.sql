CREATE OR REPLACE TABLE evaluation.probe_answers (
    technique VARCHAR,
    mitigation VARCHAR,
    adapter_scale DOUBLE,
    step BIGINT,
    place BIGINT,
    kind VARCHAR,
    question VARCHAR,
    base_is_correct BOOLEAN,
    is_correct BOOLEAN
);

COMMENT ON TABLE evaluation.probe_answers IS 'One row a probe and row of evaluation.forgetting: whether the base model and the fine-tuned one answer it.';
COMMENT ON COLUMN evaluation.probe_answers.technique IS 'The fine-tuned technique.';
COMMENT ON COLUMN evaluation.probe_answers.mitigation IS 'What was done against forgetting: none, replay (texts that the base model wrote among the training data), kl (a penalty on the divergence from the base), lower_rank, or scaled (the adapter trained with none, at a part of its strength).';
COMMENT ON COLUMN evaluation.probe_answers.adapter_scale IS 'The part of the adapter that is added to the base model: 0 is the base, 1 the adapter as trained.';
COMMENT ON COLUMN evaluation.probe_answers.step IS 'Updates of the weights until then.';
COMMENT ON COLUMN evaluation.probe_answers.place IS 'Place of the question among the probes, from 0.';
COMMENT ON COLUMN evaluation.probe_answers.kind IS 'What the question is about: knowledge, arithmetic, language or instruction of the bundled ones.';
COMMENT ON COLUMN evaluation.probe_answers.question IS 'The question.';
COMMENT ON COLUMN evaluation.probe_answers.base_is_correct IS 'Whether the base model answers it correctly.';
COMMENT ON COLUMN evaluation.probe_answers.is_correct IS 'Whether the fine-tuned model does.';
