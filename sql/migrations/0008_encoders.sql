-- Embeddings of any encoder: the vectors' length follows it when rows are made to agree with theirs.
COMMENT ON COLUMN catalog.item_embeddings.model IS 'The encoder, with the first digits of a sha256: its weights'', and where it is not used as the embedded one is, that of its usage too.';
COMMENT ON COLUMN knowledge.chunk_embeddings.model IS 'The encoder, as in catalog.item_embeddings.';
COMMENT ON COLUMN knowledge.fact_embeddings.model IS 'The encoder, as in catalog.item_embeddings.';
COMMENT ON COLUMN catalog.item_embeddings.embedding IS 'Unit length, with the encoder''s dimensions; similarity is the cosine.';
COMMENT ON COLUMN knowledge.chunk_embeddings.embedding IS 'Unit length, with the encoder''s dimensions; similarity is the cosine.';
COMMENT ON COLUMN knowledge.fact_embeddings.embedding IS 'Unit length, with the encoder''s dimensions; similarity is the cosine.';
COMMENT ON TABLE catalog.item_embeddings IS 'One row an item: its text as a vector. The HNSW index is built after the first load, for up to 4000 dimensions.';
