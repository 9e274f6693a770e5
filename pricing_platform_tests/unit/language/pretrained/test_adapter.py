"""An adapter's folder serves as a model: merged once into the base that it names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.pretrained import language_model_folder
from pricing_platform.language.pretrained.adapter import Adapter
from pricing_platform.language.pretrained.named_models import named_model
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.pretrained.conftest import named

IDS = [[0, 7, 260, 300, 11, 42]]


@pytest.fixture(scope="module")
def saved(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with random weights on the tiny model, as PEFT saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    configuration = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(base, configuration).save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "adapter"))


def tell(adapter: Path, **told: Any) -> Path:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    return adapter


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(torch.tensor(IDS)).logits


def merged_logits(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return logits(AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True).eval())


def test_it_computes_as_the_base_with_the_adapter(
    adapter: Path, tiny_llama: Path, settings: Settings
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    plain = logits(base.eval())
    expected = logits(PeftModel.from_pretrained(base, adapter).eval())
    folder = language_model_folder(named(settings, adapter))
    found = merged_logits(folder)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-2)
    assert (folder / "tokenizer.json").read_bytes() == (tiny_llama / "tokenizer.json").read_bytes()


def test_it_is_merged_once_and_again_where_its_weights_change(
    adapter: Path, settings: Settings
) -> None:
    first = named_model(named(settings, adapter))
    assert first.ready()
    assert not named_model(named(settings, adapter)).ready()
    content = bytearray((adapter / "adapter_model.safetensors").read_bytes())
    content[-1] ^= 1
    (adapter / "adapter_model.safetensors").write_bytes(content)
    assert named_model(named(settings, adapter)).folder != first.folder


def test_its_base_may_be_the_embedded_model(
    adapter: Path, embedded: Path, settings: Settings
) -> None:
    import torch

    on_folder = merged_logits(language_model_folder(named(settings, adapter)))
    tell(adapter, base_model_name_or_path="SmolLM2-135M-Instruct")
    on_embedded = merged_logits(language_model_folder(named(settings, adapter)))
    torch.testing.assert_close(on_embedded, on_folder, rtol=1e-3, atol=1e-3)


def test_its_own_tokenizer_is_used(adapter: Path, tiny_llama: Path, settings: Settings) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_llama / name, adapter / name)
    (adapter / "chat_template.jinja").write_text("{{ messages }}")
    folder = language_model_folder(named(settings, adapter))
    assert (folder / "chat_template.jinja").read_text() == "{{ messages }}"


def test_a_revision_is_that_of_the_hub(adapter: Path, tiny_llama: Path) -> None:
    tell(adapter, base_model_name_or_path="some/model", revision="abc")
    found = Adapter.in_folder(adapter)
    assert found is not None
    assert found.base == "some/model@abc"
    tell(adapter, base_model_name_or_path=str(tiny_llama))
    found = Adapter.in_folder(adapter)
    assert found is not None
    assert found.base == str(tiny_llama)


@pytest.mark.parametrize("base", ["/no/such/folder", "some/model"])
def test_a_base_that_can_not_be_had_is_named(adapter: Path, settings: Settings, base: str) -> None:
    tell(adapter, base_model_name_or_path=base)
    with pytest.raises(PlatformError, match=f"base of the adapter in .*{base}"):
        language_model_folder(named(settings, adapter))


def test_another_base_is_refused(adapter: Path, settings: Settings, tmp_path: Path) -> None:
    from pricing_platform_tests.unit.language.local.model_folders import build

    other = build("whole_numbers", tmp_path / "other", hidden=64)
    tell(adapter, base_model_name_or_path=str(other))
    with pytest.raises(PlatformError, match="can't be merged into"):
        language_model_folder(named(settings, adapter))


@pytest.mark.parametrize(
    ("missing", "told"), [("adapter_model.safetensors", "safetensors"), (None, "names no base")]
)
def test_half_an_adapter_is_told(
    adapter: Path, settings: Settings, missing: str | None, told: str
) -> None:
    if missing:
        (adapter / missing).unlink()
    else:
        tell(adapter, base_model_name_or_path=None)
    with pytest.raises(PlatformError, match=told):
        language_model_folder(named(settings, adapter))


@pytest.mark.parametrize("content", [b'{"peft_type": "LORA"', b"[1]", b"\xff\xfe"])
def test_a_broken_configuration_is_one_message(
    adapter: Path, settings: Settings, content: bytes
) -> None:
    (adapter / "adapter_config.json").write_bytes(content)
    with pytest.raises(PlatformError, match=r"adapter_config\.json can't be read: it is no JSON"):
        language_model_folder(named(settings, adapter))


def test_weights_that_are_cut_off_are_told(adapter: Path, settings: Settings) -> None:
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(PlatformError, match="can't be merged into"):
        language_model_folder(named(settings, adapter))


def test_an_adapter_that_is_its_own_base_is_told(
    adapter: Path, settings: Settings, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "other"))
    for base in (adapter, other):
        tell(adapter, base_model_name_or_path=str(base))
        tell(other, base_model_name_or_path=str(adapter))
        with pytest.raises(PlatformError, match="is its own base"):
            language_model_folder(named(settings, adapter))
