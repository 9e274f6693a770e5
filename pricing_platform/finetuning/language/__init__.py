"""Fine-tuning a causal language model by low-rank adapters, within a budget of seconds.

Here belong the adapters, what is computed once below them, the objectives, and the training. What
a price technique makes of it belongs to ``pricing.finetuned``; what a model forgets to
``finetuning.forgetting``.
"""
