"""What is in a GGUF file, and what is refused. That llama.cpp runs one, exports show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, dequantize
from safetensors.numpy import load_file, save_file

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.export.forms import GgufType
from pricing_platform.finetuning.export.gguf_model import (
    GgufDescription,
    require_writable,
    write_gguf,
)
from pricing_platform.finetuning.export.gguf_tokenizer import fields_of_folder, fields_of_gguf
from pricing_platform_tests.unit.finetuning.language.tiny_base import write_tiny_base

DESCRIBED = GgufDescription("tiny", "It prices.", "apache-2.0", ["price-estimation"])


def changed(folder: Path, target: Path, **configuration: Any) -> Path:
    """A copy whose ``config.json`` says so."""
    shutil.copytree(folder, target)
    path = target / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | configuration))
    return target


@pytest.mark.parametrize(
    ("kind", "held", "apart"),
    [
        ("f32", GGMLQuantizationType.F32, 0.0),
        ("f16", GGMLQuantizationType.F16, 1e-3),
        ("q8_0", GGMLQuantizationType.Q8_0, 2e-2),
    ],
)
def test_weights_are_held_as_asked(
    llama_base: Path, tmp_path: Path, kind: GgufType, held: Any, apart: float
) -> None:
    write_gguf(llama_base, tmp_path / "it.gguf", described=DESCRIBED, kind=kind)
    reader = GGUFReader(tmp_path / "it.gguf")
    written = {at.name: at for at in reader.tensors}
    weights = load_file(llama_base / "model.safetensors")
    assert len(written) == len(weights)
    down = written["blk.3.ffn_down.weight"]
    expected = weights["model.layers.3.mlp.down_proj.weight"]
    assert down.tensor_type == held
    found = dequantize(down.data, down.tensor_type).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=apart * np.abs(expected).max())
    assert written["output_norm.weight"].tensor_type == GGMLQuantizationType.F32
    told = {name: reader.get_field(f"general.{name}") for name in ("name", "license", "tags")}
    assert [at and at.contents() for at in told.values()] == [
        "tiny", "apache-2.0", ["price-estimation"],
    ]  # fmt: skip


def test_weights_in_several_files_and_tied_ones_are_written_once(tmp_path: Path) -> None:
    base = write_tiny_base(tmp_path / "base", family="merged_digits")
    weights = load_file(base / "model.safetensors")
    names = sorted(weights)
    (base / "model.safetensors").unlink()
    for part, chosen in enumerate((names[:20], names[20:])):
        save_file({name: weights[name] for name in chosen}, base / f"model-{part}.safetensors")
    write_gguf(base, tmp_path / "it.gguf", described=DESCRIBED, kind="f32", pre_tokenizer="gpt-2")
    written = [at.name for at in GGUFReader(tmp_path / "it.gguf").tensors]
    assert len(written) == len(set(written)) == len(names)
    assert "output.weight" not in written


def test_the_tokenizer_of_the_file_that_a_model_came_from_is_taken_as_it_is(
    llama_base: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    write_gguf(llama_base, first, described=DESCRIBED)
    without = changed(llama_base, tmp_path / "without")
    (without / "tokenizer.json").unlink()
    write_gguf(without, second, described=DESCRIBED, tokenizer_of=first)
    vocabulary = json.loads((llama_base / "config.json").read_text())["vocab_size"]
    fields = fields_of_gguf(second, vocabulary)
    assert fields == fields_of_gguf(first, vocabulary)
    assert {at.key: at.value for at in fields} == {
        at.key: at.value for at in fields_of_folder(llama_base, vocabulary)
    }
    with pytest.raises(PlatformError, match=f"has {vocabulary} tokens, and the model .* 7"):
        fields_of_gguf(first, 7)


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ({"model_type": "qwen2"}, "architecture 'qwen2'"),
        ({"attention_bias": True}, "biases"),
        ({"hidden_act": "gelu"}, "the activation gelu"),
        (
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}},
            "positions scaled by 'llama3'",
        ),
    ],
)
def test_what_is_no_plain_llama_is_refused(
    llama_base: Path, tmp_path: Path, configuration: dict[str, Any], told: str
) -> None:
    folder = changed(llama_base, tmp_path / "other", **configuration)
    for refused in (
        lambda: require_writable(folder),
        lambda: write_gguf(folder, tmp_path / "it.gguf", described=DESCRIBED),
    ):
        with pytest.raises(PlatformError, match=told) as error:
            refused()
        assert "convert_hf_to_gguf.py" in error.value.remedy
    assert not (tmp_path / "it.gguf").exists()
    require_writable(llama_base)


@pytest.mark.parametrize(
    ("family", "told"),
    [
        ("single_digits", "no byte-level BPE"),
        ("unigram", "is Unigram and no byte-level BPE"),
        ("three_digits", "rules that have no name here: Split, ByteLevel"),
    ],
)
def test_a_tokenizer_that_llama_cpp_does_not_know_is_refused(
    tmp_path: Path, family: str, told: str
) -> None:
    folder = write_tiny_base(tmp_path / "base", family=family)
    with pytest.raises(PlatformError, match=told):
        require_writable(folder)


def test_cuts_of_known_tokenizers_are_told_by_name(llama_base: Path, tmp_path: Path) -> None:
    digits = {"type": "Digits", "individual_digits": True}
    words = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    cuts = {"gpt-2": [words], "smollm": [digits, words]}
    for name, steps in cuts.items():
        folder = changed(llama_base, tmp_path / name)
        path = folder / "tokenizer.json"
        told = json.loads(path.read_text())
        told["model"]["ignore_merges"] = False
        told["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
        path.write_text(json.dumps(told))
        vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
        fields = {at.key: at.value for at in fields_of_folder(folder, vocabulary)}
        assert fields["tokenizer.ggml.pre"] == name
        assert len(fields["tokenizer.ggml.tokens"]) == vocabulary
        assert fields["tokenizer.ggml.add_bos_token"] is True


def test_a_weight_that_nobody_knows_is_refused(llama_base: Path, tmp_path: Path) -> None:
    folder = changed(llama_base, tmp_path / "other")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.self_attn.gate.weight"] = np.ones((2, 2), np.float32)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(PlatformError, match=r"model\.layers\.0\.self_attn\.gate\.weight"):
        write_gguf(folder, tmp_path / "it.gguf", described=DESCRIBED)


def test_a_weight_that_is_too_large_for_float16_is_told(llama_base: Path, tmp_path: Path) -> None:
    folder = changed(llama_base, tmp_path / "other")
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][0, 0] = 70_000
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(PlatformError, match=r"lm_head\.weight has numbers that float16"):
        write_gguf(folder, tmp_path / "half.gguf", described=DESCRIBED, kind="f16")
    write_gguf(folder, tmp_path / "single.gguf", described=DESCRIBED, kind="f32")
