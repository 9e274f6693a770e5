"""The forward pass: weights, their number format, and batches over a shared prefix.

Here belongs what is computed from token ids. Which ids belongs to ``prompt_tokens``; what the
logits say belongs to ``price_readout`` and ``generation``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pricing_platform.language.local.folder import told_as_not_loadable
from pricing_platform.language.local.precision import (
    Precision,
    computes_bfloat16,
    fastest_precision,
)
from pricing_platform.language.local.quantization import Quantization, quantization_options
from pricing_platform.language.local.rounding import round_linear_weights
from pricing_platform.language.local.weights import require_memory, weight_sizes
from pricing_platform.model_files import quiet_transformers, return_freed_memory

if TYPE_CHECKING:
    import torch

_BYTES = {"float32": 4.0, "mixed": 3.0, "bfloat16": 2.0, "8bit": 1.1, "4bit": 0.7}
"""A parameter in memory."""


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
    """A causal language model of ``transformers``; whoever runs it, runs it through these methods.

    They compute in the network's precision, and keep gradients unless the caller turns them off.
    """

    module: Any
    device: str
    precision: Precision = "float32"

    @property
    def vocabulary_size(self) -> int:
        """Logits at a position."""
        return int(self.module.get_output_embeddings().weight.shape[0])

    def arithmetic(self) -> AbstractContextManager[Any]:
        """The context in which the module computes in the network's precision."""
        import torch

        if self.precision != "mixed":
            return nullcontext()
        # What autocast would keep are rounded weights, and these are rounded already.
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, cache_enabled=False)

    def logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits after every token, of shape (rows, width, vocabulary), in the module's format.

        Args:
            ids: shape (rows, width), padded on either side.
            mask: 1 where a token is seen, of the same shape.
        """
        found: torch.Tensor = self._run(
            input_ids=ids, attention_mask=mask, position_ids=_positions(mask)
        ).logits
        return found

    def hidden_states(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """States before the first layer and after each, every one of shape (rows, width, hidden).

        The last is normalised as the output layer reads it. The arguments are those of
        :meth:`logits`.
        """
        found = self._run(
            input_ids=ids,
            attention_mask=mask,
            position_ids=_positions(mask),
            output_hidden_states=True,
            logits_to_keep=1,
        )
        states: tuple[torch.Tensor, ...] = found.hidden_states
        return states

    def prefix_cache(self, ids: Sequence[int]) -> Any:
        """Keys and values of the tokens that prompts begin with alike."""
        import torch

        cache = self.expanded(None, 1)
        with torch.inference_mode():
            found = torch.tensor([list(ids)], device=self.device)
            self._run(input_ids=found, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cache

    def expanded(self, prefix: Any | None, rows: int) -> Any:
        """A cache for a batch, which begins with the prefix in every row."""
        layers = None if prefix is None else prefix.layers
        return _cache_class()(
            None
            if layers is None
            else [
                (at.keys.expand(rows, -1, -1, -1), at.values.expand(rows, -1, -1, -1))
                for at in layers
            ]
        )

    def last_logits(self, batch: Batch, cache: Any | None) -> torch.Tensor:
        """Logits after each prompt, float32 of shape (prompts, vocabulary); fills the cache."""
        logits: torch.Tensor = self._run(
            input_ids=batch.input_ids,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=1,
        ).logits
        return logits[:, -1].float()

    def first_branch_logits(self, batch: Batch, branches: torch.Tensor, cache: Any) -> torch.Tensor:
        """Logits after each prompt, and after each of several tokens that may follow, in one pass.

        Args:
            batch: the prompts.
            branches: ids of the tokens, shape (branches,).
            cache: prompts and branches are added to it.

        Returns:
            Of shape (prompts, 1 + branches, vocabulary), in the module's number format.
        """
        import torch

        rows, width = batch.input_ids.shape
        more = len(branches)
        prefix = batch.mask.shape[1] - width
        prompt = batch.mask.bool()[:, None, :]
        seen = torch.zeros(
            rows, width + more, prefix + width + more, dtype=torch.bool, device=self.device
        )
        earlier = torch.ones(width, prefix + width, dtype=torch.bool, device=self.device)
        seen[:, :width, : prefix + width] = prompt & earlier.tril(prefix)
        seen[:, width:, : prefix + width] = prompt
        own = torch.arange(width + more, device=self.device)
        seen[:, own, prefix + own] = True  # padding too: what sees nothing has no numbers
        logits: torch.Tensor = self._run(
            input_ids=torch.cat([batch.input_ids, branches.expand(rows, more)], dim=1),
            attention_mask=seen[:, None],
            position_ids=torch.cat(
                [batch.positions, batch.lengths[:, None].expand(rows, more)], dim=1
            ),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1 + more,
        ).logits
        return logits

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
            Of shape (prompts, branches, vocabulary), in the module's number format.
        """
        logits: torch.Tensor = self._run(
            input_ids=ids,
            attention_mask=seen[:, None],
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).logits
        return logits

    def _run(self, **inputs: Any) -> Any:
        with self.arithmetic():
            return self.module(**{"use_cache": False, **inputs})


