"""A folder of ``transformers`` as one GGUF file, as llama.cpp runs it.

Here belong the sizes, the names and the number formats of the weights. The tokenizer's fields
belong to ``gguf_tokenizer``. Written is what the Llama architecture is; everything else is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.export.forms import GgufType
from pricing_platform.finetuning.export.gguf_tokenizer import (
    GgufField,
    fields_of_folder,
    fields_of_gguf,
)

Singles = npt.NDArray[np.float32]

_ARCHITECTURE = "llama"
_FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7}  # llama.cpp's LLAMA_FTYPE
_BLOCK = 32
"""Numbers that q8_0 scales together; a row is made of whole blocks."""

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
_REMEDY = (
    "Export it with `--as merged` and convert that folder with llama.cpp's own"
    " convert_hf_to_gguf.py, which knows many architectures."
)


@dataclass(frozen=True)
class GgufDescription:
    """What a GGUF file says of its model besides sizes and tokenizer."""

    name: str
    description: str = ""
    licence: str = ""
    tags: list[str] = field(default_factory=list)


def write_gguf(
    folder: Path,
    path: Path,
    *,
    described: GgufDescription,
    kind: GgufType = "f16",
    tokenizer_of: Path | None = None,
    pre_tokenizer: str | None = None,
) -> None:
    """Writes weights, sizes and tokenizer; one weight at a time is in memory.

    Args:
        folder: ``config.json``, tokenizer, and weights as safetensors.
        path: the file that is written; nothing may be there.
        described: what it says of itself.
        kind: how matrices are held; norms are float32 always. A matrix whose rows are not of whole
            blocks of 32 is held in float16 where q8_0 is asked for, as llama.cpp's converter does.
        tokenizer_of: the GGUF file that the model came from, where it came from one: its
            tokenizer's fields are taken as they are.
        pre_tokenizer: see :func:`fields_of_folder`.

    Raises:
        PlatformError: when it is no Llama or has something that is not written here, the tokenizer
            can't be written, or float16 does not hold a weight.
    """
    import gguf

    config = _configuration(folder)
    fields = _tokenizer_fields(folder, config, tokenizer_of, pre_tokenizer)
    writer = gguf.GGUFWriter(path, _ARCHITECTURE)
    _add_description(writer, described, kind)
    _add_sizes(writer, config)
    for at in fields:
        writer.add_key_value(at.key, at.value, at.kind, sub_type=at.element)
    formats = {}
    for name, shape in _shapes(folder, config):
        formats[name] = _format(shape, kind)
        nbytes = gguf.quant_shape_to_byte_shape(shape, formats[name])
        size = int(np.prod(nbytes))
        writer.add_tensor_info(_name(name), shape, np.dtype(np.float32), size, formats[name])
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, weights in _weights(folder, config):
            with np.errstate(over="ignore"):
                found = gguf.quants.quantize(_ordered(name, weights, config), formats[name])
            _require_finite(name, found)
            writer.write_tensor_data(found)
    finally:
        writer.close()


def require_writable(folder: Path, tokenizer_of: Path | None = None) -> None:
    """Refuses what :func:`write_gguf` would refuse, without reading a weight.

    Raises:
        PlatformError: naming what it is, with what to do.
    """
    _tokenizer_fields(folder, _configuration(folder), tokenizer_of)


def _tokenizer_fields(
    folder: Path,
    config: dict[str, Any],
    tokenizer_of: Path | None,
    pre_tokenizer: str | None = None,
) -> list[GgufField]:
    if tokenizer_of is None:
        return fields_of_folder(folder, config["vocab_size"], pre_tokenizer)
    return fields_of_gguf(tokenizer_of, config["vocab_size"])


def _configuration(folder: Path) -> dict[str, Any]:
    """The folder's ``config.json``, which is refused unless it is a Llama's."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = config.get("model_type")
    if architecture != _ARCHITECTURE:
        raise PlatformError(
            f"A model of the architecture {architecture!r} is not written as GGUF here: Llama"
            " alone is.",
            _REMEDY,
        )
    rope = (config.get("rope_parameters") or config.get("rope_scaling") or {}).get("rope_type")
    unusual = [
        told
        for told, is_there in (
            (f"positions scaled by {rope!r}", rope not in (None, "default")),
            ("biases", config.get("attention_bias") or config.get("mlp_bias")),
            (f"the activation {config.get('hidden_act')}", config.get("hidden_act") != "silu"),
        )
        if is_there
    ]
    if unusual:
        raise PlatformError(
            f"This Llama has {' and '.join(unusual)}, which is not written as GGUF here.", _REMEDY
        )
    return config


def _add_description(writer: Any, described: GgufDescription, kind: GgufType) -> None:
    import gguf

    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(described.name)
    if described.description:
        writer.add_description(described.description)
    if described.licence:
        writer.add_license(described.licence)
    if described.tags:
        writer.add_tags(described.tags)
    writer.add_file_type(_FILE_TYPES[kind])
    if kind == "q8_0":
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_sizes(writer: Any, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or {}
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta", 10_000.0)))
    size = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_rope_dimension_count(size)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_vocab_size(config["vocab_size"])


def _files(folder: Path, config: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """An open file and the name of a weight in it, for every weight that is written."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as opened:
            for name in sorted(opened.keys()):
                if name == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue
                yield opened, name


def _shapes(folder: Path, config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for opened, name in _files(folder, config):
        yield name, tuple(opened.get_slice(name).get_shape())


def _weights(folder: Path, config: dict[str, Any]) -> Iterator[tuple[str, Singles]]:
    for opened, name in _files(folder, config):
        yield name, opened.get_tensor(name).float().numpy()


def _format(shape: tuple[int, ...], kind: GgufType) -> Any:
    import gguf

    formats = gguf.GGMLQuantizationType
    if kind == "f32" or len(shape) == 1:
        return formats.F32
    if kind == "f16" or shape[-1] % _BLOCK:
        return formats.F16
    return formats.Q8_0


def _ordered(name: str, weights: Singles, config: dict[str, Any]) -> Singles:
    """The weights with the rows of queries and keys in llama.cpp's order."""
    if name.endswith("q_proj.weight"):
        return _interleaved(weights, config["num_attention_heads"])
    if name.endswith("k_proj.weight"):
        return _interleaved(weights, config["num_key_value_heads"])
    return weights


def _interleaved(weights: Singles, heads: int) -> Singles:
    """Rows of each head as llama.cpp rotates them: neighbours, where transformers has halves."""
    rows, columns = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _require_finite(name: str, found: npt.NDArray[Any]) -> None:
    if found.dtype == np.float16 and not np.isfinite(found).all():
        raise PlatformError(
            f"The weight {name} has numbers that float16 does not hold.", "Export it with f32."
        )


def _name(name: str) -> str:
    stem = name.removesuffix(".weight")
    parts = stem.split(".", 3)
    layered = stem.startswith("model.layers.") and len(parts) == 4
    known = _NAMES.get(parts[3] if layered else stem)
    if known is None or stem == name:
        raise PlatformError(f"The weight {name} is of no Llama that is known here.", _REMEDY)
    return f"blk.{parts[2]}.{known}.weight" if layered else f"{known}.weight"
