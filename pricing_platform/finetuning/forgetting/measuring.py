"""What a causal language model can do in general: answer probes and predict ordinary text.

Here belongs asking a model. What follows from two answers belongs to ``comparison``.

A probe is answered by the choice whose text the model gives the highest log-likelihood per byte
after ``Question: …\\nAnswer:`` (``acc_norm`` of the Language Model Evaluation Harness; Gao et al.,
2024): by the sum of it short choices would win, and tokens are longer in some vocabularies than in
others. The question is computed once, its choices stand side by side after it. Nothing is generated
and no chat template is used, so that base models and instruct models answer alike.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.forgetting.configuration import TEXT_TOKENS, ForgettingFiles
from pricing_platform.finetuning.forgetting.divergence import BaseDistributions
from pricing_platform.finetuning.forgetting.probes import Probe, read_probes, read_texts
from pricing_platform.language.local.length_batches import length_sorted_batches
from pricing_platform.language.local.network import Batch, Network
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.language.local.shared_beginnings import common_prefix
from pricing_platform.progress import Progress, silent

if TYPE_CHECKING:
    import torch

MEASURING_VERSION = "1"
"""Raise it when the same model would be measured otherwise."""

CHUNK_TOKENS = 128
"""Of text, read together; the first of them without what went before."""

_BATCH_TOKENS = 1024
"""Logits of so many tokens are held at once: 200 MB at a vocabulary of 49,152."""
_LEAST_CHUNK_SHARE = 0.5
_FEWEST_TOKENS = 16  # of a chunk after what the tokenizer begins with
_WORST = float("-inf")

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True)
class ForgettingMeasure:
    """What one model did.

    ``is_correct``: of each question, shape (questions,). ``nll``: negative log-likelihood of each
    chunk's tokens in nats, summed, shape (chunks,); infinite where the model has no number.
    ``divergence``: KL from the base in nats, summed over the same tokens; 0 for the base itself.
    ``tokens``: how many tokens of each chunk were predicted. ``seconds``: how long it took.
    """

    is_correct: Bools
    nll: Floats
    divergence: Floats
    tokens: Floats
    seconds: float

    @property
    def probe_accuracy(self) -> float:
        """Share of the questions that were answered correctly."""
        return float(self.is_correct.mean())

    @property
    def perplexity(self) -> float:
        """Per token, over all of the text."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.nll.sum() / self.tokens.sum()))

    @property
    def kl_divergence(self) -> float:
        """From the base in nats a token, over all of the text."""
        return float(self.divergence.sum() / self.tokens.sum())


@dataclass(frozen=True)
class BaseMeasure:
    """What the base model did, and its distributions after each chunk's tokens, by chunk."""

    measure: ForgettingMeasure
    distributions: tuple[BaseDistributions, ...]


@dataclass(frozen=True)
class _Choices:
    """A question's token ids, and those that follow it for each choice, with the choices' bytes."""

    question: list[int]
    endings: list[list[int]]
    byte_lengths: list[int]

    @property
    def width(self) -> int:
        """Tokens that are read: the last one of a choice is only predicted."""
        return len(self.question) + sum(len(ending) - 1 for ending in self.endings)


