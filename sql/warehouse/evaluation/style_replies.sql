CREATE OR REPLACE TABLE evaluation.style_replies (
    style VARCHAR,
    conversation VARCHAR,
    variant VARCHAR,
    message VARCHAR,
    reply VARCHAR,
    house_probability DOUBLE
);

COMMENT ON TABLE evaluation.style_replies IS 'One row a held-out message and variant: what it replied, beside what the house replied.';
COMMENT ON COLUMN evaluation.style_replies.style IS 'The name of the [[style]] in sources.toml.';
COMMENT ON COLUMN evaluation.style_replies.conversation IS 'The conversation that the message is of.';
COMMENT ON COLUMN evaluation.style_replies.variant IS 'As in evaluation.style; house: what was really replied.';
COMMENT ON COLUMN evaluation.style_replies.message IS 'The customer''s message.';
COMMENT ON COLUMN evaluation.style_replies.reply IS 'The reply.';
COMMENT ON COLUMN evaluation.style_replies.house_probability IS 'How sure the classifier is that the reply is the house''s, from 0 to 1.';
