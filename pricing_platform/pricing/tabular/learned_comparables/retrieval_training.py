"""Training a retrieval network: epochs, schedule, the choice of an epoch, going on after a kill.

Here belongs what happens between a fresh network and the weights of its best epoch. What it is made
of belongs to ``retrieval_network``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pricing_platform.pricing.estimates import Floats, from_log
from pricing_platform.pricing.tabular.learned_comparables.retrieval_network import (
    Integers,
    RetrievalNetwork,
    Singles,
)
from pricing_platform.progress import Progress, silent
from pricing_platform.stores.warehouse import fingerprint

if TYPE_CHECKING:
    import torch

Weights = dict[str, "torch.Tensor"]
_STATE = "training.safetensors"


@dataclass(frozen=True)
class Schedule:
    """How a retrieval network is trained: AdamW, one cycle of the learning rate.

    ``steps`` batches are aimed at, within the bounds on the epochs. An item weighs what its text
    lets expect as its price, to the power of ``weight_exponent``, since the error that counts is
    one of price. (Its price itself must not be the weight: what is dear for its kind would weigh
    more than what is cheap, and every median would come out too high.)
    """

    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    warm_up: float = 0.2
    smallest_batch: int = 32
    largest_batch: int = 256
    steps: int = 1500
    fewest_epochs: int = 10
    most_epochs: int = 30
    weight_exponent: float = 0.5

    def batch(self, items: int) -> int:
        """Items a step: so many that an epoch has at least some 32 steps, within the bounds."""
        return min(max(items // 32, self.smallest_batch), self.largest_batch)

    def epochs(self, items: int) -> int:
        """How often so many items are gone through."""
        wanted = round(self.steps * self.batch(items) / max(items, 1))
        return min(max(wanted, self.fewest_epochs), self.most_epochs)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step: straight up, then down along a cosine (Smith 2018)."""
        rising = self.warm_up * steps
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        fallen = (step - rising) / max(steps - rising, 1)
        return float(self.learning_rate * (1 + np.cos(np.pi * fallen)) / 2)


@dataclass(frozen=True)
class Validation:
    """The items on which the epoch is chosen."""

    inputs: Singles
    families: Integers
    prices: Floats

    def error(self, network: RetrievalNetwork) -> float:
        """The network's mean absolute error in the catalogue's currency."""
        estimate = from_log(network.log_estimates(self.inputs, self.families))
        return float(np.abs(estimate - self.prices).mean())


def train_retrieval_network(
    network: RetrievalNetwork,
    inputs: Singles,
    expected: Floats,
    validation: Validation,
    schedule: Schedule,
    *,
    seed: int,
    work_folder: Path | None = None,
    progress: Progress = silent,
) -> list[float]:
    """Trains the network and leaves it with the weights of its best epoch.

    After each epoch the state is written to ``work_folder``; called again with it, the training
    goes on after the last whole epoch and ends as if it had not been interrupted.

    Args:
        network: fresh.
        inputs: of the training items; shape (items, width).
        expected: about what each training item costs, told without its own price.
        validation: chooses the epoch.
        schedule: how to train.
        seed: of the order, the dropout and the first weights.
        work_folder: made when needed; None keeps no state.
        progress: is told about epochs.

    Returns:
        The validation error after each epoch.
    """
    import torch

    with torch.random.fork_rng():
        training = _Training(network, inputs, expected, schedule, seed)
        if work_folder is not None:
            training.resume(work_folder / _STATE)
        while training.epoch < training.epochs:
            training.run_epoch(validation)
            if work_folder is not None:
                training.write(work_folder / _STATE)
            progress("epochs of the retrieval network", training.epoch, training.epochs)
    network.parts.load_state_dict(training.best)
    network.remember(training.inputs)
    return training.errors


class _Training:
    """The state of a training between two epochs."""

    def __init__(
        self,
        network: RetrievalNetwork,
        inputs: Singles,
        expected: Floats,
        schedule: Schedule,
        seed: int,
    ) -> None:
        import torch

        self.network = network
        self.identity = fingerprint(
            schedule, seed, *(hashlib.sha256(a.tobytes()).hexdigest() for a in (inputs, expected))
        )
        self.inputs = torch.from_numpy(inputs)
        self.schedule = schedule
        self.seed = seed
        self.epochs = schedule.epochs(len(inputs))
        weight = torch.from_numpy(expected**schedule.weight_exponent).float()
        self.weight = weight / weight.mean()
        torch.manual_seed(seed)
        for module in network.parts.modules():
            if isinstance(module, torch.nn.Linear):
                module.reset_parameters()
        self.optimizer = torch.optim.AdamW(
            network.parts.parameters(), weight_decay=schedule.weight_decay
        )
        self.errors: list[float] = []
        self.best: Weights = {}

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.errors)

    def run_epoch(self, validation: Validation) -> None:
        """One pass over the training items, their neighbours looked up once at the start."""
        import torch

        network, items = self.network, len(self.inputs)
        torch.manual_seed(self.seed * 1000 + self.epoch + 1)
        network.remember(self.inputs)
        neighbours = network.nearest(network.keys, network.families)
        network.parts.train()
        batches = torch.split(torch.randperm(items), self.schedule.batch(items))
        for number, batch in enumerate(batches):
            step, steps = self.epoch * len(batches) + number, self.epochs * len(batches)
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.rate(step, steps)
            self._step(batch, neighbours[batch])
        network.remember(self.inputs)
        self.errors.append(validation.error(network))
        # Not finite after steps too long: such an epoch is never the best, unless all are.
        if len(self.errors) == 1 or self.errors[-1] == np.nanmin(self.errors):
            self.best = {k: v.clone() for k, v in network.parts.state_dict().items()}

    def _step(self, batch: torch.Tensor, neighbours: torch.Tensor) -> None:
        import torch
        from torch.nn import functional

        with torch.autocast("cpu", torch.bfloat16, enabled=_has_fast_bfloat16()):
            encoded = self.network.parts["encoder"](self.inputs[batch])
            logits = self.network.logits(encoded, neighbours)
        targets = self.network.targets[batch]
        loss = functional.cross_entropy(logits.float(), targets, reduction="none")
        self.optimizer.zero_grad()
        torch.autograd.backward((loss * self.weight[batch]).mean())
        self.optimizer.step()

    def write(self, path: Path) -> None:
        """Writes the state whole or not at all."""
        import torch
        from safetensors.torch import save_file

        tensors = {"errors": torch.tensor(self.errors, dtype=torch.float64)}
        tensors |= {f"weights/{k}": v for k, v in self.network.parts.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{k}": v for k, v in state.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file(tensors, partial, metadata={"training": self.identity})
        partial.replace(path)

    def resume(self, path: Path) -> None:
        """Takes the state of this very training up again; one damaged or of another is ignored."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("training") != self.identity:
                    return
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (FileNotFoundError, SafetensorError):
            return
        self.errors = tensors["errors"].tolist()
        self.best = _below("best/", tensors)
        self.network.parts.load_state_dict(_below("weights/", tensors))
        states: dict[int, Weights] = {}
        for key, value in _below("optimizer/", tensors).items():
            number, name = key.split("/")
            states.setdefault(int(number), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})


def _has_fast_bfloat16() -> bool:
    """Whether half the bits are half the time: measured 1.9 times as fast with AVX512-BF16."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported())


def _below(prefix: str, tensors: Weights) -> Weights:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
