"""A GGUF file becomes a folder that computes the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.local import weights
from pricing_platform.language.pretrained import language_model_folder
from pricing_platform.language.pretrained.card import licence_of
from pricing_platform.language.pretrained.description import ModelDescription
from pricing_platform.language.pretrained.gguf_file import convert_gguf, read_header
from pricing_platform.language.pretrained.named_models import named_model
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.endpoint.tiny_llama import WINDOW, product_prompts
from pricing_platform_tests.unit.language.pretrained.conftest import named

TEXTS = [prompt.as_text() for prompt in product_prompts(3)]


def read(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def logits(folder: Path, ids: list[list[int]]) -> Any:
    import torch

    model, _ = read(folder)
    with torch.inference_mode():
        return [model(torch.tensor([row])).logits for row in ids]


def small_gguf(path: Path, architecture: str, pre_tokenizer: str = "gpt-2") -> Path:
    """A file with a header, a vocabulary of digits and blanks, and one tensor."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(16)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list([*"0123456789", "Ġ", "ĠĠ"])
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_tensor("token_embd.weight", np.zeros((12, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_folder_computes_and_tokenises_as_the_model_did(
    tiny_llama: Path, tiny_gguf: Path, settings: Settings
) -> None:
    import torch

    folder = language_model_folder(named(settings, tiny_gguf))
    _, tokenizer = read(folder)
    ids = tokenizer(TEXTS)["input_ids"]
    assert [row[0] for row in ids] == [tokenizer.bos_token_id] * 3
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == TEXTS[0]
    for found, expected in zip(logits(folder, ids), logits(tiny_llama, ids), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    written = {path.suffix for path in folder.iterdir()}
    assert written <= {".json", ".safetensors", ".jinja", ".md"}
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())


def test_it_is_described(tiny_gguf: Path, settings: Settings) -> None:
    model = named_model(named(settings, tiny_gguf))
    assert model.ready()
    described = ModelDescription.of(model)
    assert described.name == str(tiny_gguf)
    assert described.parameters == read_header(tiny_gguf).parameters
    assert (described.layers, described.hidden, described.context_window) == (2, 32, WINDOW)
    assert (described.precision, described.licence) == ("float32", "not stated")
    assert f"{described.parameters:,} parameters (llama)" in described.card()


@pytest.mark.parametrize(
    ("pre_tokenizer", "tokens"),
    [("smollm", ["ĠĠ", "1", "2"]), ("gpt-2", ["Ġ", "Ġ", "1", "2"])],
)
def test_digits_are_cut_as_the_vocabulary_was_trained(
    tmp_path: Path, pre_tokenizer: str, tokens: list[str]
) -> None:
    from transformers import AutoTokenizer

    from pricing_platform.language.pretrained import gguf_file

    path = small_gguf(tmp_path / "small.gguf", "llama", pre_tokenizer)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name)
    if read_header(path).pre_tokenizer in gguf_file._SINGLE_DIGITS:
        gguf_file._cut_digits(tokenizer)
    assert tokenizer.tokenize("  12") == tokens


def test_an_unknown_architecture_is_told(tmp_path: Path, settings: Settings) -> None:
    path = small_gguf(tmp_path / "odd.gguf", "no_such_kind")
    with pytest.raises(PlatformError, match=r"architecture is\s+'no_such_kind'"):
        language_model_folder(named(settings, path))
    assert not any(path.is_dir() for path in (settings.cache_folder / "models").iterdir())


@pytest.mark.parametrize("kept", [0, 3, 200])
def test_a_file_that_is_cut_short_is_told(
    tiny_gguf: Path, tmp_path: Path, settings: Settings, kept: int
) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(tiny_gguf.read_bytes()[:kept])
    with pytest.raises(PlatformError, match="can't be read as GGUF"):
        language_model_folder(named(settings, path))


def test_a_file_that_is_not_there_is_told(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(PlatformError, match=r"neither a folder or a \.gguf file that is there"):
        language_model_folder(named(settings, tmp_path / "gone.gguf"))


def test_too_little_memory_is_told_before_anything_is_read(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Little:
        available = 1000

    monkeypatch.setattr(weights.psutil, "virtual_memory", Little)
    with pytest.raises(PlatformError, match=r"language model tiny needs about .* GB of memory"):
        convert_gguf(tiny_gguf, tmp_path, name="tiny")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n# A model\n", "mit"),
        ("---\nlicense: other\nlicense_name: community\n---\n", "community"),
        ("---\ntags: [a]\n---\n", "not stated"),
        ("---\n- a\n---\n", "not stated"),
        ("---\nlicense: [\n---\n", "not stated"),
        ("# A model\n", "not stated"),
    ],
)
def test_the_licence_is_read_from_the_card(tmp_path: Path, card: str, licence: str) -> None:
    (tmp_path / "README.md").write_text(card)
    assert licence_of(tmp_path) == licence
