"""A causal language model with adapters: put on, scaled, saved and merged.

Here belongs what peft does with a whole model. Running part of it belongs to ``upper_blocks``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.language.configuration import LINEAR_LAYERS, AdapterConfiguration
from pricing_platform.finetuning.price_network import has_bfloat16
from pricing_platform.language.local.folder import told_as_not_loadable
from pricing_platform.language.local.network import default_device
from pricing_platform.language.local.quantization import Quantization, quantization_options
from pricing_platform.language.local.rounding import is_quantized, round_linear_weights
from pricing_platform.model_files import quiet_transformers, return_freed_memory

if TYPE_CHECKING:
    import torch

ADAPTER_FOLDER = "adapter"


def load_base(folder: Path, *, attention: str = "sdpa", quantization: Quantization = "none") -> Any:
    """The causal language model of a folder on the default device, in evaluation mode.

    Args:
        folder: in the layout of ``transformers``, with weights as safetensors.
        attention: ``sdpa``, or ``eager``, which is faster backwards on a CPU.
        quantization: how the weights of its blocks are held: in float32, or in fewer bits as QLoRA
            has them (Dettmers et al. 2023).

    Raises:
        PlatformError: when no causal language model can be loaded from it, or not in so few bits.
    """
    import torch
    from transformers import AutoModelForCausalLM

    return_freed_memory()
    device = default_device()
    options = quantization_options(quantization, device)
    with quiet_transformers(), told_as_not_loadable(folder):
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=attention,
            dtype=torch.float32,
            **options,
        )
    if quantization == "none":
        model = model.to(device)
    for part in filter(is_quantized, model.modules()):
        # Packed for a processor's matrix units, they would have no backward pass.
        part.support_avx512bf16_for_cpu = False
    return model.eval()


def with_new_adapters(base: Any, configuration: AdapterConfiguration, *, seed: int) -> Any:
    """The model with fresh adapters on its highest blocks; only these can be trained."""
    import torch
    from peft import LoraConfig, get_peft_model

    blocks = block_list(base)
    first = configuration.first_adapted(len(blocks))
    adapters = LoraConfig(
        r=configuration.rank,
        lora_alpha=configuration.alpha,
        lora_dropout=configuration.dropout,
        target_modules=LINEAR_LAYERS,
        layers_to_transform=None,
        exclude_modules=_modules_outside(base, first),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]), _quiet_peft():
        torch.manual_seed(seed)
        return get_peft_model(base, adapters)


def with_adapters_of(base: Any, folder: Path, *, trainable: bool = False) -> Any:
    """The model with the adapters that a folder in peft's layout holds.

    Raises:
        PlatformError: when they are not adapters of this model.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    with _quiet_peft():
        try:
            return PeftModel.from_pretrained(base, str(folder), is_trainable=trainable)
        except (ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise PlatformError(
                f"The adapters in {folder} do not fit the language model: {error}",
                "They were trained on another model: delete the checkpoint and train again.",
            ) from error


def save_adapters(model: Any, folder: Path) -> None:
    """Writes the adapters as plain ``PeftModel.from_pretrained`` loads them."""
    with _quiet_peft():
        model.save_pretrained(str(folder), safe_serialization=True)
    # peft writes a card of its own with nothing in it.
    (folder / "README.md").unlink(missing_ok=True)


@contextmanager
def adapter_scale(model: Any, scale: float) -> Iterator[None]:
    """The model with its adapters' output multiplied by ``scale`` for as long as it is open.

    Method: WiSE-FT (Wortsman et al. 2022) for low-rank adapters: halfway between the base weights
    and the tuned ones much is kept of both.
    """
    layers = _adapted_layers(model)
    before = [dict(at.scaling) for at in layers]
    try:
        scale_adapters(model, scale)
        yield
    finally:
        for layer, scaling in zip(layers, before, strict=True):
            layer.scaling.update(scaling)


def scale_adapters(model: Any, scale: float) -> None:
    """Multiplies what the model's adapters add by ``scale``, for good."""
    for layer in _adapted_layers(model):
        for name in layer.scaling:
            layer.scaling[name] *= scale


def _adapted_layers(model: Any) -> list[Any]:
    return [at for at in model.modules() if isinstance(getattr(at, "scaling", None), dict)]


def merged(model: Any, scale: float = 1.0) -> Any:
    """The plain model with the adapters, so scaled, added to the weights that they adapt."""
    with adapter_scale(model, scale), _quiet_peft():
        return model.merge_and_unload()


def round_frozen_weights(module: torch.nn.Module) -> None:
    """Rounds what is not trained to bfloat16, where the device computes in it."""
    if has_bfloat16(next(module.parameters()).device):
        round_linear_weights(module)


def block_list(model: Any) -> Any:
    """The blocks of a transformer, lowest first.

    Raises:
        PlatformError: when the model is not built of a list of blocks.
    """
    import torch

    count = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise PlatformError(
        f"{type(model).__name__} is not built of a list of blocks that could be adapted.",
        "Set PRICING_BASE_MODEL to a decoder-only model.",
    )


def block_owner(model: Any) -> Any:
    """The module whose blocks they are: it runs them and the norm after them."""
    blocks = block_list(model)
    return next(at for at in model.modules() if any(child is blocks for child in at.children()))


def _modules_outside(base: Any, first: int) -> str | None:
    """A pattern for the linear modules of the blocks below ``first``."""
    blocks = block_list(base)
    names = {id(module): name for name, module in base.named_modules()}
    prefix = names[id(blocks)].replace(".", r"\.")
    numbers = "|".join(str(at) for at in range(first))
    return rf".*{prefix}\.({numbers})\..*" if first else None


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """Without warnings that are meant for peft's own authors."""
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
