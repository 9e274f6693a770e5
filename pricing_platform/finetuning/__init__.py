"""Training on many examples: data, the training loop, checkpoints."""
