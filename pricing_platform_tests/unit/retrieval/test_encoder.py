"""The embedded encoder's vectors, its weights' pin, and the other ways to name a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.retrieval import encoder as encoder_module
from pricing_platform.retrieval.encoder import EMBEDDED_WEIGHTS_SHA256, Encoder
from pricing_platform.settings import Settings

TEXTS = [
    "Cordless drill, 18 V, with two batteries",
    "Battery powered screwdriver 18V cordless drill set",
    "Women's cotton t-shirt, navy, size M",
    "",
    "word " * 400,
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.from_settings(Settings(home=tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def vectors(encoder: Encoder) -> np.ndarray:
    return encoder.encode(TEXTS)


@pytest.fixture
def copied(encoder: Encoder, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "my-encoder"
    shutil.copytree(encoder.folder, folder)
    yield folder
    shutil.rmtree(folder)


def test_vectors_are_of_unit_length(encoder: Encoder, vectors: np.ndarray) -> None:
    assert vectors.shape == (len(TEXTS), encoder.dimensions) == (5, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_like_texts_are_near_and_unlike_ones_are_not(vectors: np.ndarray) -> None:
    drill, screwdriver, shirt = vectors[:3]
    assert drill @ screwdriver > 0.7
    assert drill @ shirt < 0.2


def test_vectors_are_those_of_the_reference_implementation(
    encoder: Encoder, vectors: np.ndarray
) -> None:
    library = pytest.importorskip("sentence_transformers")
    reference = library.SentenceTransformer(str(encoder.folder), device="cpu")
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    assert (vectors * expected).sum(axis=1).min() >= 0.9999


def test_a_vector_does_not_depend_on_its_company(encoder: Encoder, vectors: np.ndarray) -> None:
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert (alone * vectors).sum(axis=1).min() >= 0.9999
    backwards = encoder.encode(TEXTS[::-1])[::-1]
    assert (backwards * vectors).sum(axis=1).min() >= 0.9999


def test_only_the_first_256_tokens_are_read(encoder: Encoder) -> None:
    text = "word " * 254
    same, other = encoder.encode([text + "zebra", text.replace("word", "zebra", 1)])
    whole = encoder.encode([text])[0]
    assert same @ whole > 0.9999
    assert other @ whole < 0.9999


def test_tokens_are_counted_to_the_end(encoder: Encoder) -> None:
    assert encoder.count_tokens(["hello world", "", "word " * 400]) == [4, 2, 402]


def test_progress_ends_at_the_number_of_texts(encoder: Encoder) -> None:
    reported: list[tuple[int, int]] = []
    encoder.encode(TEXTS, lambda _what, done, total: reported.append((done, total)))
    assert reported[-1] == (5, 5)


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 384)
    assert encoder.count_tokens([]) == []


def test_the_identity_names_the_weights(encoder: Encoder) -> None:
    assert encoder.identity == f"all-MiniLM-L6-v2:{EMBEDDED_WEIGHTS_SHA256}"


def test_tampered_weights_are_refused(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = copied / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(encoder_module, "_embedded_folder", lambda: copied)
    with pytest.raises(PlatformError, match="are not those of all-MiniLM-L6-v2"):
        Encoder.from_settings(Settings(home=tmp_path))


def test_a_local_folder_is_named_by_its_weights(
    copied: Path, tmp_path: Path, vectors: np.ndarray
) -> None:
    found = Encoder.from_settings(Settings(home=tmp_path, encoder=str(copied)))
    assert found.identity == f"my-encoder:{EMBEDDED_WEIGHTS_SHA256}"
    assert found.encode(TEXTS[:1])[0] @ vectors[0] >= 0.9999


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_told(copied: Path, tmp_path: Path, file: str) -> None:
    (copied / file).unlink()
    with pytest.raises(PlatformError, match=f"has no {file}"):
        Encoder.from_settings(Settings(home=tmp_path, encoder=str(copied)))


@pytest.mark.parametrize("name", ["sentence-transformers/all-MiniLM-L6-v2", "nowhere", "a/b@"])
def test_a_hub_id_needs_a_revision(tmp_path: Path, name: str) -> None:
    with pytest.raises(PlatformError, match="pinned revision"):
        Encoder.from_settings(Settings(home=tmp_path, encoder=name))


def test_a_model_that_cannot_be_fetched_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PlatformError, match="could not be fetched"):
        Encoder.from_settings(Settings(home=tmp_path, encoder="nobody/nothing@0123456789abcdef"))


def test_precision_is_measured_once_on_each_machine(
    encoder: Encoder, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = Encoder(encoder.folder, name=encoder.name, cache_folder=encoder._cache_folder)
    monkeypatch.setattr(encoder_module, "_measure_bfloat16", lambda *_: pytest.fail("measured"))
    assert again.encode(TEXTS[:1])[0] @ vectors[0] >= 0.9999


def test_bfloat16_is_used_only_where_it_pays_and_is_exact_enough(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        encoder_module, "processor", lambda: ("some CPU", frozenset({"avx512_bf16"}))
    )
    model = encoder._model
    for outcome in (True, False):
        folder = tmp_path / str(outcome)
        other = Encoder(encoder.folder, name="other", cache_folder=folder)
        monkeypatch.setattr(
            encoder_module, "_measure_bfloat16", lambda *_, pays=outcome: {"pays": pays}
        )
        assert other._bfloat16_pays(model) is outcome
        assert [json.loads(p.read_text()) for p in folder.glob("*.json")] == [{"pays": outcome}]
    monkeypatch.setattr(encoder_module, "processor", lambda: ("older CPU", frozenset({"avx2"})))
    assert not Encoder(encoder.folder, name="other")._bfloat16_pays(model)


def test_the_measurement_compares_both_precisions(encoder: Encoder) -> None:
    measured = encoder_module._measure_bfloat16(encoder._model, encoder.tokenizer)
    assert 0.99 < measured["smallest_cosine"] <= 1.0001
    assert measured["pays"] == (measured["speedup"] > 1.05 and measured["smallest_cosine"] >= 0.999)
