"""Techniques that ask a language model as it is: what they show it, and how it is read.

Fine-tuned models belong to ``pricing.finetuned``.
"""
