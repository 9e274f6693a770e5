"""What the next step of the base model's training follows from, and its files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pricing_platform.finetuning.training_state import counters_of, keep_state, newest_state

if TYPE_CHECKING:
    import torch

_WEIGHTS, _OPTIMIZER, _CURVE = "weights.safetensors", "optimizer.safetensors", "curve.json"


@dataclass(frozen=True, eq=False)
class StepState:
    """Everything that the next step follows from.

    ``counters`` are whole numbers by name; ``seconds`` the time spent so far; ``curve`` the losses.
    """

    weights: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    counters: dict[str, int]
    seconds: float
    curve: list[dict[str, float]]

    def keep(self, work_folder: Path, training: str, seed: int) -> None:
        """Puts it in the place of the one before; arguments as of :func:`keep_state`."""
        keep_state(
            work_folder,
            training,
            seed,
            self._write,
            counters=self.counters,
            metrics={"seconds": self.seconds},
        )

    @classmethod
    def newest(cls, work_folder: Path, training: str) -> Self | None:
        """The last one of this training, if there is one."""
        from safetensors.torch import load_file

        kept = newest_state(work_folder, training)
        if kept is None:
            return None
        return cls(
            weights=load_file(kept.path / _WEIGHTS),
            optimizer=load_file(kept.path / _OPTIMIZER),
            counters=counters_of(kept),
            seconds=kept.manifest.metrics["seconds"],
            curve=json.loads((kept.path / _CURVE).read_text(encoding="utf-8")),
        )

    def _write(self, folder: Path) -> None:
        from safetensors.torch import save_file

        save_file(self.weights, folder / _WEIGHTS)
        save_file(self.optimizer, folder / _OPTIMIZER)
        (folder / _CURVE).write_text(json.dumps(self.curve), encoding="utf-8")
