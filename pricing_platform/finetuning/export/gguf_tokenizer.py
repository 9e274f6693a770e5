"""A tokenizer as the fields of a GGUF file, so that llama.cpp cuts texts as the model has learnt.

Here belong copying the fields of another GGUF file, and writing those of a ``tokenizer.json`` with
byte-level BPE. llama.cpp has the rules by which a text is cut before BPE in its code and knows them
by name: rules that have no name there are refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pricing_platform.errors import PlatformError

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_PREFIX = "tokenizer."
_SPECIAL = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
_DIGITS = {"type": "Digits", "individual_digits": True}
_GPT_2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_BYTES_ALONE = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_NAMES: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "gpt-2": ([_GPT_2], False),
    "smollm": ([_DIGITS, _GPT_2], False),
    "llama-bpe": (
        [{"type": "Split", "pattern": {"Regex": _LLAMA_3}, "behavior": "Isolated"}, _BYTES_ALONE],
        True,
    ),
}
"""llama.cpp's name -> the cuts in the order in which they are made, and whether a word that is a
token as a whole is taken without merging."""

_REMEDY = "Use llama.cpp's own convert_hf_to_gguf.py on what `export --as merged` writes."


@dataclass(frozen=True)
class GgufField:
    """A key of a GGUF file; ``kind`` and ``element`` are ``gguf.GGUFValueType``s.

    ``element`` is that of an array, None of anything else.
    """

    key: str
    value: Any
    kind: Any
    element: Any = None


def fields_of_gguf(path: Path, vocabulary: int) -> list[GgufField]:
    """The tokenizer's fields of another GGUF file, its chat template among them.

    Args:
        path: the file that the model came from.
        vocabulary: tokens that the model has embeddings of.

    Raises:
        PlatformError: when the file has no tokenizer, or one of another vocabulary.
    """
    from gguf import GGUFReader, GGUFValueType

    found = [
        GgufField(
            field.name,
            field.contents(),
            field.types[0],
            field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None,
        )
        for field in GGUFReader(path).fields.values()
        if field.name.startswith(_PREFIX)
    ]
    tokens: list[str] = next((at.value for at in found if at.key == "tokenizer.ggml.tokens"), [])
    if len(tokens) != vocabulary:
        raise PlatformError(
            f"{path} has {len(tokens)} tokens, and the model that came from it {vocabulary}.",
            _REMEDY,
        )
    return found


def fields_of_folder(
    folder: Path, vocabulary: int, pre_tokenizer: str | None = None
) -> list[GgufField]:
    """The fields of a folder's ``tokenizer.json``.

    Args:
        folder: in the layout of ``transformers``.
        vocabulary: tokens that the model has embeddings of.
        pre_tokenizer: llama.cpp's name for how texts are cut before BPE, where the reader of the
            file is given tokens and not texts; by default it is told from the file.

    Raises:
        PlatformError: when it is no byte-level BPE, or llama.cpp has no name for its cuts.
    """
    from gguf import GGUFValueType
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, use_fast=True
    )
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    name = pre_tokenizer or _pre_tokenizer(folder, told)
    tokens, kinds = _tokens(told, vocabulary)
    begins = tokenizer.bos_token_id is not None and (
        tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    )
    text, number, flag = GGUFValueType.STRING, GGUFValueType.UINT32, GGUFValueType.BOOL
    array = GGUFValueType.ARRAY
    fields = [
        GgufField("tokenizer.ggml.model", "gpt2", text),
        GgufField("tokenizer.ggml.pre", name, text),
        GgufField("tokenizer.ggml.tokens", tokens, array, text),
        GgufField("tokenizer.ggml.token_type", kinds, array, GGUFValueType.INT32),
        GgufField("tokenizer.ggml.merges", _merges(told), array, text),
        GgufField("tokenizer.ggml.add_bos_token", begins, flag),
        GgufField("tokenizer.ggml.add_space_prefix", False, flag),
    ]
    for ours, theirs in _SPECIAL.items():
        place = getattr(tokenizer, f"{ours}_token_id")
        if place is not None:
            fields.append(GgufField(f"tokenizer.ggml.{theirs}_token_id", int(place), number))
    if tokenizer.chat_template:
        fields.append(GgufField("tokenizer.chat_template", tokenizer.chat_template, text))
    return fields


def _pre_tokenizer(folder: Path, told: dict[str, Any]) -> str:
    kind = told["model"]["type"]
    if kind != "BPE" or told["model"].get("byte_fallback"):
        raise PlatformError(
            f"The tokenizer in {folder} is {kind} and no byte-level BPE, which alone is written"
            " here as GGUF.",
            _REMEDY,
        )
    cuts = told.get("pre_tokenizer") or {}
    steps = cuts.get("pretokenizers", [cuts])
    merges_all = not told["model"].get("ignore_merges")
    for name, (expected, ignores_merges) in _NAMES.items():
        alike = len(steps) == len(expected) and all(
            step.items() >= wanted.items() for step, wanted in zip(steps, expected, strict=True)
        )
        if alike and merges_all != ignores_merges and told.get("normalizer") is None:
            return name
    raise PlatformError(
        f"The tokenizer in {folder} cuts texts before BPE by rules that have no name here:"
        f" {', '.join(str(step.get('type')) for step in steps)}. Known are {', '.join(_NAMES)}.",
        _REMEDY,
    )


def _tokens(told: dict[str, Any], vocabulary: int) -> tuple[list[str], list[int]]:
    """The text and the kind of every token; the model may have more embeddings than there are."""
    added = {token["id"]: token for token in told["added_tokens"]}
    texts = {place: text for text, place in told["model"]["vocab"].items()}
    texts |= {place: token["content"] for place, token in added.items()}
    kinds = dict.fromkeys(texts, _NORMAL) | {
        place: _CONTROL if token["special"] else _USER_DEFINED for place, token in added.items()
    }
    places = range(vocabulary)
    return (
        [texts.get(place, f"[PAD{place}]") for place in places],
        [kinds.get(place, _UNUSED) for place in places],
    )


def _merges(told: dict[str, Any]) -> list[str]:
    merges = told["model"]["merges"]
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
