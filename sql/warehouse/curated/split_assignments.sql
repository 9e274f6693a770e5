CREATE OR REPLACE TABLE curated.split_assignments (
    item_id VARCHAR,
    split VARCHAR,
    family_id VARCHAR,
    round BIGINT
);

COMMENT ON TABLE curated.split_assignments IS 'One row an item, with the split that it fell into when it was first seen; rows are only added.';
COMMENT ON COLUMN curated.split_assignments.item_id IS 'The item.';
COMMENT ON COLUMN curated.split_assignments.split IS 'train, validation or test: for good.';
COMMENT ON COLUMN curated.split_assignments.family_id IS 'The family that it was in then.';
COMMENT ON COLUMN curated.split_assignments.round IS 'Which assignment this was, counted from 1: of two families that become one, the earlier decides.';
