"""The state of a training between two steps, on disk, so that a killed training can go on.

Here belong writing it whole and reading it back. What is in it is the training's business.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.checkpoints import (
    Manifest,
    list_checkpoints,
    open_checkpoint,
    prune_checkpoints,
    write_checkpoint,
)
from pricing_platform.stores.warehouse import fingerprint

if TYPE_CHECKING:
    import torch

_NAME = "steps"
_WEIGHTS, _OPTIMIZER, _CURVE = "weights.safetensors", "optimizer.safetensors", "curve.json"


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Everything that the next step follows from.

    ``counters`` are whole numbers by name; ``seconds`` the time spent so far; ``curve`` the losses.
    """

    weights: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    counters: dict[str, int]
    seconds: float
    curve: list[dict[str, float]]


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
        save_file(state.weights, folder / _WEIGHTS)
        save_file(state.optimizer, folder / _OPTIMIZER)
        (folder / _CURVE).write_text(json.dumps(state.curve), encoding="utf-8")

    manifest = Manifest(
        fingerprint=fingerprint(training, state.counters),
        data_hash=training,
        configuration=dict(state.counters),
        metrics={"seconds": state.seconds},
        seed=seed,
    )
    write_checkpoint(work_folder, _NAME, write, manifest)
    prune_checkpoints(work_folder, _NAME, keep=1)


def newest_state(work_folder: Path, training: str) -> TrainingState | None:
    """The last state of this very training; one that is damaged or of another is thrown away."""
    from safetensors.torch import load_file

    try:
        found = list_checkpoints(work_folder, _NAME)
        checkpoint = open_checkpoint(found[0].path) if found else None
    except PlatformError:
        checkpoint = None
    if checkpoint is None or checkpoint.manifest.data_hash != training:
        shutil.rmtree(work_folder / _NAME, ignore_errors=True)
        return None
    manifest = checkpoint.manifest
    return TrainingState(
        weights=load_file(checkpoint.path / _WEIGHTS),
        optimizer=load_file(checkpoint.path / _OPTIMIZER),
        counters={name: int(str(value)) for name, value in manifest.configuration.items()},
        seconds=manifest.metrics["seconds"],
        curve=json.loads((checkpoint.path / _CURVE).read_text(encoding="utf-8")),
    )
