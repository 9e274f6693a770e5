"""What was encoded once is not encoded again, in whatever order, process or run."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval import embedding_cache
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.encoder import Vectors
from pricing_platform_tests.unit.retrieval.hashing_encoder import HashingEncoder


def test_each_text_is_encoded_once(encoder: CachedEncoder, hashing: HashingEncoder) -> None:
    first = encoder.embed(["a b", "c", "a b"])
    assert first.encoded == 2
    assert hashing.encoded == ["a b", "c"]
    second = encoder.embed(["c", "d", "a b"])
    assert second.encoded == 1
    assert hashing.encoded == ["a b", "c", "d"]
    np.testing.assert_array_equal(second.vectors[[2, 0]], first.vectors[[0, 1]])


def test_vectors_are_the_encoders_up_to_half_precision(
    encoder: CachedEncoder, hashing: HashingEncoder
) -> None:
    texts = ["steel drill", "", "ünïcode text"]
    fresh, again = encoder.embed(texts).vectors, encoder.embed(texts).vectors
    assert fresh.dtype == np.float32
    np.testing.assert_array_equal(fresh, again)
    np.testing.assert_allclose(fresh, HashingEncoder().encode(texts), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(fresh, axis=1), 1, atol=2e-4)


def test_no_texts_give_no_vectors(encoder: CachedEncoder) -> None:
    assert encoder.embed([]).vectors.shape == (0, 384)


def test_another_model_shares_nothing(encoder: CachedEncoder) -> None:
    ours = encoder.embed(["lamp"]).vectors
    other = CachedEncoder(HashingEncoder("other:1"), encoder.path).embed(["lamp"])
    assert other.encoded == 1
    assert not np.array_equal(ours, other.vectors)


def test_a_run_that_stops_keeps_what_it_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopping(HashingEncoder):
        def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
            if len(self.encoded) >= 20:
                raise KeyboardInterrupt
            return super().encode(texts, progress)

    monkeypatch.setattr(embedding_cache, "_CHUNK", 10)
    texts = [f"text {i}" for i in range(35)]
    path = tmp_path / "embeddings.sqlite"
    with pytest.raises(KeyboardInterrupt):
        CachedEncoder(Stopping(), path).embed(texts)
    assert CachedEncoder(HashingEncoder(), path).embed(texts).encoded == 15


def test_progress_counts_what_is_encoded(
    encoder: CachedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "_CHUNK", 2)
    encoder.embed(["a"])
    reported: list[tuple[int, int]] = []
    encoder.embed(list("abcde"), lambda _what, done, total: reported.append((done, total)))
    assert reported == [(2, 4), (4, 4)]


def embed_in_process(path: Path, texts: list[str]) -> int:
    return CachedEncoder(HashingEncoder(), path).embed(texts).encoded


def test_processes_share_one_cache(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    texts = [f"text {i}" for i in range(300)]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        encoded = pool.starmap(embed_in_process, [(path, texts[i * 50 :]) for i in range(3)])
    assert all(0 <= count <= 300 for count in encoded)
    assert embed_in_process(path, texts) == 0


def test_a_damaged_entry_is_encoded_again(encoder: CachedEncoder) -> None:
    vectors = encoder.embed(["lamp", "chair"]).vectors
    with sqlite3.connect(encoder.path) as connection:
        connection.execute("UPDATE embeddings SET vector = substr(vector, 1, 10)")
    again = encoder.embed(["lamp", "chair"])
    assert again.encoded == 2
    np.testing.assert_array_equal(again.vectors, vectors)


def test_a_damaged_cache_is_told(encoder: CachedEncoder) -> None:
    encoder.embed(["lamp"])
    encoder.path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(PlatformError, match="is damaged") as raised:
        encoder.embed(["lamp"])
    assert "Delete the file" in raised.value.remedy
