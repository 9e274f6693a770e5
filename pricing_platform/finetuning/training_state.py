"""The state of a training between two epochs, on disk, so that a killed training can go on.

Here belong writing it whole and reading it back. What is in it is the training loop's business.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.checkpoints import (
    Checkpoint,
    Manifest,
    list_checkpoints,
    open_checkpoint,
    prune_checkpoints,
    write_checkpoint,
)
from pricing_platform.finetuning.price_network import Weights, load_weights, save_weights
from pricing_platform.stores.warehouse import fingerprint

_NAME = "epochs"
_OPTIMIZER, _BEST = "optimizer.safetensors", "best"


@dataclass(frozen=True)
class TrainingState:
    """Everything that the next epoch follows from, after ``epochs_done`` epochs."""

    epochs_done: int
    adapter: Weights
    head: Weights
    best_adapter: Weights
    best_head: Weights
    optimizer: Weights
    metrics: dict[str, float]


def keep_state(work_folder: Path, training: str, seed: int, state: TrainingState) -> None:
    """Writes a state; the one before it is removed when this one is safely there.

    Args:
        work_folder: of this training alone.
        training: the fingerprint of what decides the training's result.
        seed: of the training.
        state: what to write.
    """
    from safetensors.torch import save_file

    def write(folder: Path) -> None:
        save_weights(folder, state.adapter, state.head)
        (folder / _BEST).mkdir()
        save_weights(folder / _BEST, state.best_adapter, state.best_head)
        save_file(state.optimizer, folder / _OPTIMIZER)

    manifest = Manifest(
        fingerprint=fingerprint(training, state.epochs_done),
        data_hash=training,
        configuration={"epochs_done": state.epochs_done},
        metrics=state.metrics,
        seed=seed,
    )
    write_checkpoint(work_folder, _NAME, write, manifest)
    prune_checkpoints(work_folder, _NAME, keep=1)


def newest_state(work_folder: Path, training: str) -> TrainingState | None:
    """The last state of this very training; one that is damaged or of another is thrown away."""
    from safetensors.torch import load_file

    checkpoint = _newest_checkpoint(work_folder)
    if checkpoint is None or checkpoint.manifest.data_hash != training:
        shutil.rmtree(work_folder / _NAME, ignore_errors=True)
        return None
    adapter, head = load_weights(checkpoint.path)
    best_adapter, best_head = load_weights(checkpoint.path / _BEST)
    return TrainingState(
        epochs_done=int(str(checkpoint.manifest.configuration["epochs_done"])),
        adapter=adapter,
        head=head,
        best_adapter=best_adapter,
        best_head=best_head,
        optimizer=load_file(checkpoint.path / _OPTIMIZER),
        metrics=dict(checkpoint.manifest.metrics),
    )


def _newest_checkpoint(work_folder: Path) -> Checkpoint | None:
    try:
        found = list_checkpoints(work_folder, _NAME)
        return open_checkpoint(found[0].path) if found else None
    except PlatformError:
        return None
