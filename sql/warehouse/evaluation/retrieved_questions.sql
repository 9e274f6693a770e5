CREATE OR REPLACE TABLE evaluation.retrieved_questions (
    question VARCHAR,
    category VARCHAR,
    passages BIGINT,
    mrr DOUBLE,
    ndcg DOUBLE,
    coverage DOUBLE,
    context_characters DOUBLE,
    first_passage VARCHAR
);

COMMENT ON TABLE evaluation.retrieved_questions IS 'One row a question: how well the passages retrieved for it hold its keywords.';
COMMENT ON COLUMN evaluation.retrieved_questions.question IS 'The question.';
COMMENT ON COLUMN evaluation.retrieved_questions.category IS 'What kind of question it is.';
COMMENT ON COLUMN evaluation.retrieved_questions.passages IS 'How many passages were retrieved.';
COMMENT ON COLUMN evaluation.retrieved_questions.mrr IS 'Reciprocal rank of the first passage with the keyword, mean over the keywords.';
COMMENT ON COLUMN evaluation.retrieved_questions.ndcg IS 'Normalised discounted cumulative gain, mean over the keywords.';
COMMENT ON COLUMN evaluation.retrieved_questions.coverage IS 'Share of the keywords that some passage holds.';
COMMENT ON COLUMN evaluation.retrieved_questions.context_characters IS 'Characters of all passages together.';
COMMENT ON COLUMN evaluation.retrieved_questions.first_passage IS 'The passage that was ranked first.';
