CREATE OR REPLACE TABLE evaluation.asked_items (
    technique VARCHAR,
    split VARCHAR,
    item_id VARCHAR
);

COMMENT ON TABLE evaluation.asked_items IS 'One row an item and technique that is asked for a sample of the items alone: which it was asked about. A technique without rows was asked about all.';
COMMENT ON COLUMN evaluation.asked_items.technique IS 'The technique.';
COMMENT ON COLUMN evaluation.asked_items.split IS 'validation or test.';
COMMENT ON COLUMN evaluation.asked_items.item_id IS 'The item.';
