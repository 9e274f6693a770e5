"""Folders of tiny random encoders, as transformers and sentence-transformers write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *["drill", "lamp", "oak", "steel", "query", "passage", "small", ":", "Oak"],
]


def write_transformer(folder: Path, *, hidden: int = 32, positions: int = 40) -> Path:
    """A BERT of one layer with random weights and a tokenizer of a few words."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel

    torch.manual_seed(hidden)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=hidden,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=positions,
        initializer_range=0.5,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        "[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(WORDS[:4])
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
    }
    put(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **tokens})
    return folder


def write_modules(
    folder: Path,
    *kinds: str,
    pooling: dict[str, Any] | None = None,
    max_seq_length: int | None = 24,
) -> Path:
    """What sentence-transformers writes beside a model; ``kinds`` follow pooling."""
    names = ["Transformer", "Pooling", *kinds]
    modules = [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{kind}" if place else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, kind in enumerate(names)
    ]
    put(folder / "modules.json", modules)
    hidden = json.loads((folder / "config.json").read_text())["hidden_size"]
    told = {"word_embedding_dimension": hidden, **(pooling or {"pooling_mode_mean_tokens": True})}
    put(folder / "1_Pooling" / "config.json", told)
    put(
        folder / "sentence_bert_config.json",
        {"max_seq_length": max_seq_length, "do_lower_case": False},
    )
    return folder


def write_dense(
    folder: Path, inward: int, outward: int, activation: str = "torch.nn.modules.activation.Tanh"
) -> tuple[np.ndarray, np.ndarray]:
    """A dense layer's files; returns its weight and its bias."""
    from safetensors.numpy import save_file

    random = np.random.default_rng(outward)
    weight = random.standard_normal((outward, inward)).astype(np.float32)
    bias = random.standard_normal(outward).astype(np.float32)
    put(
        folder / "config.json",
        {
            "in_features": inward,
            "out_features": outward,
            "bias": True,
            "activation_function": activation,
        },
    )
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "model.safetensors")
    return weight, bias


def token_vectors(folder: Path, text: str) -> np.ndarray:
    """The last layer's vectors of a text's tokens, alone and without padding."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    module = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        found: np.ndarray = module(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
    return found


def unit(vectors: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Each row scaled to unit length."""
    rows = np.atleast_2d(np.asarray(vectors))
    found: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def put(path: Path, value: Any) -> None:
    """Writes JSON, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def change(path: Path, **values: Any) -> None:
    """Changes some of an object's values in a file."""
    put(path, {**(json.loads(path.read_text()) if path.exists() else {}), **values})
