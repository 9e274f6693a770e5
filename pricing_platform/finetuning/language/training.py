"""Training adapters, and a price head beside them, on states that were computed once.

Mixed precision, gradient accumulation, several processes and going on after a kill are those of
``transformers.Trainer``; here belong what is computed in a step, in which order examples come, and
that a state on disk is whole. What is trained for which purpose belongs to the caller.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pricing_platform.finetuning.language.adapters import round_frozen_weights
from pricing_platform.finetuning.language.configuration import AdapterTraining
from pricing_platform.finetuning.language.frozen_states import FrozenStates
from pricing_platform.finetuning.language.price_head import PriceHead
from pricing_platform.finetuning.language.token_examples import Integers, TokenExample
from pricing_platform.finetuning.language.upper_blocks import upper_blocks
from pricing_platform.finetuning.price_network import has_bfloat16
from pricing_platform.progress import Progress, silent
from pricing_platform.resource_use import KeptMeter
from pricing_platform.stores.warehouse import make_folder

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]
_IDENTITY = "identity"
_WHOLE = "whole"
"""A file that stands in a state's folder when all of it is written."""


@dataclass(frozen=True, eq=False)
class PriceTargets:
    """What a price head learns: log prices and what its anchor says of them, shape (examples,).

    What the anchor says is of a regression that has not seen the example.
    """

    head: PriceHead
    log_prices: Floats
    anchored: Floats


ExtraLoss = Callable[[Any, dict[str, Any]], Any]
"""A further loss, from the module that is trained (its ``upper`` blocks and ``words``) and a batch.
"""

Watch = Callable[[float], None]
"""Called during a training with the share of it that is done."""


