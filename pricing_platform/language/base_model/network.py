"""The network of the platform's own language model: a Llama of ``transformers``, newly made.

Here belong its configuration and its first weights. Training it does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pricing_platform.language.base_model.configuration import BaseModelConfiguration
from pricing_platform.language.base_model.tokenizer import PriceTokens

_WAVES = 16
_SCALE = 0.02


def new_network(
    configuration: BaseModelConfiguration, tokenizer: Any, prices: PriceTokens, seed: int
) -> Any:
    """A ``LlamaForCausalLM`` with tied embeddings; numbers start as smooth functions of log(1+n).

    The smooth start is what lets a small model know from the first step that 99 is near 101: the
    price's embedding is both what it reads in its context and what it answers with.
    """
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    sizes = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=configuration.hidden,
        intermediate_size=configuration.feed_forward,
        num_hidden_layers=configuration.layers,
        num_attention_heads=configuration.heads,
        num_key_value_heads=configuration.heads,
        max_position_embeddings=configuration.window,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = LlamaForCausalLM(sizes)
    network.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.no_grad():
        embeddings = network.get_input_embeddings().weight
        waves = torch.from_numpy(_waves(len(prices.ids), configuration.hidden))
        embeddings[torch.from_numpy(prices.ids)] += waves
    return network


def _waves(count: int, width: int) -> Any:
    """Sines and cosines of log(1 + n), for n = 0, 1, ..., count - 1; shape (count, width)."""
    log_price = np.log1p(np.arange(count)) / np.log1p(1_000)
    pairs = min(_WAVES, width // 2)
    angles = np.pi * log_price[:, None] * (np.arange(pairs) + 0.5)[None, :]
    found = np.zeros((count, width), np.float32)
    # Slow waves count more: far prices differ much, near ones little.
    weight = 1 / np.sqrt(np.arange(pairs) + 1.0)
    found[:, : 2 * pairs : 2] = np.sin(angles) * weight
    found[:, 1 : 2 * pairs : 2] = np.cos(angles) * weight
    return found * _SCALE * 5
