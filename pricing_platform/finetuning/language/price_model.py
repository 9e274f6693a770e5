"""A language model that reads a price off its states: fitted within a budget, and read.

Here belongs the way from examples with prices to a fitted model, and from a fitted model to
distributions. Which texts an item is told in, and how estimates become rows, belongs to
``pricing.finetuned``.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pricing_platform.bounded_cache import GIBIBYTE, prune_cache
from pricing_platform.finetuning.language.adapters import (
    ADAPTER_FOLDER,
    block_list,
    load_base,
    merged,
    round_frozen_weights,
    save_adapters,
    scale_adapters,
    with_adapters_of,
    with_new_adapters,
)
from pricing_platform.finetuning.language.anchor import Anchor
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.finetuning.language.frozen_states import (
    FrozenStates,
    compute_frozen_states,
    padded_ids,
    pooled_depths,
)
from pricing_platform.finetuning.language.price_head import HEAD_FOLDER, PriceHead
from pricing_platform.finetuning.language.token_examples import (
    Integers,
    TokenExample,
    examples_digest,
    lengths_of,
    planned_batches,
)
from pricing_platform.finetuning.language.training import (
    ExtraLoss,
    PriceTargets,
    Watch,
    read_states,
    train_adapters,
)
from pricing_platform.finetuning.language.upper_blocks import (
    lower_states,
    require_divisible,
    upper_blocks,
)
from pricing_platform.finetuning.price_network import mixed_precision
from pricing_platform.language.local.length_batches import BATCH_TOKENS, length_sorted_batches
from pricing_platform.language.local.quantization import Quantization
from pricing_platform.progress import Progress, silent
from pricing_platform.resource_use import KeptMeter
from pricing_platform.stores.warehouse import fingerprint, make_folder

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
SNAPSHOTS_FOLDER = "snapshots"
POOLED_BYTES = GIBIBYTE
"""What pooled states of all models and texts may take on disk; a text takes some 20 kB. Those of
the last fit stay in any case."""

_SAMPLED = 256
"""Examples that the scale of the states is measured on."""


@dataclass(frozen=True, eq=False)
class PricedExamples:
    """Examples with what they cost.

    ``prices`` and ``groups``, the number of each one's family, have shape (examples,); ``numbers``,
    shape (examples, any), is what is known of each besides its text, such as what comparables cost.
    """

    examples: list[TokenExample]
    prices: Floats
    groups: Integers
    numbers: Singles

    def __len__(self) -> int:
        return len(self.examples)

    def digest(self) -> str:
        """Equal for equal examples at equal prices."""
        arrays = (self.prices, self.groups, self.numbers)
        return fingerprint(
            examples_digest(self.examples),
            *((at.shape, hashlib.sha256(at.tobytes()).hexdigest()) for at in arrays),
        )

    def take(self, rows: Integers) -> PricedExamples:
        """Some of them, in the order of the rows."""
        return PricedExamples(
            [self.examples[at] for at in rows],
            self.prices[rows],
            self.groups[rows],
            self.numbers[rows],
        )


@dataclass(frozen=True, eq=False)
class FittedPriceModel:
    """Where the base model is, the adapters' folder, the head, and how strongly the adapters act.

    ``scale`` is 1 unless a smaller one keeps the model from forgetting too much; at 0 the head
    alone reads the untouched base. ``quantization`` is how the base's weights are held.
    ``snapshots``: share of the training -> folder of what it was like then.
    """

    base: Path
    adapters: Path
    head: PriceHead
    configuration: AdapterConfiguration
    scale: float = 1.0
    quantization: Quantization = "none"
    snapshots: Mapping[float, Path] = field(default_factory=dict)

    def at(self, share: float) -> FittedPriceModel:
        """The model as it was at a share of its training that a snapshot was kept of."""
        folder = self.snapshots[share]
        return replace(
            self,
            adapters=folder / ADAPTER_FOLDER,
            head=PriceHead.load(folder / HEAD_FOLDER),
            scale=1.0,
            snapshots={},
        )

    def scaled(self, scale: float) -> FittedPriceModel:
        """The same model with its adapters acting so strongly."""
        return replace(self, scale=scale)

    def distributions(
        self, examples: Sequence[TokenExample], numbers: Singles
    ) -> Iterator[tuple[Integers, Floats, Singles]]:
        """Batch by batch: which examples, what the anchor says, and the histogram around it.

        Args:
            examples: read up to their ``start``.
            numbers: shape (examples, any), as the model was fitted with.
        """
        read = _only_read(examples)
        batches = length_sorted_batches(
            lengths_of(read),
            batch_tokens=BATCH_TOKENS[self.language_model.device.type],
            batch_items=64,
        )
        for rows in batches:
            pooled, states = self._read([read[at] for at in rows])
            features = _features(pooled, numbers[rows])
            anchored = self.head.anchor(features)
            yield rows, anchored, self.head.probabilities(states, anchored)

    def quantiles(
        self, examples: Sequence[TokenExample], numbers: Singles, levels: Sequence[float]
    ) -> Floats:
        """Log prices at some levels of each example's distribution, shape (levels, examples)."""
        found = np.empty((len(levels), len(examples)))
        for rows, anchored, probabilities in self.distributions(examples, numbers):
            for at, level in enumerate(levels):
                found[at, rows] = self.head.log_quantile(anchored, probabilities, level)
        return found

    @cached_property
    def language_model(self) -> Any:
        """The base model with the adapters, for reading alone.

        They are merged into it where its weights are not held in fewer bits.
        """
        base = load_base(self.base, quantization=self.quantization)
        model = with_adapters_of(base, self.adapters)
        if self.quantization == "none":
            model = merged(model, self.scale)
        else:
            scale_adapters(model, self.scale)
        model = model.eval().requires_grad_(False)
        round_frozen_weights(model)
        return model

    @cached_property
    def _upper(self) -> Any:
        return upper_blocks(self.language_model, self._first)

    @property
    def _first(self) -> int:
        return self.configuration.first_adapted(len(block_list(self.language_model)))

    def _read(self, examples: Sequence[TokenExample]) -> tuple[Singles, torch.Tensor]:
        """The pooled states below the adapters, and what the head reads above them."""
        import torch

        device = self.language_model.device
        ids, mask = padded_ids(examples)
        seen = torch.from_numpy(mask).to(device)
        depths = pooled_depths(self._first)
        with torch.inference_mode(), mixed_precision(device):
            lower = lower_states(
                self.language_model, torch.from_numpy(ids).to(device), seen, depths
            )
            last = self._upper(
                inputs_embeds=lower[self._first], attention_mask=seen, use_cache=False
            ).last_hidden_state
            spans = torch.tensor([(*at.span, at.start) for at in examples], device=device)
            pooled = [read_states(lower[depth], spans).cpu() for depth in depths]
            hidden = pooled[0].shape[1] // 2
            means = torch.stack([at[:, :hidden] for at in pooled] + [pooled[-1][:, hidden:]], dim=1)
            return means.numpy(), read_states(last, spans).float()


