"""Adapters that learn to write texts, without a price: from examples to a folder that peft loads.

Here belongs the order of the steps. What they do belongs to the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pricing_platform.finetuning.language.adapters import (
    ADAPTER_FOLDER,
    block_list,
    load_base,
    round_frozen_weights,
    save_adapters,
    with_new_adapters,
)
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.finetuning.language.frozen_states import compute_frozen_states
from pricing_platform.finetuning.language.token_examples import (
    TokenExample,
    examples_digest,
    planned_batches,
)
from pricing_platform.finetuning.language.training import train_adapters
from pricing_platform.finetuning.language.upper_blocks import require_divisible
from pricing_platform.language.local.network import default_device
from pricing_platform.progress import Progress, silent
from pricing_platform.resource_use import KeptMeter
from pricing_platform.stores.warehouse import fingerprint, make_folder


def train_language_adapter(
    base: Path,
    base_identity: str,
    examples: Sequence[TokenExample],
    epochs: float,
    configuration: AdapterConfiguration,
    training: AdapterTraining,
    *,
    folder: Path,
    work_folder: Path,
    seed: int,
    progress: Progress = silent,
) -> dict[str, float]:
    """Trains adapters to write the examples' tokens from ``start`` on, and saves them.

    Args:
        base: the folder of the language model.
        base_identity: of its content.
        examples: what is learnt from.
        epochs: how often each is seen.
        configuration: of the adapters.
        training: how they are trained.
        folder: the adapters are written into its ``adapter``, as plain ``PeftModel`` loads them.
        work_folder: where states of the training are kept, so that a killed one can go on; the
            caller removes it.
        seed: of the weights and the order.
        progress: is told how far it is.

    Returns:
        Metrics: seconds of reading and of training, steps, the last loss, examples and epochs.

    Raises:
        PlatformError: when the model can't be loaded, or not be adapted.
    """
    reading = work_folder / "reading"
    make_folder(reading)
    meter = KeptMeter.start(reading)
    device = default_device()
    # On a CPU fused attention is slower with a backward pass.
    model = load_base(base, attention="sdpa" if device == "cuda" else "eager")
    first = configuration.first_adapted(len(block_list(model)))
    require_divisible(model, first, model.config.get_text_config().vocab_size)
    round_frozen_weights(model.requires_grad_(False))
    states = compute_frozen_states(
        model,
        examples,
        first,
        identity=f"{base_identity} {device}",
        pooled_folder=reading / "pooled",
        states_folder=reading / "states",
        progress=meter.noting(progress),
    )
    metrics = {"reading_seconds": meter.used().seconds}
    adapted = with_new_adapters(model, configuration, seed=seed)
    metrics |= train_adapters(
        adapted,
        first,
        examples,
        states,
        planned_batches(examples, batch_items=training.batch_items, epochs=epochs, seed=seed),
        training,
        identity=fingerprint(
            base_identity, device, examples_digest(examples), epochs, configuration, training, seed
        ),
        seed=seed,
        work_folder=work_folder / "training",
        progress=progress,
    )
    save_adapters(adapted, folder / ADAPTER_FOLDER)
    return metrics | {"examples": float(len(examples)), "epochs": float(epochs)}
