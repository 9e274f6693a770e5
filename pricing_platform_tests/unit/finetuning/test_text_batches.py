"""Tokenised texts, as the reference tokenises and pads them."""

from __future__ import annotations

import numpy as np

from pricing_platform.finetuning.base_models import base_model_folder
from pricing_platform.finetuning.text_batches import TextTokeniser
from pricing_platform.language.local.length_batches import length_sorted_batches
from pricing_platform.retrieval.encoder import EMBEDDED_MODEL

FOLDER = base_model_folder(EMBEDDED_MODEL)


def test_padded_batches_equal_the_reference_tokenizer_s() -> None:
    import torch
    from transformers import AutoTokenizer

    texts = ["A 500 W power supply", "", "naïve café ☕ " * 40, "Kühlschrank"]
    ids, mask = TextTokeniser(FOLDER, 32)(texts).padded(np.arange(4), torch.device("cpu"))
    reference = AutoTokenizer.from_pretrained(FOLDER)(
        texts, truncation=True, max_length=32, padding=True, return_tensors="pt"
    )
    assert torch.equal(ids, reference["input_ids"])
    assert torch.equal(mask, reference["attention_mask"])


def test_no_texts_are_no_tokens() -> None:
    nothing = TextTokeniser(FOLDER, 32)([])
    assert len(nothing) == 0
    assert list(length_sorted_batches(nothing.lengths, batch_tokens=10, batch_items=2)) == []
