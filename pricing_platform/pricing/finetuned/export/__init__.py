"""A fine-tuned technique as a folder to give away."""