def lower_reading(
    model: Any,
    examples: Sequence[TokenExample],
    first: int,
    *,
    identity: str,
    pooled_folder: Path,
    states_folder: Path,
) -> FrozenStates:
    """What the blocks below ``first`` make of examples, up to where each is to be written on.

    See :func:`compute_frozen_states` for the arguments.
    """
    return compute_frozen_states(
        model,
        _only_read(examples),
        first,
        identity=identity,
        pooled_folder=pooled_folder,
        states_folder=states_folder,
    )


def quantile_of_states(
    model: Any,
    head: PriceHead,
    first: int,
    states: FrozenStates,
    examples: Sequence[TokenExample],
    numbers: Singles,
    level: float,
) -> Floats:
    """Log prices at a level of each example's distribution, shape (examples,).

    Args:
        model: with the adapters on its blocks from ``first`` on.
        head: that was trained with them.
        first: the lowest adapted block.
        states: see :func:`lower_reading`.
        examples: of which they are.
        numbers: shape (examples, any), as the head was fitted with.
        level: of the distribution.
    """
    import torch

    rows = np.arange(len(examples))
    above = _upper_states(model, first, _only_read(examples), states, rows)
    anchored = head.anchor(_features(states.pooled, numbers))
    probabilities = head.probabilities(above.to(torch.float32), anchored)
    return head.log_quantile(anchored, probabilities, level)


def _only_read(examples: Sequence[TokenExample]) -> list[TokenExample]:
    return [TokenExample(at.ids[: at.start], at.start, at.described) for at in examples]


@dataclass(frozen=True)
class PriceModelBase:
    """A language model's folder, what its content is known by, and how its weights are held."""

    folder: Path
    identity: str
    quantization: Quantization = "none"


@dataclass(frozen=True, eq=False)
class LearntExamples:
    """What a price model learns from.

    The anchor is fitted on all of ``train``, the adapters on its ``trained_rows``. ``pooled_as`` is
    what the anchor reads of each example, where that is not the example itself: with fewer tokens,
    but the same ones up to the end of its described span.
    """

    train: PricedExamples
    trained_rows: Integers
    pooled_as: Sequence[TokenExample] | None = None

    @classmethod
    def all_of(cls, train: PricedExamples) -> LearntExamples:
        """The adapters are trained on all of them."""
        return cls(train, np.arange(len(train)))

    def digest(self) -> str:
        """Equal for equal examples."""
        pooled_as = examples_digest(self.pooled_as or ())
        return fingerprint(self.train.digest(), pooled_as, self.trained_rows.tolist())


@dataclass(frozen=True)
class PriceRecipe:
    """How a price model is fitted; ``seed`` is of the folds, the weights and the order.

    ``epochs`` is how often the adapters are trained on each of their examples.
    """

    epochs: float
    adapters: AdapterConfiguration
    training: AdapterTraining
    seed: int


@dataclass(frozen=True)
class FitFolders:
    """Where a fit writes.

    ``result`` gets the adapters, ``work`` the states of the training, so that a killed one can go
    on. ``pooled`` keeps pooled states for other fits on the same texts; those that were used
    longest ago are deleted where all take more than ``POOLED_BYTES``. ``states`` keeps the states
    of single tokens for a fit on the same examples, until the caller removes it; without it they
    are kept within ``work``.
    """

    result: Path
    work: Path
    pooled: Path
    states: Path | None = None


def fit_price_model(
    base: PriceModelBase,
    learnt: LearntExamples,
    recipe: PriceRecipe,
    folders: FitFolders,
    *,
    extra_loss: Callable[[Any, int], ExtraLoss] | None = None,
    watch: Callable[[Any, PriceHead, float], None] | None = None,
    watched_at: Sequence[float] = (),
    snapshots_at: Sequence[float] = (),
    progress: Progress = silent,
) -> tuple[FittedPriceModel, dict[str, float]]:
    """Fits the anchor on all examples and the adapters on some of them.

    Args:
        base: the language model that is adapted.
        learnt: what is learnt from.
        recipe: how.
        folders: where it is written.
        extra_loss: given the adapted model and its lowest adapted block, what is added to the loss.
        watch: called with the model, the head and the share done, at shares of the training.
        watched_at: these shares, ascending.
        snapshots_at: shares of the training at which adapters and head are kept as they are.
        progress: is told how far it is.

    Returns:
        The model, and metrics: seconds of each part, losses, items and epochs.

    Raises:
        PlatformError: when the base model can't be loaded, or not be adapted.
    """
    train, trained_rows, seed = learnt.train, learnt.trained_rows, recipe.seed
    started = time.time()
    reading = folders.work / "reading"
    make_folder(reading)
    meter = KeptMeter.start(reading)
    model = load_base(base.folder, attention=_fastest_attention(), quantization=base.quantization)
    first = recipe.adapters.first_adapted(len(block_list(model)))
    require_divisible(model, first, model.config.get_text_config().vocab_size)
    # A copy of its own in the training; here only blocks that never change compute.
    round_frozen_weights(model.requires_grad_(False))
    identity = f"{base.identity} {_device().type} {base.quantization}"
    states = compute_frozen_states(
        model,
        [train.examples[at] for at in trained_rows],
        first,
        identity=identity,
        pooled_folder=folders.pooled,
        states_folder=folders.states or reading / "states",
        progress=meter.noting(progress),
    )
    pooled = states.pooled
    if learnt.pooled_as is not None or len(trained_rows) < len(train):
        pooled = compute_frozen_states(
            model,
            list(learnt.pooled_as or train.examples),
            first,
            identity=identity,
            pooled_folder=folders.pooled,
            progress=meter.noting(progress),
        ).pooled
    metrics = {"reading_seconds": meter.used().seconds}
    prune_cache(folders.pooled, POOLED_BYTES, used_since=started)
    clock = time.perf_counter()
    log_prices = np.log1p(train.prices)
    anchor, unseen = Anchor.fit(
        _features(pooled, train.numbers),
        log_prices,
        train.groups,
        emphasised=train.numbers.shape[1],
        seed=seed,
    )
    adapted = with_new_adapters(model, recipe.adapters, seed=seed)
    chosen = train.take(trained_rows)
    sample = _sample(trained_rows, seed=seed)
    head = PriceHead.fresh(
        anchor,
        log_prices - unseen,
        _upper_states(adapted, first, chosen.examples, states, sample),
        unseen[trained_rows[sample]],
        seed=seed,
    )
    head.network.to(_device())
    metrics["anchor_seconds"] = time.perf_counter() - clock
    training_folder = folders.work / "training"
    kept: dict[float, Path] = {
        share: training_folder / SNAPSHOTS_FOLDER / f"{share:g}" for share in snapshots_at
    }

    def watched(share: float) -> None:
        for at, place in kept.items():
            if at <= share and not place.exists():
                _save(adapted, head, place)
        if watch is not None:
            watch(adapted, head, share)

    found = train_adapters(
        adapted,
        first,
        chosen.examples,
        states,
        planned_batches(
            chosen.examples,
            batch_items=recipe.training.batch_items,
            epochs=recipe.epochs,
            seed=seed,
        ),
        recipe.training,
        identity=fingerprint(identity, learnt.digest(), recipe),
        prices=PriceTargets(head, log_prices[trained_rows], unseen[trained_rows]),
        extra_loss=None if extra_loss is None else extra_loss(adapted, first),
        seed=seed,
        work_folder=training_folder,
        watch=watched,
        watched_at=sorted({*snapshots_at, *watched_at}),
        progress=progress,
    )
    metrics |= found
    metrics |= {"items": float(len(train)), "trained_items": float(len(trained_rows))}
    _save(adapted, head, folders.result)
    fitted = FittedPriceModel(
        base.folder,
        folders.result / ADAPTER_FOLDER,
        head,
        recipe.adapters,
        quantization=base.quantization,
        snapshots=kept,
    )
    return fitted, metrics | {"epochs": float(recipe.epochs)}


def _sample(rows: Integers, *, seed: int) -> Integers:
    """Places among the rows that the scale of states is measured on."""
    return np.sort(np.random.default_rng(seed).permutation(len(rows))[:_SAMPLED])


def _upper_states(
    model: Any,
    first: int,
    examples: Sequence[TokenExample],
    states: FrozenStates,
    sample: Integers,
) -> torch.Tensor:
    """What a head reads of a sample of the examples, shape (sample, 2 * hidden)."""
    import torch

    upper, found = upper_blocks(model, first), []
    for start in range(0, len(sample), 32):
        rows = sample[start : start + 32]
        entering, mask = states.padded(rows, model.device)
        spans = torch.tensor([(*examples[at].span, examples[at].start) for at in rows])
        with torch.inference_mode(), mixed_precision(model.device):
            last = upper(inputs_embeds=entering, attention_mask=mask, use_cache=False)
        found.append(read_states(last.last_hidden_state, spans.to(model.device)).cpu())
    return torch.cat(found)


def _save(model: Any, head: PriceHead, folder: Path) -> None:
    """Writes adapters and head beside their place and renames them: they are there or not."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_adapters(model, partial / ADAPTER_FOLDER)
    head.save(partial / HEAD_FOLDER)
    if not folder.exists():
        partial.rename(folder)
        return
    for part in (ADAPTER_FOLDER, HEAD_FOLDER):
        shutil.rmtree(folder / part, ignore_errors=True)
        (partial / part).rename(folder / part)
    partial.rmdir()


def _features(pooled: Singles, numbers: Singles) -> Singles:
    """What the anchor reads: pooled states and numbers, shape (examples, features)."""
    flat = pooled.reshape(len(pooled), -1)
    return np.concatenate([flat, numbers], axis=1).astype(np.float32)


def _device() -> torch.device:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _fastest_attention() -> str:
    """On a CPU fused attention is slower with a backward pass."""
    return "sdpa" if _device().type == "cuda" else "eager"


__all__ = ["FittedPriceModel", "PricedExamples", "Watch", "fit_price_model"]
