from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.finetuning.export.gguf_model import GgufDescription, write_gguf
from pricing_platform.language.pretrained import named_models
from pricing_platform.model_files import file_sha256
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.endpoint.tiny_llama import write_tiny_llama


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with byte-level BPE, as a folder."""
    folder = tmp_path_factory.mktemp("tiny_llama")
    write_tiny_llama(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_gguf(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as one GGUF file."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    described = GgufDescription("tiny")
    write_gguf(tiny_llama, path, described=described, kind="f32", pre_tokenizer="gpt-2")
    return path


@pytest.fixture
def embedded(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model's file in the place of the embedded model's."""
    monkeypatch.setattr(named_models, "embedded_gguf", lambda: tiny_gguf)
    monkeypatch.setattr(named_models, "EMBEDDED_GGUF_SHA256", file_sha256(tiny_gguf))
    return tiny_gguf


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def named(settings: Settings, name: Path | str) -> Settings:
    return settings.model_copy(update={"base_model": str(name)})
