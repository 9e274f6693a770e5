"""A price model as ``transformers.Trainer`` and peft train one by themselves: a benchmark's peer.

LoRA on all linear layers of all blocks, and a histogram over log prices read off the last states by
the same head as ours, which begins at the distribution of all prices. Every step goes through the
whole model: no states are kept, and no estimate in closed form comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from benchmarks.measurement import Clock
from pricing_platform.finetuning.language.adapters import (
    block_owner,
    load_base,
    round_frozen_weights,
    with_new_adapters,
)
from pricing_platform.finetuning.language.anchor import Anchor
from pricing_platform.finetuning.language.configuration import AdapterConfiguration
from pricing_platform.finetuning.language.frozen_states import padded_ids
from pricing_platform.finetuning.language.price_head import PriceHead
from pricing_platform.finetuning.language.price_model import PricedExamples
from pricing_platform.finetuning.language.token_examples import TokenExample, lengths_of
from pricing_platform.finetuning.language.training import read_states
from pricing_platform.finetuning.price_network import has_bfloat16, mixed_precision
from pricing_platform.language.local.length_batches import length_sorted_batches
from pricing_platform.language.local.network import default_device
from pricing_platform.resampling import FamilyResampling

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]
Told = Callable[[str], None]
SEED = 1
_ADAPTERS = AdapterConfiguration(rank=16, alpha=32, adapted_share=1.0)
_READ_TOKENS = 2_048
_SCALED_ON = 32
"""Examples that the scale of the head's inputs is measured on."""


@dataclass(frozen=True)
class PlainTraining:
    """How the peer is trained: a warm-up, then a cosine that ends with the epochs or the time.

    ``is_tuned`` gives it what of ours is no matter of method: frozen weights rounded once to
    bfloat16, and the attention that is faster backwards on a CPU. Without it these are as
    ``transformers`` has them, and autocast rounds the weights in every step.
    """

    learning_rate: float = 5e-4
    head_learning_rate: float = 1e-3
    epochs: float = 5.0
    batch_items: int = 16
    looked_at_every: int = 10
    is_tuned: bool = False