def train_adapters(
    model: Any,
    first: int,
    examples: Sequence[TokenExample],
    states: FrozenStates,
    batches: Sequence[Integers],
    training: AdapterTraining,
    *,
    identity: str,
    prices: PriceTargets | None = None,
    extra_loss: ExtraLoss | None = None,
    seed: int,
    work_folder: Path,
    watch: Watch | None = None,
    watched_at: Sequence[float] = (),
    progress: Progress = silent,
) -> dict[str, float]:
    """Trains the model's adapters in place; killed and called again, it goes on to equal weights.

    Args:
        model: with adapters on its blocks from ``first`` on; see ``adapters``.
        first: the lowest adapted block.
        examples: their tokens from ``start`` on are learnt to be written.
        states: of the examples below ``first``.
        batches: the examples of each batch of the whole training, in order.
        training: rates, weights of the losses, how often the state is kept.
        identity: equal for trainings of the same data, settings and order; what another one left in
            the work folder is thrown away.
        prices: what a price head learns beside it; it is trained in place.
        extra_loss: added to the loss, from the upper blocks and a batch; as what holds a model
            to its base.
        seed: of what is dropped out.
        work_folder: where the state is kept, for this training alone; the caller removes it.
        watch: called with the share done, where it reaches one of ``watched_at``.
        watched_at: shares of the training, ascending.
        progress: is told how far it is.

    Returns:
        Metrics: steps, the mean loss of the last tenth of them, and the seconds of all runs.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    _throw_away_another(work_folder, identity)
    meter = KeptMeter.start(work_folder)
    trained = _trained_part(model, first, prices, training, extra_loss)
    data = _Batches(examples, states, batches, prices)
    trainer = _trainer(
        trained, data, training, seed, work_folder, _told(meter.noting(progress), watch, watched_at)
    )
    with _global_randomness():
        trainer.train(resume_from_checkpoint=_newest_state(work_folder))
    trained.eval()
    losses = [at["loss"] for at in trainer.state.log_history if "loss" in at]
    recent = losses[-max(1, len(losses) // 10) :]
    metrics = {
        "steps": float(trainer.state.global_step),
        "adapter_seconds": meter.used().seconds,
    }
    if recent:
        metrics["training_loss"] = float(np.mean(recent))
    return metrics


class _Batches:
    """The planned batches, each made into tensors when its turn comes."""

    def __init__(
        self,
        examples: Sequence[TokenExample],
        states: FrozenStates,
        batches: Sequence[Integers],
        prices: PriceTargets | None,
    ) -> None:
        self._examples, self._states, self._batches = examples, states, batches
        self._prices = prices
        if prices is not None:
            residuals = prices.log_prices - prices.anchored
            self._targets = prices.head.residuals.value_targets(residuals)

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, place: int) -> dict[str, Any]:
        import torch

        rows = self._batches[place]
        states, mask = self._states.padded(rows, torch.device("cpu"))
        batch = {"states": states, "mask": mask, **self._spans(rows), **self._written(rows)}
        if self._prices is not None:
            batch["targets"] = torch.from_numpy(self._targets[rows])
            batch["anchored"] = torch.from_numpy(self._prices.anchored[rows].astype(np.float32))
        return batch

    def _spans(self, rows: Integers) -> dict[str, torch.Tensor]:
        import torch

        spans = np.array([(*self._examples[at].span, self._examples[at].start) for at in rows])
        return {"spans": torch.from_numpy(spans.astype(np.int64))}

    def _written(self, rows: Integers) -> dict[str, torch.Tensor]:
        """Where the tokens that are to be written are predicted: row, position, and the token."""
        import torch

        found = [
            (row, position - 1, self._examples[at].ids[position])
            for row, at in enumerate(rows)
            for position in range(self._examples[at].start, len(self._examples[at].ids))
        ]
        return {"written": torch.tensor(found, dtype=torch.long).reshape(-1, 3)}


def read_states(last: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
    """What a price head reads of a batch's last states, float32 of shape (items, 2 * hidden).

    Args:
        last: shape (items, width, hidden).
        spans: of each item the span that describes it, and where it ends to be read: (items, 3).
    """
    import torch

    positions = torch.arange(last.shape[1], device=last.device)[None, :]
    inside = (positions >= spans[:, :1]) & (positions < spans[:, 1:2])
    weights = inside / inside.sum(dim=1, keepdim=True)
    mean = torch.einsum("iw,iwh->ih", weights.float(), last.float())
    rows = torch.arange(len(last), device=last.device)
    return torch.cat([mean, last[rows, spans[:, 2] - 1].float()], dim=1)


def _trained_part(
    model: Any,
    first: int,
    prices: PriceTargets | None,
    training: AdapterTraining,
    extra_loss: ExtraLoss | None,
) -> torch.nn.Module:
    """The upper blocks, the head, and the loss of a batch as one module for the trainer."""
    import torch

    class TrainedPart(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.upper = upper_blocks(model, first)
            self.head = None if prices is None else prices.head.network
            # Apart from the embeddings, with which some models share it: it is rounded.
            self.words = _output_layer(model)

        def forward(self, **batch: Any) -> dict[str, Any]:
            last = self.upper(
                inputs_embeds=batch["states"], attention_mask=batch["mask"], use_cache=False
            ).last_hidden_state
            loss = last.new_zeros((), dtype=torch.float32)
            if prices is not None:
                inputs = prices.head.inputs(read_states(last, batch["spans"]), batch["anchored"])
                answers = prices.head.network(inputs).float()
                loss = loss + torch.nn.functional.cross_entropy(answers, batch["targets"])
            weight = 1.0 if prices is None else training.text_weight
            if weight > 0 and len(batch["written"]):
                row, position, token = batch["written"].unbind(dim=1)
                logits = self.words(last[row, position]).float()
                loss = loss + weight * torch.nn.functional.cross_entropy(logits, token)
            if extra_loss is not None:
                loss = loss + extra_loss(self, batch)
            return {"loss": loss}

    part = TrainedPart()
    round_frozen_weights(part)
    return part


def _output_layer(model: Any) -> torch.nn.Module:
    import torch

    weight = model.get_output_embeddings().weight
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device=weight.device)
    layer.weight = torch.nn.Parameter(weight.detach().clone(), requires_grad=False)
    return layer


def _trainer(
    part: torch.nn.Module,
    data: _Batches,
    training: AdapterTraining,
    seed: int,
    work_folder: Path,
    told: Any,
) -> Any:
    import torch
    from torch.utils.data import SequentialSampler
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class ResumableTrainer(Trainer):  # type: ignore[misc]
        """Keeps what is trained alone, in the planned order of batches, at two rates."""

        def _get_train_sampler(self, _dataset: Any = None) -> SequentialSampler:
            return SequentialSampler(data)

        def create_optimizer(self, _model: Any = None) -> torch.optim.Optimizer:
            self.optimizer: Any = _optimizer(part, training)
            return self.optimizer

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            del state_dict
            from safetensors.torch import save_file

            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_file(_trainable(part), folder / "model.safetensors")

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            del model
            from safetensors.torch import load_file

            found = load_file(Path(resume_from_checkpoint) / "model.safetensors")
            with torch.no_grad():
                for name, parameter in part.named_parameters():
                    if parameter.requires_grad:
                        parameter.copy_(found[name])

    cpu = not torch.cuda.is_available()
    steps = -(-len(data) // training.gradient_accumulation)
    arguments = TrainingArguments(
        output_dir=str(work_folder),
        per_device_train_batch_size=1,  # of batches, which are planned
        gradient_accumulation_steps=training.gradient_accumulation,
        max_steps=steps,
        warmup_steps=round(training.warm_up_share * steps),
        lr_scheduler_type="cosine",
        max_grad_norm=training.gradient_norm,
        bf16=has_bfloat16(torch.device("cpu" if cpu else "cuda")),
        use_cpu=cpu,
        save_steps=training.saved_steps,
        save_total_limit=2,
        logging_steps=10,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=seed,
        data_seed=seed,
    )
    trainer = ResumableTrainer(
        model=part,
        args=arguments,
        train_dataset=data,
        data_collator=lambda batches: batches[0],
        callbacks=[told],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _optimizer(part: torch.nn.Module, training: AdapterTraining) -> torch.optim.Optimizer:
    import torch

    named = [(name, p) for name, p in part.named_parameters() if p.requires_grad]
    head = [p for name, p in named if name.startswith("head.")]
    adapters = [p for name, p in named if not name.startswith("head.")]
    groups = [{"params": adapters, "lr": training.learning_rate}]
    if head:
        groups.append({"params": head, "lr": training.head_learning_rate})
    return torch.optim.AdamW(groups, weight_decay=training.weight_decay, fused=True)


def _trainable(part: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in part.named_parameters()
        if parameter.requires_grad
    }


def _told(progress: Progress, watch: Watch | None, at: Sequence[float]) -> Any:
    """The callback that tells of progress, and marks a state on disk as whole."""
    from transformers import TrainerCallback

    class Told(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            progress("training the adapters", state.global_step, state.max_steps)
            before = (state.global_step - 1) / state.max_steps
            now = state.global_step / state.max_steps
            if watch is not None and any(before < share <= now for share in at):
                watch(now)

        def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            (folder / _WHOLE).touch()

    return Told()


def _throw_away_another(work_folder: Path, identity: str) -> None:
    """Leaves in the folder what a killed run of this very training left there, or nothing."""
    told = work_folder / _IDENTITY
    if told.exists() and told.read_text(encoding="utf-8") == identity:
        return
    shutil.rmtree(work_folder, ignore_errors=True)
    make_folder(work_folder)
    partial = told.with_suffix(".partial")
    partial.write_text(identity, encoding="utf-8")
    partial.replace(told)


def _newest_state(work_folder: Path) -> str | None:
    """The last state that was written whole; one that was not is thrown away."""
    found = []
    for folder in work_folder.glob("checkpoint-*"):
        if (folder / _WHOLE).exists():
            found.append(folder)
        else:
            shutil.rmtree(folder)
    newest = max(found, key=lambda at: int(at.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


@contextmanager
def _global_randomness() -> Any:
    """Leaves the random numbers of this process as they were: the trainer seeds them anew."""
    import random

    import torch

    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
