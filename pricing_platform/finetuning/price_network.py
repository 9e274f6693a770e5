"""The network that reads a text and answers with a distribution over prices.

A pretrained encoder with low-rank adapters (LoRA, Hu et al. 2021) on its linear layers, the mean
of its token states, and a head that gives a logit a bin. Here belong its parts, its number format
and its weights on disk. How it is trained does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.base_models import EMBEDDED_ENCODER, base_model_folder
from pricing_platform.finetuning.text_batches import TokenisedTexts, length_sorted_batches

if TYPE_CHECKING:
    import torch

Weights = dict[str, "torch.Tensor"]
_ADAPTER, _HEAD = "adapter.safetensors", "head.safetensors"
_INFERENCE_BATCH_TOKENS = 8_192
_INFERENCE_BATCH_ITEMS = 256


class NetworkConfiguration(BaseModel):
    """What the network is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_model: str = EMBEDDED_ENCODER
    max_tokens: int = Field(128, ge=8, description="Longer texts are cut off; time grows with it.")
    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1, description="The adapters' output is scaled by alpha / rank.")
    hidden: int = Field(256, ge=1, description="Width of the head's hidden layer.")
    bins: int = Field(96, ge=8)


class PriceNetwork:
    """An encoder with adapters and a head, on the GPU when there is one."""

    def __init__(
        self, configuration: NetworkConfiguration, prior: npt.NDArray[np.float32], *, seed: int
    ) -> None:
        """A network that answers with ``prior``, shape (bins,), whatever it reads."""
        import torch

        self.bins = configuration.bins
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = _with_adapters(configuration).to(self.device)
            self.head = _head(self.encoder.config.hidden_size, configuration, prior).to(self.device)

    def logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One logit a bin, shape (texts, bins), float32."""
        with mixed_precision(self.device):
            states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).float()
        pooled = (states.float() * weight).sum(1) / weight.sum(1)
        logits: torch.Tensor = self.head(pooled)
        return logits

    def probabilities(self, texts: TokenisedTexts) -> npt.NDArray[np.float32]:
        """The distribution over the bins for each text, shape (texts, bins), in their order."""
        found = np.empty((len(texts), self.bins), dtype=np.float32)
        for indices, probabilities in self.batched_probabilities(texts):
            found[indices] = probabilities
        return found

    def batched_probabilities(
        self, texts: TokenisedTexts
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """The same, batch by batch: which texts, and their distributions."""
        import torch

        self.train(False)
        for indices in length_sorted_batches(
            texts.lengths, batch_tokens=_INFERENCE_BATCH_TOKENS, batch_items=_INFERENCE_BATCH_ITEMS
        ):
            with torch.inference_mode():
                logits = self.logits(*texts.padded(indices, self.device))
                yield indices, logits.softmax(dim=-1).cpu().numpy()

    def train(self, mode: bool = True) -> None:
        """Switches between training and inference."""
        self.encoder.train(mode)
        self.head.train(mode)

    def merge(self) -> None:
        """Adds the adapters to the weights that they adapt: faster, and no more to be trained."""
        self.encoder = self.encoder.merge_and_unload()

    def adapter_weights(self) -> Weights:
        """The adapters alone, by name."""
        from peft import get_peft_model_state_dict

        state: Mapping[str, torch.Tensor] = get_peft_model_state_dict(self.encoder)
        return {name: _kept(tensor) for name, tensor in state.items()}

    def head_weights(self) -> Weights:
        """The head's weights, by name."""
        return {name: _kept(tensor) for name, tensor in self.head.state_dict().items()}

    def restore(self, adapter: Weights, head: Weights) -> None:
        """Takes over weights that the two methods above gave.

        Raises:
            PlatformError: when they are not of a network with this configuration.
        """
        from peft import set_peft_model_state_dict

        if (
            adapter.keys() != self.adapter_weights().keys()
            or head.keys() != self.head_weights().keys()
        ):
            raise PlatformError(
                "The weights are not those of a network with this configuration.",
                "Delete the checkpoint and train again.",
            )
        set_peft_model_state_dict(self.encoder, adapter)
        self.head.load_state_dict(head)


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


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _with_adapters(configuration: NetworkConfiguration) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    encoder = AutoModel.from_pretrained(
        base_model_folder(configuration.base_model),
        local_files_only=True,
        use_safetensors=True,
        # Measured with backward pass on a CPU: 1.4 times as fast as the fused attention.
        attn_implementation="eager",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    adapters = LoraConfig(
        r=configuration.rank, lora_alpha=configuration.alpha, target_modules="all-linear"
    )
    return get_peft_model(encoder, adapters)


def _head(
    width: int, configuration: NetworkConfiguration, prior: npt.NDArray[np.float32]
) -> torch.nn.Sequential:
    import torch

    last = torch.nn.Linear(configuration.hidden, configuration.bins)
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.from_numpy(np.log(prior + 1e-6)))
    return torch.nn.Sequential(
        torch.nn.LayerNorm(width),
        torch.nn.Linear(width, configuration.hidden),
        torch.nn.GELU(),
        last,
    )
