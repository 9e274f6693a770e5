"""Decides, with evidence, how product prices should be estimated by language models."""

__version__ = "0.1.0"

import os

# Every shape of a batch leaves kernels in oneDNN's cache, which by default keeps a thousand: half a
# gigabyte over a training, and no slower without. It is read once, when torch first computes.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
