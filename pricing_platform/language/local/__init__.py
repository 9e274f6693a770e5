"""A language model on this machine: its tokens, its forward pass, and prices read off it.

Here belongs what needs the weights or their tokenizer. What is asked belongs to
``language.prompts``; training the platform's own model belongs to ``language.base_model``.
"""

from pricing_platform.language.local.folder import model_folder
from pricing_platform.language.local.local_model import LocalLanguageModel

__all__ = ["LocalLanguageModel", "model_folder"]
