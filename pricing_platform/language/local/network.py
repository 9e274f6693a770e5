"""The forward pass: weights, their number format, and batches over a shared prefix.

Here belongs what is computed from token ids. Which ids belongs to ``prompt_tokens``; what the
logits say belongs to ``price_readout`` and ``generation``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pricing_platform.errors import PlatformError
from pricing_platform.language.local.quantization import Quantization, quantization_options
from pricing_platform.model_files import BF16_FLAGS, processor, quiet_transformers

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Batch:
    """Prompts of about one length after a prefix that they share, padded on the left.

    ``input_ids``, ``positions``: shape (prompts, width). ``mask``: 1 where a token is seen, shape
    (prompts, prefix + width). ``lengths``: tokens of each prompt, prefix included.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    lengths: torch.Tensor

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]], prefix: int, pad_id: int, device: str) -> Batch:
        """Of whole prompts, each of more tokens than the prefix."""
        import torch

        lengths = np.array([len(ids) for ids in prompts])
        width = int(lengths.max()) - prefix
        ids = np.full((len(prompts), width), pad_id, dtype=np.int64)
        for row, found in enumerate(prompts):
            ids[row, width - (len(found) - prefix) :] = found[prefix:]
        pads = width - (lengths - prefix)
        columns = np.arange(width)[None, :]
        positions = np.maximum(prefix + columns - pads[:, None], 0)
        mask = np.ones((len(prompts), prefix + width), dtype=np.int64)
        mask[:, prefix:] = columns >= pads[:, None]
        tensors = (torch.from_numpy(at).to(device) for at in (ids, positions, mask, lengths))
        return cls(*tensors)


@dataclass(frozen=True)
class Network:
    """A causal language model of ``transformers``, in evaluation mode."""

    module: Any
    device: str

    @property
    def vocabulary_size(self) -> int:
        """Logits at a position."""
        return int(self.module.get_output_embeddings().weight.shape[0])

    def prefix_cache(self, ids: Sequence[int]) -> Any:
        """Keys and values of the tokens that prompts begin with alike."""
        import torch
        from transformers import DynamicCache

        cache = DynamicCache()
        with torch.inference_mode():
            found = torch.tensor([list(ids)], device=self.device)
            self.module(input_ids=found, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cache

    def expanded(self, prefix: Any | None, rows: int) -> Any:
        """A cache for a batch, which begins with the prefix in every row."""
        from transformers import DynamicCache

        if prefix is None:
            return DynamicCache()
        return DynamicCache(
            [
                (at.keys.expand(rows, -1, -1, -1), at.values.expand(rows, -1, -1, -1))
                for at in prefix.layers
            ]
        )

    def last_logits(self, batch: Batch, cache: Any | None) -> torch.Tensor:
        """Logits after each prompt, float32 of shape (prompts, vocabulary); fills the cache."""
        logits: torch.Tensor = self.module(
            input_ids=batch.input_ids,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=1,
        ).logits
        return logits[:, -1].float()

    def branch_logits(
        self, ids: torch.Tensor, positions: torch.Tensor, seen: torch.Tensor, cache: Any
    ) -> torch.Tensor:
        """Logits after tokens that stand side by side, each after its own part of the cache.

        Args:
            ids: shape (prompts, branches).
            positions: of the same shape.
            seen: what each sees, bool of shape (prompts, branches, cached + branches).
            cache: of the prompts and of earlier branches; these are added to it.

        Returns:
            float32 of shape (prompts, branches, vocabulary).
        """
        logits: torch.Tensor = self.module(
            input_ids=ids,
            attention_mask=seen[:, None],
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).logits
        return logits.float()


@functools.cache
def default_precision(device: str) -> Precision:
    """bfloat16 on a GPU and on a processor that computes in it, float32 otherwise."""
    if device.startswith("cuda") or BF16_FLAGS & processor()[1]:
        return "bfloat16"
    return "float32"


def default_device() -> str:
    """``cuda`` where there is a GPU, ``cpu`` otherwise."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@functools.lru_cache(maxsize=2)
def loaded_network(
    folder: Path,
    _content_sha256: str,
    precision: Precision,
    quantization: Quantization,
    device: str,
) -> Network:
    """The network of a folder, read once in this process while its content stays the same.

    Of how its authors generate with it, nothing is kept but the tokens that end an answer.

    Raises:
        PlatformError: when it can't be quantized as asked, or is no causal language model.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    options = quantization_options(quantization, device)
    with quiet_transformers():
        try:
            module = AutoModelForCausalLM.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation="sdpa",
                dtype=getattr(torch, precision),
                **options,
            )
        except (OSError, ValueError, KeyError) as error:
            raise PlatformError(
                f"No causal language model can be loaded from {folder}: {error}",
                "Set PRICING_BASE_MODEL to a folder with such a model in the layout of"
                " transformers, with weights as safetensors.",
            ) from error
    # generate() fills what it is not told from here, and an author's penalties are not greedy.
    ends = module.generation_config.eos_token_id
    module.generation_config = GenerationConfig(eos_token_id=ends)
    if quantization == "none":
        module = module.to(device)
    return Network(module.eval(), device)
