CREATE OR REPLACE TABLE evaluation.retrieval_quality (
    category VARCHAR,
    metric VARCHAR,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    questions BIGINT
);

COMMENT ON TABLE evaluation.retrieval_quality IS 'One row a category of questions and metric: how well retrieval finds what they ask for.';
COMMENT ON COLUMN evaluation.retrieval_quality.category IS 'The questions'' category; all: every question.';
COMMENT ON COLUMN evaluation.retrieval_quality.metric IS 'mrr, ndcg, coverage or context_characters.';
COMMENT ON COLUMN evaluation.retrieval_quality.value IS 'Mean over the questions.';
COMMENT ON COLUMN evaluation.retrieval_quality.low IS 'Lower end of its 95 % bootstrap interval over questions.';
COMMENT ON COLUMN evaluation.retrieval_quality.high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.retrieval_quality.questions IS 'How many questions.';
