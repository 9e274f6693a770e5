"""What a fine-tuned language model is given away as: an adapter, a whole model, a GGUF file.

Here belongs the way from a base model's folder and an adapter to such a folder with its card. Which
checkpoint is meant, and what is known of it, belongs to ``pricing.finetuned.export.exporting``.
"""
