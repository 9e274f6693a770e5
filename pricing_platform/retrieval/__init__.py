"""Finding what is relevant: the encoder, the reconciliation of embeddings, comparables."""