@dataclass(frozen=True)
class MeanError:
    """A mean absolute error with its 95 % interval, resampled by family."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, log_estimates: Floats, items: PricedExamples) -> Self:
        """That of estimates of ``log(1 + price)``, shape (items,)."""
        errors = np.abs(np.expm1(log_estimates) - items.prices)
        families = FamilyResampling.of([str(at) for at in items.groups], seed=SEED)
        low, high = families.interval(errors)
        unknown = float("nan")
        return cls(
            float(errors.mean()), unknown if low is None else low, unknown if high is None else high
        )

    def __str__(self) -> str:
        return f"MAE {self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Look:
    """What the peer was like after so many seconds and passes of items."""

    seconds: float
    trained: int
    error: MeanError

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s, {self.trained:,} items trained, {self.error}"


@dataclass
class Curve:
    """Looks at the peer, the last one when it ended, and when its first step began."""

    first_step: float = 0.0
    looks: list[Look] = field(default_factory=list)

    @property
    def last(self) -> Look:
        """What it had become."""
        return self.looks[-1]

    @property
    def items_a_second(self) -> float:
        """Trained, forwards and backwards, from the first step on."""
        return self.last.trained / (self.last.seconds - self.first_step)


def train_plainly(
    base: Path,
    train: PricedExamples,
    validation: PricedExamples,
    training: PlainTraining,
    *,
    until: float,
    seconds_at_most: float,
    work_folder: Path,
    told: Told = lambda _line: None,
) -> Curve:
    """Trains until a look at the validation items finds a mean absolute error of ``until``.

    The first such look counts, so chance is on this side. Besides it ends when the time is up or
    its epochs are done. The clock runs from loading the model on, and stands while validation items
    are read and while the time of a step is measured for the plan.
    """
    clock, found = Clock(), Curve()
    network = plain_network(base, train, training)
    rows = _rows(train, network.head)
    left = max(seconds_at_most - clock.seconds(), 0.0)
    with clock.stopped():
        most = max(1, round(training.epochs * len(rows) / training.batch_items))
        steps = min(most, max(1, int(left / _seconds_a_step(network, rows, training))))
    trainer = _trainer(network, rows, training, steps, work_folder)

    def begins() -> None:
        found.first_step = clock.seconds()

    def is_last(step: int) -> bool:
        seconds = clock.seconds()
        ends = step >= steps or seconds >= seconds_at_most
        if not ends and step % training.looked_at_every:
            return False
        with clock.stopped():
            error = MeanError.of(network.log_estimates(validation.examples), validation)
            found.looks.append(Look(seconds, network.trained, error))
            told(f"peer: {found.last}")
        return ends or error.mean <= until

    trainer.add_callback(_watching(begins, is_last))
    trainer.train()
    return found


def plain_network(base: Path, train: PricedExamples, training: PlainTraining) -> Any:
    """The whole model with its adapters and the head, whose forward pass gives the loss."""
    import torch

    device = torch.device(default_device())
    attention = "eager" if training.is_tuned and device.type == "cpu" else "sdpa"
    model = with_new_adapters(load_base(base, attention=attention), _ADAPTERS, seed=SEED)
    if training.is_tuned:
        round_frozen_weights(model)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            sample = np.random.default_rng(SEED).permutation(len(train))[:_SCALED_ON]
            states = self._states_of([train.examples[at] for at in sample])
            nothing = Anchor(np.zeros(1), np.ones(1), np.zeros(1), 0.0, 0.0)
            self.head = PriceHead.fresh(
                nothing, np.log1p(train.prices), states, np.zeros(len(sample)), seed=SEED
            )
            self.head_network = self.head.network.to(device)
            self.trained = 0

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            spans: torch.Tensor,
            targets: torch.Tensor,
        ) -> dict[str, torch.Tensor]:
            states = self._states(input_ids, attention_mask, spans)
            inputs = self.head.inputs(states, torch.zeros(len(states)))
            answers = self.head_network(inputs).float()
            self.trained += len(targets)
            return {"loss": torch.nn.functional.cross_entropy(answers, targets)}

        def log_estimates(self, examples: Sequence[TokenExample]) -> Floats:
            """The median of each one's distribution, shape (examples,)."""
            self.eval()
            found = np.empty(len(examples))
            batches = length_sorted_batches(
                lengths_of(examples), batch_tokens=_READ_TOKENS, batch_items=64
            )
            for rows in batches:
                states = self._states_of([examples[at] for at in rows])
                anchored = np.zeros(len(rows))
                probabilities = self.head.probabilities(states, anchored)
                found[rows] = self.head.log_quantile(anchored, probabilities, 0.5)
            self.train()
            return found

        def _states_of(self, examples: Sequence[TokenExample]) -> torch.Tensor:
            batch = _collated([_row(at) for at in examples])
            with torch.inference_mode(), mixed_precision(device):
                return self._states(*(batch[name].to(device) for name in _INPUTS))

        def _states(
            self, ids: torch.Tensor, mask: torch.Tensor, spans: torch.Tensor
        ) -> torch.Tensor:
            # The model's body: a head over states needs no logits of words.
            body = block_owner(self.model)
            last = body(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            return read_states(last, spans)

    return Network()


_INPUTS = ("input_ids", "attention_mask", "spans")


def _rows(train: PricedExamples, head: PriceHead) -> list[Row]:
    targets = head.residuals.targets(train.prices)
    return [
        _row(example) | {"targets": target}
        for example, target in zip(train.examples, targets, strict=True)
    ]


def _row(example: TokenExample) -> Row:
    """What is read of an example; the price that is written after it is left out."""
    return {
        "input_ids": list(example.ids[: example.start]),
        "spans": (*example.span, example.start),
    }


def _collated(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    import torch

    read = [TokenExample(tuple(row["input_ids"]), len(row["input_ids"])) for row in rows]
    ids, mask = padded_ids(read)
    batch = {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "spans": torch.tensor([row["spans"] for row in rows]),
    }
    if "targets" in rows[0]:
        batch["targets"] = torch.from_numpy(np.stack([row["targets"] for row in rows]))
    return batch


def _seconds_a_step(network: Any, rows: Sequence[Row], training: PlainTraining) -> float:
    """Of a batch of middling length; nothing is learnt by it."""
    import torch

    by_length = sorted(rows, key=lambda row: len(row["input_ids"]))
    start = max(0, (len(rows) - training.batch_items) // 2)
    batch = _collated(by_length[start : start + training.batch_items])
    device = torch.device(default_device())
    network.train()
    clock = Clock()
    for _ in range(2):
        clock = Clock()  # the second counts
        with mixed_precision(device):
            loss = network(**{name: at.to(device) for name, at in batch.items()})["loss"]
        loss.backward()
        loss.item()
    seconds = clock.seconds()
    network.zero_grad(set_to_none=True)
    network.trained = 0
    return seconds


def _trainer(
    network: Any, rows: list[Row], training: PlainTraining, steps: int, work_folder: Path
) -> Any:
    import torch
    from transformers import PrinterCallback, Trainer, TrainingArguments
    from transformers.utils import logging

    logging.set_verbosity_error()
    device = torch.device(default_device())
    arguments = TrainingArguments(
        output_dir=str(work_folder),
        per_device_train_batch_size=training.batch_items,
        train_sampling_strategy="group_by_length",
        max_steps=steps,
        warmup_steps=max(1, round(0.1 * steps)),
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        bf16=has_bfloat16(device),
        use_cpu=device.type == "cpu",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=SEED,
    )
    trainer = Trainer(
        model=network,
        args=arguments,
        train_dataset=rows,
        data_collator=_collated,
        optimizers=(_optimizer(network, training), None),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _optimizer(network: Any, training: PlainTraining) -> torch.optim.Optimizer:
    import torch

    groups = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": rate}
        for part, rate in (
            (network.model, training.learning_rate),
            (network.head_network, training.head_learning_rate),
        )
    ]
    return torch.optim.AdamW(groups, weight_decay=0.01, fused=True)


def _watching(begins: Callable[[], None], is_last: Callable[[int], bool]) -> Any:
    from transformers import TrainerCallback

    class Watching(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
            begins()

        def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
            if is_last(state.global_step):
                control.should_training_stop = True

    return Watching()
