"""A converted folder is whole or not there, and is made once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.pretrained import language_model_folder, made_folder
from pricing_platform.language.pretrained.named_models import named_model
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.pretrained.conftest import named

KILLED = """
import os, signal, sys
from pathlib import Path
from pricing_platform.language.pretrained.made_folder import MadeFolder

def write(folder):
    (folder / "model.safetensors").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

MadeFolder(Path(sys.argv[1]), "sha", lambda: 1, write).made()
"""


def test_it_is_made_once_and_named_by_its_source(embedded: Path, settings: Settings) -> None:
    model = named_model(settings)
    assert model.folder.parent == settings.cache_folder / "models"
    assert model.folder.name == model.source_sha256[:16]
    assert not model.is_ready
    assert model.ready()
    times = {path: path.stat().st_mtime_ns for path in model.folder.iterdir()}
    assert not model.ready()
    assert language_model_folder(settings) == model.folder
    assert {path: path.stat().st_mtime_ns for path in model.folder.iterdir()} == times


def test_once_made_it_needs_its_source_no_longer(
    embedded: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> Path:
        raise PlatformError("The package is gone.")

    folder = language_model_folder(settings)
    monkeypatch.setattr("pricing_platform.language.pretrained.named_models.embedded_gguf", gone)
    assert language_model_folder(settings) == folder
    shutil.rmtree(folder)
    with pytest.raises(PlatformError, match="gone"):
        language_model_folder(settings)


def test_models_that_nobody_used_for_a_day_go_when_all_take_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_folder, "MODELS_BYTES", 0)

    def made(name: str) -> bool:
        def write(folder: Path) -> None:
            (folder / "model.safetensors").write_text(name)

        return made_folder.MadeFolder(tmp_path / name, name, lambda: 1, write).made()

    assert made("old")
    assert made("used")
    os.utime(tmp_path / "old", (0, 0))
    os.utime(tmp_path / "used", (0, 0))
    assert not made("used")  # which is a use of it
    assert made("new")
    assert {at.name for at in tmp_path.iterdir() if at.is_dir()} == {"used", "new"}


def damaged(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def more(folder: Path) -> None:
    (folder / "tokenizer.model").write_text("another")


def less(folder: Path) -> None:
    (folder / "config.json").unlink()


def without_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


@pytest.mark.parametrize("change", [damaged, more, less, without_manifest])
def test_a_changed_folder_is_made_again(
    embedded: Path,
    settings: Settings,
    change: object,
) -> None:
    folder = language_model_folder(settings)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    change(folder)  # type: ignore[operator]
    assert not named_model(settings).is_ready
    assert language_model_folder(settings) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_another_version_of_the_code_makes_it_again(
    embedded: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    language_model_folder(settings)
    monkeypatch.setattr(made_folder, "CONVERSION_VERSION", "another")
    assert named_model(settings).ready()


def test_a_conversion_that_is_killed_leaves_nothing_that_looks_whole(
    embedded: Path, settings: Settings
) -> None:
    model = named_model(settings)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(model.folder)], env=environment, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    left = {path.name for path in model.folder.parent.iterdir()}
    assert left == {f".{model.folder.name}.lock", f".partial-{model.folder.name}"}
    assert not model.is_ready
    assert model.ready()
    left = {path.name for path in model.folder.parent.iterdir()}
    assert left == {f".{model.folder.name}.lock", model.folder.name}
    assert (model.folder / "model.safetensors").read_bytes() != b"half"


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise PlatformError("It can't be read.")

    place = tmp_path / "models" / "a"
    with pytest.raises(PlatformError, match="can't be read"):
        made_folder.MadeFolder(place, "sha", lambda: 1, write).made()
    assert [path.name for path in place.parent.iterdir()] == [".a.lock"]


def test_too_little_space_is_told_before_anything_is_written(tmp_path: Path) -> None:
    place = tmp_path / "models" / "a"
    large = made_folder.MadeFolder(place, "sha", lambda: 10**18, lambda folder: None)
    with pytest.raises(PlatformError, match=r"needs 1000000000\.0 GB"):
        large.made()
    assert not place.exists()


def test_a_home_that_can_not_be_written_is_told(embedded: Path, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(PlatformError, match="PRICING_HOME"):
        language_model_folder(Settings(home=tmp_path / "home"))


def test_a_folder_is_taken_as_it_is(tiny_llama: Path, settings: Settings) -> None:
    model = named_model(named(settings, tiny_llama))
    assert model.folder == tiny_llama
    assert model.is_ready
    assert not model.ready()
    assert not settings.cache_folder.exists()
