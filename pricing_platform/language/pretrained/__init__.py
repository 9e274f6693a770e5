"""From the setting PRICING_BASE_MODEL to a verified folder that ``transformers`` loads.

Here belongs where a model comes from: the embedded one, a folder, a hub id, a GGUF file, an adapter
on any of them. What is computed with it belongs to ``language.local``.
"""

from pricing_platform.language.pretrained.named_models import (
    language_model_folder,
    language_model_name,
    source_gguf,
)

__all__ = ["language_model_folder", "language_model_name", "source_gguf"]