@functools.cache
def _cache_class() -> Any:
    """A cache that holds keys and values in the format in which attention is computed.

    Under autocast others hold them in float32, and they are rounded anew at each pass.
    """
    import torch
    from transformers import DynamicCache

    class RoundedCache(DynamicCache):  # type: ignore[misc]
        def update(self, keys: Any, values: Any, *args: Any, **more: Any) -> Any:
            kind = keys.device.type
            if torch.is_autocast_enabled(kind):
                dtype = torch.get_autocast_dtype(kind)
                keys, values = keys.to(dtype), values.to(dtype)
            return super().update(keys, values, *args, **more)

    return RoundedCache


def default_device() -> str:
    """``cuda`` where there is a GPU, ``cpu`` otherwise."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def default_precision(device: str) -> Precision:
    """The precision where none is measured: on a GPU, and of weights in fewer bits."""
    return "bfloat16" if computes_bfloat16(device) else "float32"


@functools.cache
def network_precision(
    folder: Path,
    content_sha256: str,
    quantization: Quantization,
    device: str,
    cache_folder: Path | None,
) -> Precision:
    """The precision in which a folder's network computes, measured at its first use on a CPU.

    Args:
        folder: the model's.
        content_sha256: over its files.
        quantization: how the weights are held.
        device: as torch names it.
        cache_folder: where the measurement is remembered; None remembers it in this process.

    Raises:
        PlatformError: as :func:`loaded_network`.
    """
    if quantization != "none" or device != "cpu" or not computes_bfloat16(device):
        return default_precision(device)

    def load(precision: Precision) -> tuple[Any, Any]:
        network = _loaded(folder, precision, "none", device)
        return network.module, lambda ids: network.logits(ids, ids.new_ones(ids.shape))

    return fastest_precision(content_sha256, load, cache_folder)


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
        PlatformError: when it can't be quantized as asked, is no causal language model, or is too
            large for the memory.
    """
    return _loaded(folder, precision, quantization, device)


def _loaded(folder: Path, precision: Precision, quantization: Quantization, device: str) -> Network:
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    options = quantization_options(quantization, device)
    return_freed_memory()
    if device == "cpu":
        held = _BYTES[precision if quantization == "none" else quantization]
        require_memory(f"in {folder}", int(held * weight_sizes(folder).parameters))
    with quiet_transformers(), told_as_not_loadable(folder):
        module = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            dtype=torch.bfloat16 if precision == "bfloat16" else torch.float32,
            **options,
        )
    # generate() fills what it is not told from here, and an author's penalties are not greedy.
    ends = module.generation_config.eos_token_id
    module.generation_config = GenerationConfig(eos_token_id=ends)
    if quantization == "none":
        module = module.to(device)
    if precision == "mixed":
        round_linear_weights(module.requires_grad_(False))
        for weights in module.parameters():  # whoever trains it needs the gradients of the others
            weights.requires_grad_(weights.dtype != torch.bfloat16)
    return Network(module.eval(), device, precision)


def _positions(mask: torch.Tensor) -> torch.Tensor:
    """Of each token the place among those of its row that are seen."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)
