"""The network that reads a text and answers with a distribution over prices.

A pretrained encoder with low-rank adapters (LoRA, Hu et al. 2021) on its linear layers, the mean
of its token states, and a head with one hidden layer that gives a logit a bin. Here belong its
parts, its number format and its weights on disk. How it is trained does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.base_models import base_model_folder
from pricing_platform.finetuning.text_batches import TokenisedTexts
from pricing_platform.language.local.length_batches import length_sorted_batches
from pricing_platform.language.local.rounding import round_linear_weights
from pricing_platform.retrieval.encoder import EMBEDDED_MODEL

if TYPE_CHECKING:
    import torch

Weights = dict[str, "torch.Tensor"]
_ADAPTER, _HEAD = "adapter.safetensors", "head.safetensors"
_INFERENCE_BATCH_TOKENS = 8_192
_INFERENCE_BATCH_ITEMS = 256


class NetworkConfiguration(BaseModel):
    """What the network is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_model: str = EMBEDDED_MODEL
    max_tokens: int = Field(128, ge=8, description="Longer texts are cut off; time grows with it.")
    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1, description="The adapters' output is scaled by alpha / rank.")
    frozen_layers: int = Field(
        3, ge=0, description="So many of the lowest layers get no adapters: no backward pass there."
    )
    hidden: int = Field(512, ge=1, description="Width of the head's hidden layer.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of the head's hidden units.")
    bins: int = Field(96, ge=8)


class PriceNetwork:
    """An encoder and a head, on the GPU when there is one."""

    def __init__(self, encoder: Any, head: torch.nn.Sequential) -> None:
        """Of parts that :meth:`to_train` or :meth:`to_read` put together."""
        import torch

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.encoder, self.head = encoder.to(self.device), head.to(self.device)
        self._bins = cast("torch.nn.Linear", self.head[-1]).out_features
        if has_bfloat16(self.device):
            round_linear_weights(self.encoder)

    @classmethod
    def to_train(
        cls, configuration: NetworkConfiguration, prior: npt.NDArray[np.float32], *, seed: int
    ) -> Self:
        """A network that answers with ``prior``, shape (bins,), whatever it reads."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = _with_adapters(configuration)
            return cls(encoder, _head(encoder.config.hidden_size, configuration, prior))

    @classmethod
    def to_read(cls, configuration: NetworkConfiguration, adapter: Weights, head: Weights) -> Self:
        """A trained network with its adapters added to the weights that they adapt: faster.

        Raises:
            PlatformError: when the weights are not of a network with this configuration.
        """
        encoder = _with_adapters(configuration)
        unfitted = _head(
            encoder.config.hidden_size, configuration, np.ones(configuration.bins, np.float32)
        )
        _restore(encoder, unfitted, adapter, head)
        return cls(encoder.merge_and_unload().requires_grad_(False), unfitted)

    def logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One logit a bin, shape (texts, bins), float32."""
        logits: torch.Tensor = self.head(self.pooled(ids, mask))
        return logits

    def pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The mean of each text's token states, shape (texts, width), float32, unit length."""
        import torch

        with mixed_precision(self.device):
            states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return torch.nn.functional.normalize((states.float() * mask.unsqueeze(-1)).sum(1), dim=-1)

    def embed(self, texts: TokenisedTexts) -> npt.NDArray[np.float32]:
        """What :meth:`pooled` gives for each text, shape (texts, width), in their order."""
        import torch

        self.train(False)
        found = np.empty((len(texts), self.encoder.config.hidden_size), dtype=np.float32)
        for indices in _inference_batches(texts):
            with torch.inference_mode():
                found[indices] = self.pooled(*texts.padded(indices, self.device)).cpu().numpy()
        return found

    def probabilities(self, texts: TokenisedTexts) -> npt.NDArray[np.float32]:
        """The distribution over the bins for each text, shape (texts, bins), in their order."""
        found = np.empty((len(texts), self._bins), dtype=np.float32)
        for indices, probabilities in self.batched_probabilities(texts):
            found[indices] = probabilities
        return found

    def batched_probabilities(
        self, texts: TokenisedTexts
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """The same, batch by batch: which texts, and their distributions."""
        import torch

        self.train(False)
        for indices in _inference_batches(texts):
            with torch.inference_mode():
                logits = self.logits(*texts.padded(indices, self.device))
                yield indices, logits.softmax(dim=-1).cpu().numpy()

    def train(self, mode: bool = True) -> None:
        """Switches between training and inference."""
        # On a CPU fused attention is 1.3 times as fast, and 1.4 times as slow with a backward pass.
        is_fused = not mode or self.device.type == "cuda"
        _transformer(self.encoder).set_attn_implementation("sdpa" if is_fused else "eager")
        self.encoder.train(mode)
        self.head.train(mode)

    def adapter_weights(self) -> Weights:
        """The adapters alone, by name."""
        return _adapter_weights(self.encoder)

    def head_weights(self) -> Weights:
        """The head's weights, by name."""
        return _copies(self.head.state_dict())

    def restore(self, adapter: Weights, head: Weights) -> None:
        """Takes over weights that the two methods above gave."""
        _restore(self.encoder, self.head, adapter, head)


def _inference_batches(texts: TokenisedTexts) -> Iterator[npt.NDArray[np.int64]]:
    return length_sorted_batches(
        texts.lengths, batch_tokens=_INFERENCE_BATCH_TOKENS, batch_items=_INFERENCE_BATCH_ITEMS
    )


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 for the matrix products where the processor has instructions for them."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products run on the hardware; emulated ones are slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def save_weights(folder: Path, adapter: Weights, head: Weights) -> None:
    """Writes adapters and head as one safetensors file each."""
    from safetensors.torch import save_file

    save_file(adapter, folder / _ADAPTER)
    save_file(head, folder / _HEAD)


def load_weights(folder: Path) -> tuple[Weights, Weights]:
    """Reads what :func:`save_weights` wrote."""
    from safetensors.torch import load_file

    return load_file(folder / _ADAPTER), load_file(folder / _HEAD)


def _copies(weights: Mapping[str, torch.Tensor]) -> Weights:
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()
    }