@dataclass(frozen=True)
class GeneralTests:
    """Probes and text as a tokenizer's ids, which any model with this tokenizer is asked."""

    probes: tuple[Probe, ...]
    choices: tuple[_Choices, ...]
    chunks: tuple[list[int], ...]
    leading: int
    pad_id: int

    @classmethod
    def read(cls, files: ForgettingFiles, tokenizer: PromptTokenizer) -> GeneralTests:
        """Of the configured files.

        Raises:
            PlatformError: when one of them is wrong, or there is too little text.
        """
        return cls.of(
            read_probes(files.probes),
            read_texts(files.text),
            tokenizer,
            probes_limit=files.probes_limit,
            text_tokens=files.text_tokens,
        )

    @classmethod
    def of(
        cls,
        probes: Sequence[Probe],
        texts: Sequence[str],
        tokenizer: PromptTokenizer,
        *,
        probes_limit: int | None = None,
        text_tokens: int = TEXT_TOKENS,
    ) -> GeneralTests:
        """Of probes and texts, both evenly thinned out to the limits.

        Raises:
            PlatformError: when there is no probe, or too little text.
        """
        if not probes:
            raise PlatformError("There is no probe.", "Name a file of them in [forgetting].")
        taken = tuple(_evenly(probes, probes_limit or len(probes)))
        return cls(
            probes=taken,
            choices=tuple(_choices(probe, tokenizer) for probe in taken),
            chunks=tuple(_chunks(texts, tokenizer, text_tokens)),
            leading=len(tokenizer.leading_ids),
            pad_id=tokenizer.pad_id,
        )

    @property
    def fingerprint(self) -> str:
        """Of all that decides how a model is measured."""
        parts = [
            MEASURING_VERSION,
            [probe.model_dump() for probe in self.probes],
            [(at.question, at.endings) for at in self.choices],
            self.chunks,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def measure_base(self, network: Network, *, progress: Progress = silent) -> BaseMeasure:
        """Asks the model that others are compared with."""
        started = time.perf_counter()
        with _evaluating(network):
            is_correct = self._answers(network, progress)
            nll, _, distributions = self._read_text(network, None, progress)
        measure = ForgettingMeasure(
            is_correct, nll, np.zeros(len(nll)), self._tokens, time.perf_counter() - started
        )
        return BaseMeasure(measure, distributions)

    def measure(
        self, network: Network, base: BaseMeasure, *, progress: Progress = silent
    ) -> ForgettingMeasure:
        """Asks a model that was made from the base, which may be under training.

        Args:
            network: has the base's tokenizer; a ``PeftModel`` is one as well.
            base: what :meth:`measure_base` of these tests gave.
            progress: told while text is read.
        """
        started = time.perf_counter()
        with _evaluating(network):
            is_correct = self._answers(network, progress)
            nll, divergence, _ = self._read_text(network, base.distributions, progress)
        return ForgettingMeasure(
            is_correct, nll, divergence, self._tokens, time.perf_counter() - started
        )

    @property
    def _first(self) -> int:
        """The first token of a chunk that is predicted: one token at least goes before it."""
        return max(self.leading, 1)

    @property
    def _tokens(self) -> Floats:
        return np.array([len(chunk) - self._first for chunk in self.chunks], dtype=np.float64)

    def _answers(self, network: Network, progress: Progress) -> Bools:
        is_correct = np.zeros(len(self.choices), dtype=np.bool_)
        lengths = np.array([choices.width for choices in self.choices])
        batches = length_sorted_batches(lengths, batch_tokens=_BATCH_TOKENS, batch_items=64)
        done = 0
        for rows in batches:
            asked = [self.choices[row] for row in rows]
            for row, scores in zip(rows, _scores(network, asked, self.pad_id), strict=True):
                best = int(np.argmax(scores))
                # Of a model without numbers all scores are the worst: that is no answer.
                is_correct[row] = self.probes[row].is_right(best) and scores[best] > _WORST
            done += len(rows)
            progress("general probes", done, len(self.choices))
        return is_correct

    def _read_text(
        self,
        network: Network,
        base: tuple[BaseDistributions, ...] | None,
        progress: Progress,
    ) -> tuple[Floats, Floats, tuple[BaseDistributions, ...]]:
        """Of each chunk the summed nll and divergence; without a base, the distributions."""
        import torch

        nll, divergence = np.zeros(len(self.chunks)), np.zeros(len(self.chunks))
        distributions: dict[int, BaseDistributions] = {}
        lengths = np.array([len(chunk) for chunk in self.chunks])
        done = 0
        for rows in length_sorted_batches(lengths, batch_tokens=_BATCH_TOKENS, batch_items=64):
            chunks = [self.chunks[row] for row in rows]
            batch = Batch.of(chunks, 0, self.pad_id, network.device)
            logits = _all_logits(network, batch)
            for at, row in enumerate(rows):
                predicted = torch.tensor(chunks[at][self._first :], device=logits.device)
                after = logits[at, -len(predicted) - 1 : -1]
                chosen = after.gather(-1, predicted[:, None])[:, 0]
                nll[row] = float((after.logsumexp(-1) - chosen).sum())
                if base is None:
                    distributions[int(row)] = BaseDistributions.of(after)
                else:
                    divergence[row] = float(base[row].divergence(after).sum())
            done += len(rows)
            progress("general text", done, len(self.chunks))
        in_order = tuple(distributions[row] for row in sorted(distributions))
        return _infinite_for_nan(nll), _infinite_for_nan(divergence), in_order


@contextmanager
def _evaluating(network: Network) -> Iterator[None]:
    """Without gradients and dropout; a module that was in training is so afterwards."""
    import torch

    was_training = network.module.training
    network.module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.module.train(was_training)


def _all_logits(network: Network, batch: Batch) -> torch.Tensor:
    """Logits after every token, float32 of shape (prompts, width, vocabulary)."""
    import torch

    width = batch.input_ids.shape[1]
    # What fills up a row sees itself, since nothing is to see nothing.
    before = torch.ones((width, width), dtype=torch.bool, device=network.device).tril()
    own = torch.eye(width, dtype=torch.bool, device=network.device)
    seen = (before & batch.mask.bool()[:, None]) | own
    cache = network.expanded(None, len(batch.input_ids))
    return network.branch_logits(batch.input_ids, batch.positions, seen, cache).float()


def _scores(network: Network, asked: Sequence[_Choices], pad_id: int) -> list[Floats]:
    """Log-likelihood per byte of each question's choices.

    The choices' tokens stand one after the other in a row, and each sees its question and what of
    its own choice goes before it.
    """
    import torch

    batch = Batch.of([at.question for at in asked], 0, pad_id, network.device)
    cache = network.expanded(None, len(asked))
    first = network.last_logits(batch, cache).log_softmax(-1).cpu().numpy()
    width = int(batch.mask.shape[1])
    branches = max(at.width - len(at.question) for at in asked)
    following: torch.Tensor | None = None
    if branches:
        ids = torch.full((len(asked), branches), pad_id)
        positions = torch.zeros_like(ids)
        seen = torch.zeros((len(asked), branches, width + branches), dtype=torch.bool)
        seen[:, :, :width] = batch.mask.bool().cpu()[:, None]  # also of what fills up a row
        for row, choices in enumerate(asked):
            start = 0
            for ending in choices.endings:
                stop = start + len(ending) - 1
                ids[row, start:stop] = torch.tensor(ending[:-1])
                positions[row, start:stop] = len(choices.question) + torch.arange(stop - start)
                own = torch.ones((stop - start, stop - start), dtype=torch.bool).tril()
                seen[row, start:stop, width + start : width + stop] = own
                start = stop
        device = network.device
        logits = network.branch_logits(ids.to(device), positions.to(device), seen.to(device), cache)
        following = logits.float().log_softmax(-1)
    return [
        _per_byte(choices, first[row], None if following is None else following[row])
        for row, choices in enumerate(asked)
    ]


def _per_byte(
    choices: _Choices, first: npt.NDArray[np.float32], following: torch.Tensor | None
) -> Floats:
    scores, start = [], 0
    for ending, length in zip(choices.endings, choices.byte_lengths, strict=True):
        total = float(first[ending[0]])
        for at, token in enumerate(ending[1:], start):
            assert following is not None  # noqa: S101
            total += float(following[at, token])
        start += len(ending) - 1
        scores.append(total / length if np.isfinite(total) else _WORST)
    return np.array(scores)


def _choices(probe: Probe, tokenizer: PromptTokenizer) -> _Choices:
    prompt = f"Question: {probe.question}\nAnswer:"
    asked, *whole = tokenizer.encode([prompt, *(f"{prompt} {at}" for at in probe.choices)])
    # A tokenizer may join the end of the question with the beginning of a choice; and a choice may
    # begin with another one, which then has a token less that is not shared.
    shared = min(common_prefix([asked, *whole]), min(map(len, whole)) - 1)
    return _Choices(
        question=whole[0][:shared],
        endings=[ids[shared:] for ids in whole],
        byte_lengths=[len(choice.encode()) for choice in probe.choices],
    )


def _chunks(texts: Sequence[str], tokenizer: PromptTokenizer, most: int) -> list[list[int]]:
    leading = tokenizer.leading_ids
    room = CHUNK_TOKENS - len(leading)
    found: list[list[int]] = []
    for ids in tokenizer.encode(texts):
        told = ids[len(leading) :]
        parts = [told[start : start + room] for start in range(0, len(told), room)]
        # A short rest is predicted from little, and would weigh as much as a chunk in a resample.
        if len(parts) > 1 and len(parts[-1]) < _LEAST_CHUNK_SHARE * room:
            parts.pop()
        found += [[*leading, *part] for part in parts if len(part) >= _FEWEST_TOKENS]
    if not found:
        raise PlatformError(
            f"The general text has less than {_FEWEST_TOKENS} tokens.",
            "Name more of it in [forgetting]; some thousand words are enough.",
        )
    return _evenly(found, max(1, most // CHUNK_TOKENS))


def _evenly(values: Sequence[T], most: int) -> list[T]:
    """At most so many of the values, evenly from the whole, in their order."""
    count = min(most, len(values))
    return [values[at * len(values) // count] for at in range(count)]


def _infinite_for_nan(values: Floats) -> Floats:
    return np.where(np.isnan(values), np.inf, values)
