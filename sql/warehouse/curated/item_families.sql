CREATE OR REPLACE TABLE curated.item_families (
    item_id VARCHAR,
    family_id VARCHAR,
    family_size BIGINT,
    evidence VARCHAR,
    split VARCHAR,
    links_cut BIGINT,
    links_cut_across_splits BIGINT
);

COMMENT ON TABLE curated.item_families IS 'One row an item, with the family of near-duplicates it belongs to.';
COMMENT ON COLUMN curated.item_families.item_id IS 'The item.';
COMMENT ON COLUMN curated.item_families.family_id IS 'The smallest item_id of the family.';
COMMENT ON COLUMN curated.item_families.family_size IS 'How many items the family has.';
COMMENT ON COLUMN curated.item_families.evidence IS 'What linked the item to its family: alone, same_title, model_number, minhash, embedding.';
COMMENT ON COLUMN curated.item_families.split IS 'train (80 %), validation (10 %) or test (10 %), as in curated.split_assignments; set_aside where the family has another one.';
COMMENT ON COLUMN curated.item_families.links_cut IS 'Links from this item''s title to titles of other families that were given up because the family was too large; each is counted at one of its ends.';
COMMENT ON COLUMN curated.item_families.links_cut_across_splits IS 'Those of them that lead into another split.';
