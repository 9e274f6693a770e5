"""A random Llama of six blocks over generated listings, and what is learnt on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pricing_platform.finetuning.language.price_model import PricedExamples
from pricing_platform.finetuning.language.token_examples import TokenExample
from pricing_platform_tests.unit.language.local.model_folders import FAMILIES

BLOCKS = 6
HIDDEN = 32


def write_tiny_base(
    folder: Path, *, family: str = "single_digits", blocks: int = BLOCKS, hidden: int = HIDDEN
) -> Path:
    """A folder with the family's tokenizer and a random Llama."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer, options = FAMILIES[family]()
    template = options.pop("chat_template", None)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)
    fast.chat_template = template
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(fast) + 3,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def priced_examples(count: int, *, seed: int = 0) -> PricedExamples:
    """Token examples whose price follows from one of their tokens, with noise."""
    random = np.random.default_rng(seed)
    examples, prices = [], []
    for _ in range(count):
        kind = int(random.integers(8))
        length = int(random.integers(6, 14))
        ids = [20 + kind, *random.integers(30, 90, length).tolist(), 5, 6]
        written = random.integers(30, 40, 2).tolist()
        examples.append(TokenExample((*ids, *written), len(ids), (0, len(ids) - 2)))
        prices.append(5.0 * 1.6**kind * float(np.exp(random.normal(0, 0.05))))
    return PricedExamples(
        examples, np.array(prices), np.arange(count) // 2, np.zeros((count, 0), np.float32)
    )
