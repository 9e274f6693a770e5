from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pricing_platform.errors import ModelNotAskedError, PlatformError
from pricing_platform.finetuning.language.adapters import load_base
from pricing_platform.language.local import LocalLanguageModel, folder, weights
from pricing_platform.language.local.folder import check_folder, found_folder
from pricing_platform.language.local.network import loaded_network
from pricing_platform.language.local.weights import weight_sizes
from pricing_platform.language.pretrained.description import ModelDescription
from pricing_platform.language.pretrained.named_models import NamedModel
from pricing_platform_tests.unit.language.local import model_folders
from pricing_platform_tests.unit.language.local.asked import opened, zero_shot


def test_a_local_folder_is_taken_as_it_is(folders: dict[str, Path]) -> None:
    assert found_folder(str(folders["unigram"])) == folders["unigram"].resolve()


@pytest.mark.parametrize("name", ["some/model", "/no/such/folder", "model@", ""])
def test_a_name_without_a_revision_is_refused(name: str) -> None:
    with pytest.raises(PlatformError, match=r"PRICING_BASE_MODEL .*pinned revision"):
        found_folder(name)


def test_a_hub_model_that_can_not_be_fetched_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def offline(name: str, **options: object) -> str:
        asked.update(options, name=name)
        raise OSError("secret://token@host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(PlatformError, match="some/model at revision abc could not") as caught:
        found_folder("some/model@abc")
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
        check_folder(broken)
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


def test_a_configuration_without_a_window_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PlatformError, match="how many tokens"):
        folder.context_window(tmp_path)


def test_too_little_memory_is_told_as_a_model_that_is_not_asked(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Little:
        available = 1000

    monkeypatch.setattr(weights.psutil, "virtual_memory", Little)
    loaded_network.cache_clear()
    with pytest.raises(ModelNotAskedError, match=r"GB of memory, and 0\.0 GB are free"):
        list(opened(folders["single_digits"]).read_prices([zero_shot()]))


def test_the_sizes_of_weights_are_read_from_their_headers(folders: dict[str, Path]) -> None:
    from transformers import AutoModelForCausalLM

    folder = folders["single_digits"]
    sizes = weight_sizes(folder)
    expected = AutoModelForCausalLM.from_pretrained(folder).num_parameters()
    assert (sizes.parameters, sizes.precision) == (expected, "float32")
    assert sizes.float32_bytes < sizes.size == (folder / "model.safetensors").stat().st_size


def test_weights_that_are_cut_short_are_told(folders: dict[str, Path], tmp_path: Path) -> None:
    broken = model_folders.copy(folders["unigram"], tmp_path / "model")
    weights_file = broken / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-10])
    with pytest.raises(PlatformError, match=r"model\.safetensors can't be read"):
        weight_sizes(broken)


def test_a_tokenizer_without_digits_is_told_as_a_model_that_is_not_asked(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    wordless = model_folders.copy(folders["word_piece"], tmp_path / "model")
    path = wordless / "tokenizer.json"
    told = json.loads(path.read_text())
    for number, token in enumerate([t for t in told["model"]["vocab"] if t.strip("#").isdigit()]):
        told["model"]["vocab"][f"nothing{number}"] = told["model"]["vocab"].pop(token)
    path.write_text(json.dumps(told))
    with pytest.raises(ModelNotAskedError, match="can't write every number from 0 to 300"):
        list(opened(wordless).read_prices([zero_shot()]))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (b'{"model_type": "llama"', r"config\.json can't be read: it is no JSON"),
        (b"\xff\xfe\x00", r"config\.json can't be read: it is no JSON"),
        (b"[" * 100_000, r"config\.json can't be read: it is no JSON"),
        (b"[]", r"config\.json can't be read: it is no JSON object"),
        (b"", r"config\.json can't be read: it is no JSON"),
    ],
)
def test_a_broken_configuration_is_one_message(
    folders: dict[str, Path], tmp_path: Path, config: bytes, told: str
) -> None:
    broken = model_folders.copy(folders["unigram"], tmp_path / "model")
    (broken / "config.json").write_bytes(config)
    asked: list[Callable[[], object]] = [
        lambda: check_folder(broken),
        lambda: folder.context_window(broken),
        lambda: ModelDescription.of(NamedModel("broken", broken, "0")),
        lambda: LocalLanguageModel.open("broken", broken),
    ]
    for ask in asked:
        with pytest.raises(PlatformError, match=told) as error:
            ask()
        assert "PRICING_BASE_MODEL" in error.value.remedy


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": "many"},
        {"num_attention_heads": 0},
        {"num_hidden_layers": None},
        {"vocab_size": 3},
        {"rope_parameters": 7},
        {"text_config": []},
    ],
    ids=str,
)
def test_wrong_values_of_a_configuration_are_one_message_or_read(
    folders: dict[str, Path], tmp_path: Path, wrong: dict[str, object]
) -> None:
    broken = model_folders.copy(folders["unigram"], tmp_path / "model")
    told = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(told | wrong))
    with suppress(PlatformError):
        check_folder(broken)
        ModelDescription.of(NamedModel("broken", broken, "0"))
        load_base(broken)
    if "hidden_size" in wrong:
        with pytest.raises(PlatformError, match="No causal language model can be loaded"):
            load_base(broken)
