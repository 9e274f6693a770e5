"""A model's folder in transformers' form as one GGUF file, and llama.cpp's server on it.

Here belongs what is needed to have a Llama-architecture model with byte-level BPE behind a server
that speaks the OpenAI format and gives log-probabilities. llama.cpp knows no tokenizer's rules for
cutting a text before BPE but those of known models, so prompts are sent to it as tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def export(folder: Path, path: Path) -> None:
    """Writes the folder's ``config.json``, ``tokenizer.json`` and weights as GGUF, in float32."""
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] != "llama":
        raise ValueError(f"{folder} is no Llama but {config['model_type']}")
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    _add_sizes(writer, config)
    _add_tokens(writer, folder, config)
    weights = load_file(folder / "model.safetensors")
    if config.get("tie_word_embeddings"):
        weights.pop("lm_head.weight", None)
    for name, tensor in weights.items():
        kept = tensor.astype(np.float32)
        if name.endswith("q_proj.weight"):
            kept = _interleaved(kept, heads)
        if name.endswith("k_proj.weight"):
            kept = _interleaved(kept, key_heads)
        writer.add_tensor(_name(name), kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@contextmanager
def llama_server(path: Path, *, context: int, slots: int = 1, threads: int = 1) -> Iterator[str]:
    """The base URL of llama.cpp's server on a GGUF file, for as long as the context lasts."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.model_alias = {"base_model"}
    parameters.n_ctx = context * slots
    parameters.n_parallel = slots
    parameters.n_gpu_layers = 0
    parameters.verbosity = 1  # errors alone
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(parameters)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server


def prompts_as_tokens(folder: Path) -> Callable[[bytes], bytes]:
    """Turns the text in a completion's body into the tokens that the folder's tokenizer makes."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def rewritten(body: bytes) -> bytes:
        told = json.loads(body)
        return json.dumps(told | {"prompt": tokenizer.encode(told["prompt"]).ids}).encode()

    return rewritten


def _add_sizes(writer: Any, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {}
    writer.add_name("base_model")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta", 10_000.0)))
    writer.add_rope_dimension_count(size)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(0)


def _add_tokens(writer: Any, folder: Path, config: dict[str, Any]) -> None:
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["id"]: token for token in told["added_tokens"]}
    texts = {place: text for text, place in told["model"]["vocab"].items()}
    texts |= {place: token["content"] for place, token in added.items()}
    count = config["vocab_size"]
    tokens = [texts.get(place, f"<|unused {place}|>") for place in range(count)]
    kinds = [
        (_CONTROL if added[place]["special"] else _USER_DEFINED) if place in added else _NORMAL
        for place in range(count)
    ]
    merges = [
        merge if isinstance(merge, str) else " ".join(merge) for merge in told["model"]["merges"]
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_add_bos_token(True)
    for name in ("bos", "eos", "pad"):
        token = config.get(f"{name}_token_id")
        if token is not None:
            getattr(writer, f"add_{name}_token_id")(token)


def _interleaved(weights: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Rows of each head as llama.cpp rotates them: neighbours, where transformers has halves."""
    rows, columns = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if not stem.startswith("model.layers."):
        return f"{_NAMES[stem]}.weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{_NAMES[part]}.weight"
