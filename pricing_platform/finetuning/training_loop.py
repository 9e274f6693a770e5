"""Training a price network: batches, schedule, validation after every epoch, going on after a kill.

Here belongs what happens between a fresh network and the weights of its best epoch. What the
network is made of, and where its weights are kept for good, does not.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from pricing_platform.finetuning.epoch_state import EpochState
from pricing_platform.finetuning.head_probing import ProbingConfiguration, probe
from pricing_platform.finetuning.learning_rate import cosine_with_warm_up
from pricing_platform.finetuning.price_histogram import PriceHistogram
from pricing_platform.finetuning.price_network import PriceNetwork, Weights
from pricing_platform.finetuning.text_batches import TokenisedTexts
from pricing_platform.language.local.length_batches import Indices, shuffled_batches
from pricing_platform.progress import Progress, silent
from pricing_platform.stores.warehouse import fingerprint

if TYPE_CHECKING:
    import torch

_VALIDATION_ITEMS = 5_000
"""What an epoch is measured on at most: enough to rank epochs, little beside one of training."""
_VALIDATION_MAE = "validation_mae_epoch"


class TrainingConfiguration(BaseModel):
    """How a price network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(1e-3, gt=0, description="Peak, of the adapters.")
    head_learning_rate: float = Field(5e-4, gt=0, description="Peak, of the head.")
    weight_decay: float = Field(0.01, ge=0)
    warm_up_share: float = Field(0.1, ge=0, lt=1, description="Of all steps.")
    gradient_norm: float = Field(1.0, gt=0, description="Larger gradients are scaled down to it.")
    batch_items: int = Field(16, ge=1)
    batch_tokens: int = Field(4_096, ge=1, description="Of a batch, padding included.")
    min_epochs: int = Field(1, ge=1)
    max_epochs: int = Field(6, ge=1)
    token_goal: int = Field(
        400_000, ge=1, description="Of few items there are more epochs, up to about these tokens."
    )
    token_budget: int = Field(
        3_200_000,
        ge=1,
        description="Of many items there are fewer epochs, and of very many some are drawn, so that"
        " all epochs together have no more tokens than these.",
    )
    probing: ProbingConfiguration = ProbingConfiguration()

    def epochs(self, tokens: int) -> int:
        """How many epochs there are over items of so many tokens."""
        wanted = max(self.min_epochs, self.token_goal // max(tokens, 1))
        affordable = self.token_budget // max(tokens, 1)
        return max(1, min(wanted, affordable, self.max_epochs))


@dataclass(frozen=True)
class PricedTexts:
    """Tokenised texts beside their prices, shape (texts,).

    ``vectors``, shape (texts, width), are what the untrained base encoder makes of the texts, where
    that is known already; without them it is asked.
    """

    texts: TokenisedTexts
    prices: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.prices)

    def take(self, indices: Indices) -> PricedTexts:
        """Some of the texts, in the order of the indices."""
        vectors = None if self.vectors is None else self.vectors[indices]
        return PricedTexts(self.texts.take(indices), self.prices[indices], vectors)

    def fingerprint(self) -> str:
        """Equal for equal texts with equal prices and vectors in equal order."""
        vectors = np.empty(0) if self.vectors is None else np.ascontiguousarray(self.vectors)
        return _arrays_fingerprint(self.texts.ids, self.texts.starts, self.prices, vectors)


@dataclass(frozen=True)
class Training:
    """What a training gave: the weights of its best epoch, and what was measured on the way."""

    adapter: Weights
    head: Weights
    metrics: dict[str, float]


def train_price_network(
    network: PriceNetwork,
    histogram: PriceHistogram,
    train: PricedTexts,
    validation: PricedTexts,
    configuration: TrainingConfiguration,
    *,
    seed: int,
    work_folder: Path | None = None,
    progress: Progress = silent,
) -> Training:
    """Trains the network and returns the weights of the epoch with the least MAE on validation.

    The state after each epoch is kept in ``work_folder``, and a training that was killed goes on
    from there to the very weights that it would have come to; the caller removes the folder.
    Without validation texts the last epoch counts as the best.
    """
    train = train.take(_draw(train.texts.lengths, configuration.token_budget, seed))
    validation = validation.take(_draw(np.ones_like(validation.prices), _VALIDATION_ITEMS, seed))
    loop = _Loop(network, histogram, train, validation, configuration, seed, progress)
    identity = fingerprint(
        configuration.model_dump_json(),
        histogram,
        seed,
        train.fingerprint(),
        validation.fingerprint(),
        _identity_of(network.adapter_weights() | network.head_weights()),
    )
    state = EpochState.newest(work_folder, identity) if work_folder else None
    if state is None:
        loop.probe()
    else:
        loop.resume(state)
    while loop.epochs_done < loop.epochs:
        loop.run_epoch()
        if work_folder:
            loop.state().keep(work_folder, identity, seed)
    return Training(loop.best_adapter, loop.best_head, loop.metrics)


