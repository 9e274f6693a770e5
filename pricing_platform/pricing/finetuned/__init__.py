"""Techniques that fine-tune a language model: on the product alone, or on it and its comparables.

Here belongs what such a technique reads of an item and what it answers. The training belongs to
``finetuning.language``; the encoder's stands beside the other techniques still.
"""
