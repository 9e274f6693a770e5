"""The network of the platform's own language model: a Llama of ``transformers``, newly made.

Here belong its configuration and its first weights. Training it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pricing_platform.language.base_model.configuration import BaseModelConfiguration
from pricing_platform.language.base_model.tokenizer import PriceTokens

Integers = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

_WAVES = 16
_SCALE = 0.1
_SCARCE = 5.0  # a token in so few items is believed half


def new_network(
    configuration: BaseModelConfiguration,
    tokenizer: Any,
    prices: PriceTokens,
    texts: Sequence[str],
    text_prices: Integers,
    seed: int,
) -> Any:
    """A ``LlamaForCausalLM`` with tied embeddings, made so that prices are near one another.

    Numbers start as smooth functions of log(1 + n): a small model knows from the first step that
    99 is near 101, both in what it reads and in what it answers. All other tokens start with what
    the prices of the texts that hold them have in common, in the same terms.

    Args:
        configuration: the sizes.
        tokenizer: in ``transformers``' form.
        prices: which tokens are prices.
        texts: of the items that are trained on.
        text_prices: their whole prices, shape (texts,).
        seed: of all weights that start at random.
    """
    import torch

    network = _random_network(configuration, tokenizer, seed)
    waves = _waves(len(prices.ids), configuration.hidden)
    start = _means(tokenizer, texts, waves[np.clip(text_prices, 0, len(waves) - 1)])
    start[prices.ids] = waves
    with torch.no_grad():
        network.get_input_embeddings().weight.add_(torch.from_numpy(start))
    return network


def _random_network(configuration: BaseModelConfiguration, tokenizer: Any, seed: int) -> Any:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    marks = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    sizes = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=configuration.hidden,
        intermediate_size=configuration.feed_forward,
        num_hidden_layers=configuration.layers,
        num_attention_heads=configuration.heads,
        num_key_value_heads=configuration.heads,
        max_position_embeddings=configuration.window,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
        **marks,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = LlamaForCausalLM(sizes)
    network.generation_config = GenerationConfig(**marks)
    return network


def _waves(count: int, width: int) -> Singles:
    """Sines and cosines of log(1 + n), for n = 0, 1, ..., count - 1; shape (count, width)."""
    place = np.log1p(np.arange(count)) / np.log1p(1_000)
    pairs = min(_WAVES, width // 2)
    angles = np.pi * place[:, None] * (np.arange(pairs) + 0.5)[None, :]
    # Slow waves count more: far prices differ much, near ones little.
    weight = _SCALE / np.sqrt(np.arange(pairs) + 1.0)
    found = np.zeros((count, width), np.float32)
    found[:, : 2 * pairs : 2] = np.sin(angles) * weight
    found[:, 1 : 2 * pairs : 2] = np.cos(angles) * weight
    return found


def _means(tokenizer: Any, texts: Sequence[str], waves: Singles) -> Singles:
    """The mean of the waves of the texts that hold a token, less that of all texts.

    Shape (vocabulary, width). What few texts hold is drawn towards 0.
    """
    found = np.zeros((len(tokenizer), waves.shape[1]), np.float32)
    counts = np.zeros(len(tokenizer), np.float32)
    centred = waves - waves.mean(axis=0)
    encoded = tokenizer.backend_tokenizer.encode_batch_fast(list(texts))
    for at, wave in zip(encoded, centred, strict=True):
        held = np.unique(at.ids)
        found[held] += wave
        counts[held] += 1
    return found / (counts + _SCARCE)[:, None]
