"""The state of a training on disk, so that a killed training can go on.

Here belong writing a state whole and finding the newest one. What is in it belongs to the training.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
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
from pricing_platform.stores.warehouse import fingerprint

_NAME = "training"


def keep_state(
    work_folder: Path,
    training: str,
    seed: int,
    write: Callable[[Path], None],
    *,
    counters: Mapping[str, int],
    metrics: Mapping[str, float],
) -> None:
    """Writes a state; the one before it is removed when this one is safely there.

    Args:
        work_folder: of this training alone.
        training: the fingerprint of what decides the training's result.
        seed: of the training.
        write: writes the state's files into an empty folder.
        counters: how far the training is; no two states of it are equally far.
        metrics: what was measured so far.
    """
    manifest = Manifest(
        fingerprint=fingerprint(training, dict(counters)),
        data_hash=training,
        configuration=dict(counters),
        metrics=dict(metrics),
        seed=seed,
    )
    write_checkpoint(work_folder, _NAME, write, manifest)
    prune_checkpoints(work_folder, _NAME, keep=1)


def newest_state(work_folder: Path, training: str) -> Checkpoint | None:
    """The last state of this very training; one that is damaged or of another is thrown away."""
    try:
        found = list_checkpoints(work_folder, _NAME)
        checkpoint = open_checkpoint(found[0].path) if found else None
    except PlatformError:
        checkpoint = None
    if checkpoint is None or checkpoint.manifest.data_hash != training:
        shutil.rmtree(work_folder / _NAME, ignore_errors=True)
        return None
    return checkpoint


def counters_of(state: Checkpoint) -> dict[str, int]:
    """How far the training was, as :func:`keep_state` was told."""
    return {name: int(str(value)) for name, value in state.manifest.configuration.items()}