class _Loop:
    """The state of a training between two epochs, and the steps from one to the next."""

    def __init__(
        self,
        network: PriceNetwork,
        histogram: PriceHistogram,
        train: PricedTexts,
        validation: PricedTexts,
        configuration: TrainingConfiguration,
        seed: int,
        progress: Progress,
    ) -> None:
        self._network, self._histogram, self._configuration = network, histogram, configuration
        self._train, self._validation = train, validation
        self._seed, self._progress = seed, progress
        lengths = train.texts.lengths
        self.epochs = configuration.epochs(int(lengths.sum()))
        self._plan = [
            shuffled_batches(
                lengths,
                batch_tokens=configuration.batch_tokens,
                batch_items=configuration.batch_items,
                seed=seed,
                epoch=epoch,
            )
            for epoch in range(self.epochs)
        ]
        self._steps = sum(len(batches) for batches in self._plan)
        self._optimizer = _optimizer(network, configuration)
        self._peaks = [group["lr"] for group in self._optimizer.param_groups]
        self.epochs_done = 0
        self.metrics: dict[str, float] = {"epochs": float(self.epochs)}

    def probe(self) -> None:
        """Trains the head alone, so that the adapters start behind one that knows something."""
        vectors = self._train.vectors
        probe(
            self._network.head,
            self._network.embed(self._train.texts) if vectors is None else vectors,
            self._train.prices,
            self._histogram,
            self._configuration.probing,
            seed=self._seed,
            progress=self._progress,
        )
        self._measure()

    def run_epoch(self) -> None:
        """Trains one epoch and measures it; the best weights so far are kept."""
        import torch

        started, loss, epoch = time.perf_counter(), 0.0, self.epochs_done
        done = sum(len(batches) for batches in self._plan[:epoch])
        self._network.train()
        with torch.random.fork_rng():
            torch.manual_seed(self._seed + epoch)
            for step, indices in enumerate(self._plan[epoch], start=done):
                loss += self._step(step, indices) * len(indices)
                self._progress(
                    f"training, epoch {epoch + 1} of {self.epochs}", step + 1, self._steps
                )
        seconds = time.perf_counter() - started
        self.epochs_done += 1
        self.metrics[f"training_loss_epoch_{self.epochs_done}"] = loss / len(self._train)
        self.metrics[f"items_per_second_epoch_{self.epochs_done}"] = len(self._train) / seconds
        self._measure()

    def _measure(self) -> None:
        """Measures the weights as they are, and keeps them when no earlier ones are better."""
        earlier = [v for name, v in self.metrics.items() if name.startswith(_VALIDATION_MAE)]
        is_best = not earlier
        if len(self._validation):
            mae = self._validation_mae()
            is_best = not earlier or mae < min(earlier)
            # Not finite after steps too long: such an epoch is never the best.
            if math.isfinite(mae):
                self.metrics[f"{_VALIDATION_MAE}_{self.epochs_done}"] = mae
        if is_best:
            self.best_adapter = self._network.adapter_weights()
            self.best_head = self._network.head_weights()
            self.metrics["best_epoch"] = float(self.epochs_done)

    def _step(self, step: int, indices: Indices) -> float:
        import torch

        factor = cosine_with_warm_up(step, self._steps, self._configuration.warm_up_share)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        network = self._network
        logits = network.logits(*self._train.texts.padded(indices, network.device))
        targets = torch.from_numpy(self._histogram.targets(self._train.prices[indices]))
        loss = torch.nn.functional.cross_entropy(logits, targets.to(network.device))
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, self._configuration.gradient_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss.item()

    def _validation_mae(self) -> float:
        probabilities = self._network.probabilities(self._validation.texts)
        estimates = self._histogram.quantile(probabilities, 0.5)
        return float(np.abs(estimates - self._validation.prices).mean())

    def state(self) -> EpochState:
        """What the next epoch follows from."""
        return EpochState(
            epochs_done=self.epochs_done,
            adapter=self._network.adapter_weights(),
            head=self._network.head_weights(),
            best_adapter=self.best_adapter,
            best_head=self.best_head,
            optimizer=dict(_flat_state(self._optimizer)),
            metrics=self.metrics,
        )

    def resume(self, state: EpochState) -> None:
        """Takes over what :meth:`state` gave."""
        self.epochs_done = state.epochs_done
        self._network.restore(state.adapter, state.head)
        self.best_adapter, self.best_head = state.best_adapter, state.best_head
        _restore_state(self._optimizer, state.optimizer)
        self.metrics = dict(state.metrics)


def _draw(costs: npt.NDArray[Any], budget: int, seed: int) -> Indices:
    """All items, or as many drawn at random as the budget pays for; at least one."""
    if costs.sum() <= budget:
        return np.arange(len(costs))
    order = np.random.default_rng(seed).permutation(len(costs))
    count = int(np.searchsorted(np.cumsum(costs[order]), budget, side="right"))
    return np.sort(order[: max(count, 1)])


def _optimizer(network: PriceNetwork, configuration: TrainingConfiguration) -> torch.optim.AdamW:
    import torch

    adapters = [p for p in network.encoder.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": adapters, "lr": configuration.learning_rate},
            {"params": list(network.head.parameters()), "lr": configuration.head_learning_rate},
        ],
        weight_decay=configuration.weight_decay,
        fused=True,
    )


def _flat_state(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    for parameter, values in optimizer.state_dict()["state"].items():
        for name, tensor in values.items():
            yield f"{parameter}.{name}", tensor.cpu().contiguous()


def _restore_state(optimizer: torch.optim.Optimizer, flat: Weights) -> None:
    state: dict[int, Weights] = {}
    for key, tensor in flat.items():
        parameter, _, name = key.partition(".")
        state.setdefault(int(parameter), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _identity_of(weights: Weights) -> str:
    return _arrays_fingerprint(*(weights[name].numpy() for name in sorted(weights)))


def _arrays_fingerprint(*arrays: npt.NDArray[Any]) -> str:
    return fingerprint(*(hashlib.sha256(array.data).hexdigest() for array in arrays))
