CREATE OR REPLACE TABLE evaluation.freshness_impact (
    round VARCHAR,
    change VARCHAR,
    subject VARCHAR,
    attribute VARCHAR,
    kind VARCHAR,
    document_id VARCHAR,
    old_value VARCHAR,
    new_value VARCHAR,
    stale_served BOOLEAN,
    rank BIGINT,
    old_as_of BOOLEAN
);

COMMENT ON TABLE evaluation.freshness_impact IS 'One row a change of a copy of the documents: whether what is retrieved after one refresh says so.';
COMMENT ON COLUMN evaluation.freshness_impact.round IS 'change: documents were changed; restore: one was put back as it was.';
COMMENT ON COLUMN evaluation.freshness_impact.change IS 'value, document_removed, subject_renamed or restored.';
COMMENT ON COLUMN evaluation.freshness_impact.subject IS 'What the changed fact is about.';
COMMENT ON COLUMN evaluation.freshness_impact.attribute IS 'Which attribute.';
COMMENT ON COLUMN evaluation.freshness_impact.kind IS 'The kind of the fact.';
COMMENT ON COLUMN evaluation.freshness_impact.document_id IS 'The document that was changed.';
COMMENT ON COLUMN evaluation.freshness_impact.old_value IS 'What it stated before.';
COMMENT ON COLUMN evaluation.freshness_impact.new_value IS 'What it states now; null where it is gone.';
COMMENT ON COLUMN evaluation.freshness_impact.stale_served IS 'Whether a retrieved passage or fact states the superseded value as current.';
COMMENT ON COLUMN evaluation.freshness_impact.rank IS 'Of the first passage or fact with the new value; null where none has it.';
COMMENT ON COLUMN evaluation.freshness_impact.old_as_of IS 'Whether the old value is still there for the time before the change.';
