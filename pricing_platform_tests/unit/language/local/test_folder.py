from __future__ import annotations

import json
from pathlib import Path

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.local import LocalLanguageModel, folder, model_folder
from pricing_platform_tests.unit.language.local import model_folders
from pricing_platform_tests.unit.language.local.asked import zero_shot


def test_a_local_folder_is_taken_as_it_is(folders: dict[str, Path]) -> None:
    assert model_folder(str(folders["unigram"])) == folders["unigram"].resolve()


@pytest.mark.parametrize("name", ["some/model", "/no/such/folder", "model@", ""])
def test_a_name_without_a_revision_is_refused(name: str) -> None:
    with pytest.raises(PlatformError, match=r"PRICING_BASE_MODEL .*pinned revision"):
        model_folder(name)


def test_a_hub_model_that_can_not_be_fetched_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def offline(name: str, **options: object) -> str:
        asked.update(options, name=name)
        raise OSError("secret://token@host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(PlatformError, match="some/model at revision abc could not") as caught:
        model_folder("some/model@abc")
    assert "secret" not in str(caught.value)
    assert (asked["name"], asked["revision"]) == ("some/model", "abc")
    patterns = asked["allow_patterns"]
    assert isinstance(patterns, list)
    assert "*.safetensors" in patterns
    assert not any(pattern.endswith((".bin", ".py", ".pt", "*")) for pattern in patterns)


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "tokenizer.json"])
def test_what_is_missing_is_named(folders: dict[str, Path], tmp_path: Path, missing: str) -> None:
    broken = model_folders.copy(folders["unigram"], tmp_path / "model")
    (broken / missing).unlink()
    with pytest.raises(PlatformError, match=f"has no .*{missing.split('.')[-1]}"):
        model_folder(str(broken))
    with pytest.raises(PlatformError):
        LocalLanguageModel.open("broken", broken)


def test_a_model_of_another_kind_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    broken = model_folders.copy(folders["unigram"], tmp_path / "model")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"model_type": "no_such_kind"}))
    with pytest.raises(PlatformError, match="No causal language model"):
        list(LocalLanguageModel.open("broken", broken).read_prices([zero_shot()]))


@pytest.mark.parametrize(
    ("config", "window"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 512, "sliding_window": 64}, 64),
        ({"max_position_embeddings": 512, "sliding_window": None}, 512),
        ({"max_position_embeddings": 9, "sliding_window": 4, "use_sliding_window": False}, 9),
        ({"text_config": {"max_position_embeddings": 7}}, 7),
    ],
)
def test_the_window_is_read_from_the_configuration(
    tmp_path: Path, config: dict[str, object], window: int
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert folder.context_window(tmp_path) == window


@pytest.mark.parametrize(
    ("config", "whole"),
    [
        ({}, False),
        ({"single_token_prices": False}, False),
        ({"single_token_prices": "no"}, False),
        ({"single_token_prices": True}, True),
    ],
)
def test_numbers_of_one_token_are_whole_where_the_configuration_says_so(
    tmp_path: Path, config: dict[str, object], whole: bool
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert folder.has_single_token_prices(tmp_path) is whole


def test_a_configuration_without_a_window_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PlatformError, match="how many tokens"):
        folder.context_window(tmp_path)
