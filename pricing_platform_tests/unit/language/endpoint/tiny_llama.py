"""A Llama of two layers and random weights that answers with one number, as a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pricing_platform.language.model import Prompt
from pricing_platform.language.prompts import Currency, zero_shot
from pricing_platform_tests.unit.language.local.model_folders import fast_tokenizer

USD = Currency("USD")
WINDOW = 512


def product_prompts(count: int) -> list[Prompt]:
    colours = ("red", "blue", "café-brown", "green")
    return [
        zero_shot(
            f"Wireless mouse {number}, {colours[number % 4]}, by Acme. It's {number * 37} dpi!",
            USD,
            item_id=str(number),
        )
        for number in range(count)
    ]


def write_tiny_llama(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = fast_tokenizer("whole_numbers")
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config)
    answer_with_one_number(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def number_probabilities(folder: Path, texts: Sequence[str], highest: int = 1_000) -> Any:
    """Of the numbers from 1 as the next token, shape (texts, highest), each row's sum 1."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    numbers = tokenizer.convert_tokens_to_ids([str(number) for number in range(1, highest + 1)])
    found = []
    for text in texts:
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0, -1, numbers]
        found.append(logits.softmax(-1).numpy())
    return np.stack(found)


def answer_with_one_number(model: Any, tokenizer: Any, highest: int = 1_000) -> None:
    """Makes numbers the likeliest after the currency's sign, and the end after a number.

    One dimension of the embeddings says that a number was read, another that the sign was.
    """
    import torch

    numbers = tokenizer.convert_tokens_to_ids([str(number) for number in range(1, highest + 1)])
    sign = tokenizer(USD.answer_prefix, add_special_tokens=False)["input_ids"][-1]
    read, written = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    with torch.no_grad():
        read[:, :2] = 0.0
        written[:, :2] = 0.0
        for layer in model.model.layers:  # nothing else writes there
            layer.self_attn.o_proj.weight[:2] = 0.0
            layer.mlp.down_proj.weight[:2] = 0.0
        read[numbers, 0] = 20.0
        written[tokenizer.eos_token_id, 0] = 20.0
        read[sign, 1] = 20.0
        written[numbers, 1] = 20.0
