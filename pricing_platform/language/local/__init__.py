"""A language model on this machine: its tokens, its forward pass, and prices read off it.

Here belongs what needs the weights or their tokenizer. What is asked belongs to
``language.prompts``; where a model comes from belongs to ``language.pretrained``.
"""

from pricing_platform.language.local.local_model import LocalLanguageModel

__all__ = ["LocalLanguageModel"]
