"""Reading prices off a language model: against a forward pass, writing them, no shared prefix.

``python -m benchmarks.price_readout FOLDER`` measures with the model of a folder. Without one, the
model is small, with random weights and a tokenizer of single digits: for the figures that are
ratios of time alone.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurement import Comparison, in_turn
from pricing_platform.catalog.bundled.catalogue import write_bundled_catalogue
from pricing_platform.language import prompts
from pricing_platform.language.local import LocalLanguageModel
from pricing_platform.language.local.network import Batch
from pricing_platform.language.model import Prompt
from pricing_platform.language.prompts import Currency, PricedText

ITEMS = 60
SHOTS = 10
_HIGHEST = 1000
_WINDOW = 2048
_BATCH_TOKENS = 2048
_CHARACTERS = 330  # about 100 tokens
_SHOT_CHARACTERS = 150
_CURRENCY = Currency("USD")
_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


def compare_price_readout(folder: Path, model_folder: Path | None = None) -> Iterator[Comparison]:
    """The read-out against a forward pass and the full tree, ``generate``, and no shared prefix.

    Args:
        folder: where listings, and a model where none is given, are written.
        model_folder: of the model, in the layout of ``transformers``.
    """
    texts = _listings(folder)
    model_folder = model_folder or _random_model(folder / "language_model", texts)
    model = LocalLanguageModel.open(
        "model", model_folder, highest_price=_HIGHEST, batch_tokens=_BATCH_TOKENS
    )
    asked = _asked(texts, ITEMS, shots=0)
    yield _against_a_forward_pass(model, asked)
    yield _against_the_full_tree(model, asked)
    yield _against_generate(model, model_folder, asked, batch=1, aim=3)
    yield _against_generate(model, model_folder, asked, batch=32, aim=3)
    yield _against_no_prefix(model, model_folder, _asked(texts, ITEMS // 3, shots=SHOTS))


def _against_a_forward_pass(model: LocalLanguageModel, asked: Sequence[Prompt]) -> Comparison:
    """The peer computes the logits after each prompt, in the same batches, and reads nothing."""
    import torch

    tokens = model._tokenizer.encode_prompts(asked)
    order = sorted(range(len(asked)), key=lambda i: len(tokens[i]))
    rows = _BATCH_TOKENS // max(map(len, tokens))

    def forward() -> None:
        with torch.inference_mode():
            for start in range(0, len(order), rows):
                chosen = [tokens[i] for i in order[start : start + rows]]
                batch = Batch.of(chosen, 0, model._tokenizer.pad_id, model.device)
                model._network.last_logits(batch, None)

    alone = replace(model, shares_prefix=False)
    ours, theirs = in_turn(lambda: list(alone.read_prices(asked)), forward, rounds=3)
    return Comparison(
        "price read-out against a forward pass",
        f"{1000 * ours / len(asked):.1f} ms an item",
        f"logits alone: {1000 * theirs / len(asked):.1f} ms an item",
        ours / theirs,
        "times a forward pass",
        "1.3",
        ours <= 1.3 * theirs,
        f"prompts of {_median_tokens(model, asked)} tokens in {model.precision}",
    )


def _against_the_full_tree(model: LocalLanguageModel, asked: Sequence[Prompt]) -> Comparison:
    """Medians of the same prompts where every beginning of a number is followed."""
    exact_model = replace(model, follows_all_numbers=True)
    found, exact = _medians(model, asked), _medians(exact_model, asked)
    apart = np.abs(found / exact - 1)
    middle, high = float(np.median(apart)), float(np.quantile(apart, 0.95))
    return Comparison(
        "median read against that of the full tree",
        f"{100 * middle:.2f} % apart",
        f"{100 * high:.2f} % at the 95th percentile",
        100 * middle,
        "% apart",
        "1",
        middle < 0.01,
        f"{len(asked)} prompts",
    )


def _against_generate(
    model: LocalLanguageModel, folder: Path, asked: Sequence[Prompt], *, batch: int, aim: float
) -> Comparison:
    """The peer writes the same answer, as ``Price: $42`` and a line break, by its defaults."""
    asked = asked[:8] if batch == 1 else asked[:32]
    texts = [Prompt(at.messages).as_text() for at in asked]
    peer = partial(_generate, *_transformers(folder), texts, batch)
    ours_seconds, peer_seconds = in_turn(lambda: list(model.read_prices(asked)), peer, rounds=2)
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
    peer = LocalLanguageModel.open("model", folder, highest_price=_HIGHEST, shares_prefix=False)
    ours_seconds, peer_seconds = in_turn(
        lambda: list(model.read_prices(asked)), lambda: list(peer.read_prices(asked)), rounds=1
    )
    ratio = peer_seconds / ours_seconds
    apart = np.abs(_medians(model, asked) / _medians(peer, asked) - 1)
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
        f" estimates {100 * float(np.median(apart)):.2f} % apart",
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


def _asked(texts: Sequence[str], items: int, *, shots: int) -> list[Prompt]:
    random = np.random.default_rng(4)
    shown = [
        PricedText(text[:_SHOT_CHARACTERS], float(random.integers(1, 400)))
        for text in texts[-shots or len(texts) :]
    ]
    return [
        prompts.multi_shot(text[:_CHARACTERS], shown, _CURRENCY, form="plain")
        for text in texts[:items]
    ]


def _listings(folder: Path) -> list[str]:
    """Texts of the bundled catalogue, drawn over all shops."""
    written = write_bundled_catalogue(folder / "catalogue", products=300).parent
    texts: set[str] = set()
    for path in sorted(written.glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with suppress(ValueError, LookupError, TypeError):  # some lines are broken
                    row = json.loads(line)
                    texts.add("\n".join([row["title"], *row["features"], *row["description"]]))
    ordered = sorted(text for text in texts if len(text) > _CHARACTERS)
    order = np.random.default_rng(1).permutation(len(ordered))
    return [ordered[at] for at in order[: ITEMS + SHOTS]]


def _random_model(folder: Path, texts: Sequence[str]) -> Path:
    """A Llama of hidden 192 and 4 layers, with its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_trained_tokenizer(texts), **_SPECIAL)
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


def _trained_tokenizer(texts: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=2_900,
        special_tokens=list(_SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for comparison in compare_price_readout(Path(temporary), Path(sys.argv[1])):
            print(comparison, flush=True)
