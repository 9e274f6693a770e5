"""Decides, with evidence, how product prices should be estimated by language models."""

__version__ = "0.1.0"