def _adapter_weights(encoder: Any) -> Weights:
    from peft import get_peft_model_state_dict

    return _copies(get_peft_model_state_dict(encoder))


def _restore(encoder: Any, head: torch.nn.Module, adapter: Weights, head_weights: Weights) -> None:
    from peft import set_peft_model_state_dict

    known = (_adapter_weights(encoder), head.state_dict())
    if any(_shapes(a) != _shapes(b) for a, b in zip(known, (adapter, head_weights), strict=True)):
        raise PlatformError(
            "The weights are not those of a network with this configuration.",
            "Delete the checkpoint and train again.",
        )
    set_peft_model_state_dict(encoder, adapter)
    head.load_state_dict(head_weights)


def _shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def _with_adapters(configuration: NetworkConfiguration) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    with _quiet_loading():
        encoder = AutoModel.from_pretrained(
            base_model_folder(configuration.base_model),
            local_files_only=True,
            use_safetensors=True,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        # It was trained for another task, and the mean of the token states takes its place.
        encoder.pooler = None
        adapters = LoraConfig(
            r=configuration.rank,
            lora_alpha=configuration.alpha,
            target_modules="all-linear",
            exclude_modules=_modules_of_layers(configuration.frozen_layers),
        )
        return get_peft_model(encoder, adapters)


def _transformer(encoder: Any) -> Any:
    from peft import PeftModel

    return encoder.get_base_model() if isinstance(encoder, PeftModel) else encoder


def _modules_of_layers(count: int) -> str | None:
    """A pattern for the modules of the lowest layers, as transformers' encoders name them."""
    numbers = "|".join(str(layer) for layer in range(count))
    return rf".*\blayers?\.({numbers})\..*" if count else None


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Without a progress bar for a file of a second, and warnings meant for peft's authors."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _head(
    width: int, configuration: NetworkConfiguration, prior: npt.NDArray[np.float32]
) -> torch.nn.Sequential:
    import torch

    last = torch.nn.Linear(configuration.hidden, configuration.bins)
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.from_numpy(np.log(prior + 1e-6)))
    return torch.nn.Sequential(
        torch.nn.LayerNorm(width, eps=1e-8),
        torch.nn.Linear(width, configuration.hidden),
        torch.nn.GELU(),
        torch.nn.Dropout(configuration.dropout),
        last,
    )
