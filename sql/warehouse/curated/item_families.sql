CREATE OR REPLACE TABLE curated.item_families (
    item_id VARCHAR,
    family_id VARCHAR,
    family_size BIGINT,
    evidence VARCHAR,
    split VARCHAR
);

COMMENT ON TABLE curated.item_families IS 'One row an item, with the family of near-duplicates it belongs to.';
COMMENT ON COLUMN curated.item_families.item_id IS 'The item.';
COMMENT ON COLUMN curated.item_families.family_id IS 'The smallest item_id of the family.';
COMMENT ON COLUMN curated.item_families.family_size IS 'How many items the family has.';
COMMENT ON COLUMN curated.item_families.evidence IS 'What linked the item to its family: alone, same_title, model_number, minhash, embedding.';
COMMENT ON COLUMN curated.item_families.split IS 'train (80 %), validation (10 %) or test (10 %), by a hash of the family.';
