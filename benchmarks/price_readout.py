"""Reading prices off a language model, against letting it write them and against no shared prefix.

The model is a small one with random weights, which take as long as any;
its tokenizer is trained on generated listings, with 0 to 1000 as tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurement import Comparison, in_turn
from pricing_platform.language import prompts
from pricing_platform.language.local import LocalLanguageModel
from pricing_platform.language.model import Prompt
from pricing_platform.language.prompts import Currency, PricedText

ITEMS = 64
SHOTS = 10
_HIGHEST = 1000
_WINDOW = 1024
_CURRENCY = Currency("USD")
_WORDS = [
    *("cordless", "drill", "oak", "chair", "router", "cotton", "shirt", "lamp", "kitchen", "steel"),
    *("cable", "pack", "wireless", "silver", "compact", "professional", "replacement", "battery"),
    *("filter", "outdoor", "portable", "adapter", "stainless", "garden"),
]
_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


def compare_price_readout(folder: Path) -> Iterator[Comparison]:
    """Three figures: the read-out against ``generate``, one by one and batched, and the prefix."""
    model_folder = _random_model(folder / "language_model")
    model = LocalLanguageModel.open("random", model_folder, highest_price=_HIGHEST)
    asked = _asked(ITEMS, shots=0)
    yield _against_generate(model, model_folder, asked, batch=1, aim=10)
    yield _against_generate(model, model_folder, asked, batch=32, aim=3)
    yield _against_no_prefix(model, model_folder, _asked(ITEMS, shots=SHOTS))


def _against_generate(
    model: LocalLanguageModel, folder: Path, asked: Sequence[Prompt], *, batch: int, aim: float
) -> Comparison:
    """The peer writes the same answer, as ``Price: $42`` and a line break, by its defaults."""
    texts = [Prompt(at.messages).as_text() for at in asked]
    peer = partial(_generate, *_transformers(folder), texts, batch)
    ours_seconds, peer_seconds = in_turn(lambda: list(model.read_prices(asked)), peer, rounds=3)
    ratio = peer_seconds / ours_seconds
    one_by_one = "one by one" if batch == 1 else f"{batch} at once"
    return Comparison(
        f"price read-out against generate, {one_by_one}",
        f"{1000 * ours_seconds / len(asked):.1f} ms an item",
        f"model.generate: {1000 * peer_seconds / len(asked):.1f} ms an item",
        ratio,
        "times as fast",
        f"{aim:g}",
        ratio >= aim,
        f"prompts of {_median_tokens(model, asked)} tokens; the peer computes in fp32",
    )


def _against_no_prefix(
    model: LocalLanguageModel, folder: Path, asked: Sequence[Prompt]
) -> Comparison:
    """Both sides read the same prices; the peer computes every prompt from its first token."""
    peer = LocalLanguageModel.open("random", folder, highest_price=_HIGHEST, shares_prefix=False)
    ours_seconds, peer_seconds = in_turn(
        lambda: list(model.read_prices(asked)), lambda: list(peer.read_prices(asked)), rounds=3
    )
    ratio = peer_seconds / ours_seconds
    apart = float(np.abs(_medians(model, asked) - _medians(peer, asked)).max())
    cached = next(model.read_prices(asked))[1].usage.tokens_cached
    return Comparison(
        f"shared prefix, {SHOTS} shots",
        f"{1000 * ours_seconds / len(asked):.1f} ms an item",
        f"no reuse: {1000 * peer_seconds / len(asked):.1f} ms an item",
        ratio,
        "times as fast",
        "3",
        ratio >= 3,
        f"{cached} of {_median_tokens(model, asked)} tokens shared;"
        f" estimates at most {apart:.2f} apart",
    )


def _transformers(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    return AutoModelForCausalLM.from_pretrained(folder).eval(), tokenizer


def _generate(module: Any, tokenizer: Any, texts: Sequence[str], batch: int) -> None:
    import torch

    answer = len(tokenizer(_CURRENCY.price_line(42) + "\n", add_special_tokens=False)["input_ids"])
    for start in range(0, len(texts), batch):
        encoded = tokenizer(list(texts[start : start + batch]), return_tensors="pt", padding=True)
        encoded.pop("token_type_ids", None)
        with torch.inference_mode():
            module.generate(
                **encoded, min_new_tokens=answer, max_new_tokens=answer, do_sample=False
            )


def _medians(model: LocalLanguageModel, asked: Sequence[Prompt]) -> Any:
    found = dict(model.read_prices(asked))
    distributions = [found[i].distribution for i in range(len(asked))]
    return np.array([at.quantile(0.5) for at in distributions if at is not None])


def _median_tokens(model: LocalLanguageModel, asked: Sequence[Prompt]) -> int:
    return int(np.median(model.count_tokens(asked)))


def _asked(items: int, *, shots: int) -> list[Prompt]:
    random = np.random.default_rng(4)
    shown = [PricedText(_listing(random), float(random.integers(1, 900))) for _ in range(shots)]
    return [prompts.multi_shot(_listing(random), shown, _CURRENCY) for _ in range(items)]


def _listing(random: np.random.Generator) -> str:
    count = int(random.integers(30, 60))
    return " ".join(random.choice(_WORDS, count)) + f" {int(random.integers(1, 400))} inch"


def _random_model(folder: Path) -> Path:
    """A Llama of hidden 192 and 4 layers, window 1024, with its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_trained_tokenizer(), **_SPECIAL)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=3000,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        max_position_embeddings=_WINDOW,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _trained_tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers

    random = np.random.default_rng(1)
    texts = [prompts.zero_shot(_listing(random), _CURRENCY).as_text() for _ in range(200)]
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=1_900,
        special_tokens=list(_SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    stored = json.loads(tokenizer.to_str())
    for number in range(_HIGHEST + 1):
        stored["model"]["vocab"].setdefault(str(number), len(stored["model"]["vocab"]))
    tokenizer = Tokenizer.from_str(json.dumps(stored))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer
