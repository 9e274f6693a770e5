"""Training the platform's own language model: the loss, the loop, going on after a kill.

Here belongs what happens between the items and a trained network. What it reads belongs to
``corpus``, what it is made of to ``network``, and the folder that it is kept in to
``trained_model``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pricing_platform.finetuning.learning_rate import cosine_with_warm_up
from pricing_platform.language import prompts
from pricing_platform.language.base_model.batches import Batch, Batches
from pricing_platform.language.base_model.configuration import (
    BASE_MODEL_VERSION,
    BaseModelConfiguration,
)
from pricing_platform.language.base_model.corpus import Corpus, TrainingItems, divide
from pricing_platform.language.base_model.measuring import measure
from pricing_platform.language.base_model.network import new_network
from pricing_platform.language.base_model.optimizing import Optimizers
from pricing_platform.language.base_model.reading import Reading
from pricing_platform.language.base_model.step_state import StepState
from pricing_platform.language.base_model.tokenizer import PriceTokens, train_tokenizer
from pricing_platform.language.base_model.trained_model import TrainedBaseModel
from pricing_platform.language.model import Tool
from pricing_platform.progress import Progress
from pricing_platform.stores.warehouse import fingerprint

if TYPE_CHECKING:
    import torch

_TOKENIZER_TEXTS = 20_000
_CURVE_STEPS = 10


def train_base_model(
    items: TrainingItems,
    documents: Sequence[str],
    *,
    tools: Sequence[Tool],
    currency: prompts.Currency,
    configuration: BaseModelConfiguration,
    seed: int,
    work_folder: Path,
    progress: Progress,
) -> TrainedBaseModel:
    """Trains the model on the items and the knowledge documents.

    The state is kept in ``work_folder`` now and then, and a training that was killed goes on from
    there to the very weights that it would have come to; the caller removes the folder.

    Args:
        items: those of the train split, with their neighbours.
        documents: the texts of the knowledge documents.
        tools: those whose names and descriptions stand in the prompts of ``prompt_tools``.
        currency: of the items' prices.
        configuration: sizes and budget.
        seed: of the documents' order and of the first weights.
        work_folder: of this training alone.
        progress: told after every step.
    """
    started = time.perf_counter()
    parts = divide(items, configuration)
    corpus = Corpus(items, parts.learnt, documents, tools, currency, configuration, seed)
    progress("training the tokenizer", 0, 1)
    tokenizer = train_tokenizer(
        _tokenizer_texts(corpus),
        currency,
        vocabulary=configuration.vocabulary,
        window=configuration.window,
    )
    price_tokens = PriceTokens.of(tokenizer, currency, configuration.highest_price)
    batches = Batches(corpus, tokenizer, price_tokens, configuration)
    made_with = training_version(tools, currency, configuration, seed)
    identity = fingerprint(made_with, *_hashes(items), json.dumps(list(documents)))
    network = new_network(
        configuration,
        tokenizer,
        price_tokens,
        [items.texts[row] for row in parts.learnt],
        np.array([prompts.whole_price(items.prices[row]) for row in parts.learnt]),
        seed,
    )
    loop = _Loop(batches, network)
    state = StepState.newest(work_folder, identity)
    if state is not None:
        loop.resume(state)
    while not loop.is_done:
        loop.run_step()
        progress(
            "training the base model",
            min(loop.tokens, configuration.token_budget),
            configuration.token_budget,
        )
        if loop.step % configuration.state_steps == 0 and not loop.is_done:
            loop.state().keep(work_folder, identity, seed)
    metrics = measure(loop.network, batches, parts.measured, progress)
    seconds = loop.seconds + time.perf_counter() - started
    metrics |= {"training_seconds": seconds, "tokens_per_second": loop.tokens / seconds}
    reading = Reading(
        items=len(parts.learnt),
        families=len({items.families[row] for row in parts.learnt} - {None}),
        knowledge_documents=len(documents),
        documents=loop.documents,
        tokens=loop.tokens,
        left_out_items=len(parts.left_out),
        left_out_families=parts.left_out_families,
        measured_families=parts.measured_families,
        measured_items=len(parts.measured),
    )
    return TrainedBaseModel(
        network=loop.network,
        tokenizer=tokenizer,
        configuration=configuration,
        currency=currency,
        seed=seed,
        fingerprint=identity,
        reading=reading,
        metrics=metrics,
        loss_curve=loop.curve,
    )


def training_version(
    tools: Sequence[Tool],
    currency: prompts.Currency,
    configuration: BaseModelConfiguration,
    seed: int,
) -> str:
    """Of everything that decides the weights besides the items and the knowledge documents."""
    return fingerprint(
        BASE_MODEL_VERSION,
        prompts.templates_version(),
        [(tool.name, tool.description) for tool in tools],
        currency.code,
        configuration.model_dump_json(),
        seed,
    )


def _hashes(items: TrainingItems) -> list[str]:
    columns = (items.texts, items.titles, items.brands, items.categories, items.families)
    return [
        *(hashlib.sha256(json.dumps(column).encode()).hexdigest() for column in columns),
        hashlib.sha256(np.ascontiguousarray(items.prices).data).hexdigest(),
        hashlib.sha256(np.ascontiguousarray(items.neighbours).data).hexdigest(),
    ]


def _tokenizer_texts(corpus: Corpus) -> list[str]:
    """A sample of the documents that the model is going to read, and the knowledge documents."""
    count = min(len(corpus.learnt), _TOKENIZER_TEXTS)
    order = np.random.default_rng([corpus.seed, 3]).permutation(len(corpus.learnt))[:count]
    texts = [corpus.items.texts[row] for row in np.sort(corpus.learnt[order])]
    samples = [corpus.document(number) for number in range(min(count, 1_000))]
    return [*texts, *corpus.knowledge, *samples]


@dataclass
class _Loop:
    """The state of a training between two steps, and the way from one to the next."""

    batches: Batches
    network: Any
    step: int = 0
    tokens: int = 0
    block: int = -1
    place: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    _block: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        import torch

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network.to(self.device).train()
        self._bfloat16 = _bfloat16_pays(self.device)
        self._optimizers = Optimizers.of(self.network, self._configuration)
        ids = torch.from_numpy(self.batches.price_tokens.ids)
        self._price_ids = ids.to(self.device)
        self._targets = _smoothed(len(ids), self._configuration.price_smoothing).to(self.device)
        self._started = time.perf_counter()

    @property
    def _configuration(self) -> BaseModelConfiguration:
        return self.batches.configuration

    @property
    def is_done(self) -> bool:
        """Whether the budget is spent."""
        return self.tokens >= self._configuration.token_budget

    @property
    def documents(self) -> int:
        """How many documents were begun, whole blocks counted."""
        return (self.block + 1) * self._configuration.block_documents

    def run_step(self) -> None:
        """One batch."""
        import torch

        batch = self._next_batch()
        price_loss, text_loss = self._losses(batch)
        loss = price_loss + self._configuration.text_weight * text_loss
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._configuration.gradient_norm)
        share = self._rate_share()
        self._optimizers.step(share)
        self.step += 1
        self.tokens += batch.tokens
        if self.step % _CURVE_STEPS == 0 or self.is_done:
            self.curve.append(
                {
                    "tokens": self.tokens,
                    "price_loss": price_loss.item(),
                    "text_loss": text_loss.item(),
                    "learning_rate": share * self._configuration.learning_rate,
                }
            )

    def _next_batch(self) -> Batch:
        if self.place >= len(self._block):
            self.block, self.place = self.block + 1, 0
            self._block = self.batches.block(self.block)
        self.place += 1
        return self._block[self.place - 1]

    def _rate_share(self) -> float:
        budget = self._configuration.token_budget
        return cosine_with_warm_up(
            min(self.tokens, budget - 1), budget, self._configuration.warm_up_share
        )

    def _losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss of the prices, and of the sampled other places."""
        import torch

        def there(array: Any) -> torch.Tensor:
            return torch.from_numpy(array).to(self.device)

        places = np.concatenate([batch.price_places, batch.text_places])
        with torch.autocast(self.device, torch.bfloat16, enabled=self._bfloat16):
            hidden = self.network.model(input_ids=there(batch.ids), use_cache=False)[0]
            logits = self.network.lm_head(hidden.flatten(0, 1)[there(places)]).float()
        log_probabilities = logits.log_softmax(dim=-1)
        prices = len(batch.prices)
        targets = self._targets[there(batch.prices)]
        smoothed = (log_probabilities[:prices, self._price_ids] * targets).sum(dim=-1)
        told = log_probabilities[prices:].gather(1, there(batch.texts)[:, None])
        return -smoothed.sum() / max(prices, 1), -told.sum() / max(len(told), 1)

    def state(self) -> StepState:
        """What the next step follows from."""
        return StepState(
            weights={name: at.detach().cpu() for name, at in self.network.named_parameters()},
            optimizer=self._optimizers.state(),
            counters={
                "step": self.step,
                "tokens": self.tokens,
                "block": self.block,
                "place": self.place,
            },
            seconds=self.seconds + time.perf_counter() - self._started,
            curve=self.curve,
        )

    def resume(self, state: StepState) -> None:
        """Takes over what :meth:`state` gave."""
        self.network.load_state_dict(state.weights, strict=False)
        self._optimizers.restore(state.optimizer)
        self.step, self.tokens = state.counters["step"], state.counters["tokens"]
        self.block, self.place = state.counters["block"], state.counters["place"]
        self.seconds, self.curve = state.seconds, list(state.curve)
        self._block = self.batches.block(self.block)


def _bfloat16_pays(device: str) -> bool:
    """Whether the processor multiplies in bfloat16 by itself."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _smoothed(count: int, deviation: float) -> torch.Tensor:
    """The target of each whole price over all: Gaussian in log(1 + price); (count, count)."""
    import torch

    place = torch.log1p(torch.arange(count, dtype=torch.float32))
    weight = torch.exp(-0.5 * ((place[:, None] - place[None, :]) / deviation) ** 2)
    weight[:, 0] = 0.0  # a price is at least 1
    weight[0, 0] = 1.0
    return weight / weight.sum(dim=1, keepdim=True)
