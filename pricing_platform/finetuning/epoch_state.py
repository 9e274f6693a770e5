"""What the next epoch of a price network's training follows from, and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pricing_platform.finetuning.price_network import Weights, load_weights, save_weights
from pricing_platform.finetuning.training_state import counters_of, keep_state, newest_state

_OPTIMIZER, _BEST = "optimizer.safetensors", "best"


@dataclass(frozen=True)
class EpochState:
    """Everything that the next epoch follows from, after ``epochs_done`` epochs."""

    epochs_done: int
    adapter: Weights
    head: Weights
    best_adapter: Weights
    best_head: Weights
    optimizer: Weights
    metrics: dict[str, float]

    def keep(self, work_folder: Path, training: str, seed: int) -> None:
        """Puts it in the place of the one before; arguments as of :func:`keep_state`."""
        keep_state(
            work_folder,
            training,
            seed,
            self._write,
            counters={"epochs_done": self.epochs_done},
            metrics=self.metrics,
        )

    @classmethod
    def newest(cls, work_folder: Path, training: str) -> Self | None:
        """The last one of this training, if there is one."""
        from safetensors.torch import load_file

        kept = newest_state(work_folder, training)
        if kept is None:
            return None
        adapter, head = load_weights(kept.path)
        best_adapter, best_head = load_weights(kept.path / _BEST)
        return cls(
            **counters_of(kept),
            adapter=adapter,
            head=head,
            best_adapter=best_adapter,
            best_head=best_head,
            optimizer=load_file(kept.path / _OPTIMIZER),
            metrics=dict(kept.manifest.metrics),
        )

    def _write(self, folder: Path) -> None:
        from safetensors.torch import save_file

        save_weights(folder, self.adapter, self.head)
        (folder / _BEST).mkdir()
        save_weights(folder / _BEST, self.best_adapter, self.best_head)
        save_file(self.optimizer, folder / _OPTIMIZER)
